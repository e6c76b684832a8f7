"""From recording ids to audio objects: the layouts of a folder of recordings that is at a URL."""

import os
from collections.abc import Collection, Iterable

import pandas as pd

from lalia.data.copies import open_copies
from lalia.data.layout import AUDIO_EXTENSIONS, AudioFiles, Found, has_extension, look_up
from lalia.data.remote import list_objects
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
    listed = list_objects(folder, recursive=data.layout != "flat")
    used = {}

    def look(inside: str) -> Found:
        name = _with_slashes(inside)
        url = join_url(folder, name)
        if name in listed:
            used[url] = listed[name]
        return Found(url, missing="" if name in listed else "no audio file")

    def find_unnamed(named: set[str]) -> list[str]:
        return sorted(_unnamed(listed, set(map(_with_slashes, named)), data))

    found = look_up(rows, places, folder, data, look=look, find_unnamed=find_unnamed)
    open_copies().note(used)
    return found


def _with_slashes(inside: str) -> str:
    """Return a relative path as part of a URL, with slashes on every system."""
    return inside.replace(os.sep, "/")


def _unnamed(listed: Iterable[str], named: Collection[str], data: DataSettings) -> list[str]:
    extensions = AUDIO_EXTENSIONS if data.layout == "path" else {data.extension.lower()}
    candidates = (each for each in listed if each not in named and has_extension(each.rpartition("/")[2], extensions))
    if data.layout == "structured":
        candidates = (e for e in candidates if e.count("/") == 1 and e.endswith(f"/waveform.{data.extension}"))
    return [each for each in candidates if not any(part.startswith(".") for part in each.split("/"))]
