"""What ``lalia report --explain`` found, as a section of the page; nothing where it was never asked for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lalia.errors import RunError
from lalia.report import explain_figures
from lalia.report.contents import Contents
from lalia.report.explain_figures import Sounds
from lalia.report.pictures import Picture, make_picture
from lalia.report.tables import format_number

EXPLAIN_FOLDER: Final = "explain"

_HOW = {
    "weight_change": (
        "How far training moved the weights of each depth from where they began, as a share of their size; depth 0 is "
        "the stem. What did not train stays at 0."
    ),
    "edits": (
        "How the score moves, on average over the recordings that an edit changes; the bar is the interval. "
        "A rater that hears the trait should move where the trait would, and nowhere else."
    ),
    "attention": (
        "Above, the recording: darker is louder. Below, how much each moment counts in what the head is given; the "
        "dashed line is an even attention."
    ),
    "stretches": (
        "What each stretch adds to the score: orange raised it, green lowered it. It is the score of the whole less "
        "that with the stretch silenced."
    ),
    "bands": "The same for bands of frequencies.",
}


def describe_explained(folder: Path, contents: Contents) -> dict[str, Any] | None:
    """Return what the section shows, by name; None where the run has no ``explain/``.

    Raises:
        RunError: if a file there cannot be read.
    """
    place = folder / EXPLAIN_FOLDER
    if not (place / "explain.json").is_file():
        return None
    found = read_explained(place)
    whole = []
    if found["weight_change"]:
        depths, changes = zip(*((row["depth"], row["change"]) for row in found["weight_change"]), strict=True)
        figure = explain_figures.plot_weight_change(depths, changes)
        whole.append(_picture(figure, "weights", "What training changed", "weight_change"))
    recordings = [
        _describe_recording(number, row, _read_arrays(place / f"recording-{number}.npz"), found, contents)
        for number, row in enumerate(found["recordings"], start=1)
    ]
    edits = (
        [_draw_edits(number, trait, found) for number, trait in enumerate(found["traits"])] if found["edits"] else []
    )
    notes = [contents.hide_ids(note) for note in found["notes"]]
    return {"whole": whole, "edits": edits, "edited": found["edited"], "recordings": recordings, "notes": notes}


def read_explained(place: Path) -> dict[str, Any]:
    """Return what ``explain.json`` holds.

    Raises:
        RunError: if it cannot be read.
    """
    try:
        found: dict[str, Any] = json.loads((place / "explain.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise RunError(f"'{place / 'explain.json'}' cannot be read: {cause}. Write it again: {_AGAIN}") from cause
    return found


_AGAIN = "lalia report RUN --explain"


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, BadZipFile) as cause:
        raise RunError(f"'{path}' cannot be read: {cause}. Write it again: {_AGAIN}") from cause


def _draw_edits(number: int, trait: str, found: Mapping[str, Any]) -> Picture:
    rows = [row for row in found["edits"] if row["trait"] == trait]
    values = [[np.nan if row[key] is None else row[key] for row in rows] for key in ("change", "low", "high")]
    names = [_name_edit(row, found["edited"]) for row in rows]
    figure = explain_figures.plot_edits(names, *values)
    told = ["unchanged" if row["change"] is None else format_number(row["change"]) for row in rows]
    said = "; ".join(f"{name}: {each}" for name, each in zip(names, told, strict=True))
    return _picture(figure, f"edits-{number}", trait, "edits", alternative=f"{trait}. {said}")


def _name_edit(row: Mapping[str, Any], edited: int) -> str:
    count = row["recordings"]
    return str(row["edit"]) if count == edited else f"{row['edit']} (in {count} of {edited})"


def _describe_recording(
    number: int,
    row: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    found: Mapping[str, Any],
    contents: Contents,
) -> dict[str, Any]:
    sounds = Sounds(arrays["level_db"].astype(float), float(arrays["seconds"]), arrays["middles_hz"])
    place = found["traits"].index(row["trait"])
    pictures = []
    if "attention" in arrays:
        figure = explain_figures.plot_attention(sounds, arrays["attention"][place], arrays["attention_seconds"])
        pictures.append(_picture(figure, f"attention-{number}", "Where it listens", "attention"))
    stretches = arrays["stretches_change"][:, place]
    figure = explain_figures.plot_occlusion(sounds, arrays["stretches_seconds"], stretches)
    pictures.append(_picture(figure, f"stretches-{number}", "Without each stretch of time", "stretches"))
    figure = explain_figures.plot_bands(arrays["bands_hz"], arrays["bands_change"][:, place])
    pictures.append(_picture(figure, f"bands-{number}", "Without each band of frequencies", "bands"))
    return {**row, "name": contents.name(row["recording"]), "pictures": pictures}


def _picture(figure: Figure, name: str, title: str, how: str, alternative: str = "") -> Picture:
    return make_picture(figure, f"explain-{name}", title, _HOW[how], alternative or None)


def list_pictures(explained: Mapping[str, Any] | None) -> list[Picture]:
    """Return every figure of the section."""
    if explained is None:
        return []
    of_recordings = [picture for recording in explained["recordings"] for picture in recording["pictures"]]
    return [*explained["whole"], *explained["edits"], *of_recordings]
