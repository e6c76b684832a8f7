"""All figures of a run: drawn from its folder, for the page, for files, or to go on with in Python."""

from collections.abc import Collection, Iterable
from pathlib import Path

from matplotlib.figure import Figure

from lalia.files import write_text
from lalia.report import pictures
from lalia.report.contents import Contents, read_contents
from lalia.report.pdf import write_pdfs
from lalia.report.pictures import Picture
from lalia.report.tables import UNITS
from lalia.report.trait_pictures import draw_trait

FIGURES_FOLDER = "figures"


def draw_pictures(contents: Contents) -> dict[str, list[Picture]]:
    """Return the figures of a run by their place on the page; a place without a figure has an empty list."""
    return {
        **{f"headline-{unit}": pictures.draw_headline(contents, unit) for unit in UNITS},
        "levels": pictures.draw_levels(contents),
        "training": pictures.draw_training(contents),
        "layer-mix": pictures.draw_layer_mix(contents),
        "groups": pictures.draw_groups(contents),
        **{f"trait-{number}": draw_trait(contents, number, trait) for number, trait in enumerate(contents.traits)},
    }


def draw_figures(run_folder: str | Path) -> dict[str, Figure]:
    """Return the figures of a run by name, as they lie in its folder ``figures``.

    Raises:
        RunError: if a file of the run is missing or cannot be read.
        ConfigError: if config.yaml does not hold the settings of a run.
    """
    places = draw_pictures(read_contents(Path(run_folder)))
    return {picture.name: picture.figure for place in places.values() for picture in place}


def write_figures(drawn: Iterable[Picture], folder: Path, formats: Collection[str] = ("svg", "pdf")) -> None:
    """Write each figure into a folder as ``<name>.svg`` and ``<name>.pdf``, the same bytes each time.

    Args:
        drawn: the figures.
        folder: is made where it is not there.
        formats: which of the two.
    """
    given = list(drawn)
    if "svg" in formats:
        for picture in given:
            write_text(folder / f"{picture.name}.svg", picture.document)
    if "pdf" in formats:
        write_pdfs({folder / f"{picture.name}.pdf": picture.figure for picture in given})
