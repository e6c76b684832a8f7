"""The report: one HTML file that shows a run, without network or model, and its figures as files."""

import base64
import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lalia.files import write_text
from lalia.report import checklist, tables
from lalia.report.contents import Contents, read_contents
from lalia.report.explained import describe_explained, list_pictures
from lalia.report.run_figures import FIGURES_FOLDER, draw_pictures, write_figures
from lalia.report.sections import MOST_DISAGREEMENTS, describe, describe_checklist
from lalia.safe_text import replace_hidden


def write_report(run_folder: str | Path) -> Path:
    """Write ``report.html``, ``checklist.csv`` and the figures into the folder of a run, from the files in it alone.

    A ``checklist-answers.yaml`` to fill in is written too where there is none. Only where the settings ask for audio,
    the recordings are read too.

    Args:
        run_folder: with config.yaml, manifest.json, metrics.json, history.csv and predictions.csv.

    Returns:
        The path of the report. The same files give the same bytes.

    Raises:
        RunError: if a file is missing or cannot be read, or answers are to items that there are not.
        ConfigError: if config.yaml does not hold the settings of a run.
    """
    with _without_collection():
        return _write(Path(run_folder))


def _write(folder: Path) -> Path:
    contents = read_contents(folder)
    places = draw_pictures(contents)
    rows = checklist.write_checklist(folder, contents)
    shown = describe(contents, places) | describe_checklist(rows)
    explained = describe_explained(folder, contents)
    shown |= {"clips": _find_clips(folder, contents), "explained": explained}
    script = files("lalia.report").joinpath("templates", "report.js").read_text(encoding="utf-8")
    page = open_templates().get_template("report.html.jinja").render(**shown, **_allow_script(script))
    path = folder / "report.html"
    write_text(path, page)
    drawn = [*(picture for place in places.values() for picture in place), *list_pictures(explained)]
    write_figures(drawn, folder / FIGURES_FOLDER, contents.settings.report.figures)
    return path


@contextmanager
def _without_collection() -> Iterator[None]:
    """Let no garbage be searched for: figures are many small objects, which takes up to a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def open_templates() -> Environment:
    """Return the templates of the pages: what they show is text, in which nothing is hidden."""
    templates = Environment(
        loader=PackageLoader("lalia.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_show,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["number"] = tables.format_number
    templates.filters["breakable"] = _allow_breaks
    return templates


def _find_clips(folder: Path, contents: Contents) -> list[Any]:
    if not contents.settings.report.embed_audio:
        return []
    from lalia.report.clips import read_clips

    return list(read_clips(folder, contents, contents.disagreements(MOST_DISAGREEMENTS)))


def _allow_script(script: str) -> dict[str, Markup]:
    """Return the page's own script and the hash by which alone its policy lets a script run."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"script": Markup(script), "script_hash": Markup(f"sha256-{digest}")}


def _show(value: object) -> object:
    """Make what no reader can see visible: it could hide what stands in a name, or reach a terminal."""
    return value if not isinstance(value, str) or isinstance(value, Markup) else replace_hidden(value)


def _allow_breaks(name: str) -> Markup:
    """Escape a name and let its lines break after an underscore."""
    return Markup("_<wbr>").join(replace_hidden(name).split("_"))
