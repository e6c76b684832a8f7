"""From recording ids to audio objects: the layouts of a folder of recordings that is at a URL."""

import posixpath
from collections.abc import Collection, Iterable

import pandas as pd

from lalia.data.copies import open_copies
from lalia.data.layout import AUDIO_EXTENSIONS, AudioFiles, has_extension, refuse_missing, refuse_unsafe, relative_path
from lalia.data.remote import list_objects
from lalia.data.safe_paths import why_unsafe
from lalia.errors import list_some
from lalia.places import join_url
from lalia.settings import DataSettings


def find_audio_objects(rows: pd.DataFrame, places: Iterable[str], folder: str, data: DataSettings) -> AudioFiles:
    """Find the audio object of each recording, and the objects that no row names, by one listing of the folder.

    What is listed is remembered: when the objects are read, they must be the versions that were listed, or are read
    until they are one version.

    Args:
        rows: as for ``find_audio``.
        places: id or relative path of every recording of the table, also of those that are left out.
        folder: the URL of the folder of the recordings.
        data: layout and extension, and whether recordings without an object may be dropped.

    Returns:
        As ``find_audio``, with URLs as paths.

    Raises:
        StorageError: if the folder cannot be listed.
    """
    reason_of = {place: why_unsafe(place, data.layout) for place in places if place}
    named = {_inside(place, data) for place, why in reason_of.items() if why is None}
    listed = list_objects(folder, recursive=data.layout != "flat")
    unnamed = sorted(_unnamed(listed, named, data))
    urls: list[str] = []
    unsafe: list[str] = []
    missing: dict[str, str] = {}
    for number, recording, place in zip(rows.index, rows["recording"], rows["path"], strict=True):
        if reason_of.get(place):
            unsafe.append(f"'{place}' in row {number} {reason_of[place]}")
            continue
        inside = _inside(place, data) if place else ""
        urls.append(join_url(folder, inside))
        if inside not in listed:
            missing[recording] = inside
    open_copies().note({join_url(folder, inside): listed[inside] for inside in named if inside in listed})
    problems = []
    if unsafe:
        problems.append(refuse_unsafe(unsafe, data.layout))
    if missing and data.unreadable == "stop":
        problems.append(refuse_missing(missing, len(rows), folder, unnamed))
    notes = (f"recordings in the folder that no row names: {len(unnamed)} ({list_some(unnamed, most=3)})",)
    reasons = dict.fromkeys(missing, "no audio file")
    return AudioFiles(tuple(urls), reasons, notes if unnamed else (), tuple(problems))


def _inside(place: str, data: DataSettings) -> str:
    """Return the path of an id's object inside the folder, with slashes on every system."""
    return posixpath.normpath(place) if data.layout == "path" else relative_path(place, data).replace("\\", "/")


def _unnamed(listed: Iterable[str], named: Collection[str], data: DataSettings) -> list[str]:
    extensions = AUDIO_EXTENSIONS if data.layout == "path" else {data.extension.lower()}
    candidates = (each for each in listed if each not in named and has_extension(each.rpartition("/")[2], extensions))
    if data.layout == "structured":
        candidates = (e for e in candidates if e.count("/") == 1 and e.endswith(f"/waveform.{data.extension}"))
    return [each for each in candidates if not any(part.startswith(".") for part in each.split("/"))]
