"""From recording ids to audio files: the layouts of a folder of recordings."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lalia.data.safe_paths import PlainFiles, leaves_by_link, why_no_file, why_unsafe
from lalia.errors import list_some, nearest_choice
from lalia.settings import DataSettings

AUDIO_EXTENSIONS = (
    *("3gp", "aac", "aif", "aifc", "aiff", "amr", "au", "avi", "caf", "flac", "flv", "m4a", "mkv", "mov", "mp3", "mp4"),
    *("oga", "ogg", "opus", "sph", "w64", "wav", "webm", "wma", "wv"),
)
"""What is taken for audio where files are looked for: what libsndfile reads and what PyAV does."""


@dataclass(frozen=True)
class AudioFiles:
    """Where the audio of each recording lies.

    Args:
        paths: absolute, in the order of the rows that were asked for.
        missing: recording id to reason, of recordings without a file that may be dropped.
        notes: on files that no row names.
        problems: what is wrong, one sentence each.
    """

    paths: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def find_audio(rows: pd.DataFrame, places: Iterable[str], folder: Path, data: DataSettings) -> AudioFiles:
    """Find the audio file of each recording, and the files that no row of the table names.

    Args:
        rows: the recordings to find, columns recording and path (an id or a relative path), the row numbers as index.
        places: id or relative path of every recording of the table, also of those that are left out.
        folder: the folder of the recordings.
        data: layout and extension, and whether recordings without a file may be dropped.
    """
    if not folder.is_dir():
        return AudioFiles(problems=(f"data.audio_dir: '{folder}' is not a folder",))
    plain = PlainFiles(folder)

    def look(inside: str) -> Found:
        path = os.path.join(folder, inside)  # noqa: PTH118
        if inside in plain:
            return Found(path)
        if not data.follow_links and leaves_by_link(folder, inside):
            return Found(path, unsafe="leaves the folder by a link")
        return Found(path, missing="" if os.path.isfile(path) else why_no_file(path))  # noqa: PTH113

    return look_up(rows, places, folder, data, look=look, find_unnamed=lambda named: find_unnamed(folder, named, data))


class Found(NamedTuple):
    """What lies under a relative path: where that is, and why it must not be read or why there is no audio."""

    path: str
    unsafe: str = ""
    missing: str = ""


def look_up(
    rows: pd.DataFrame,
    places: Iterable[str],
    folder: str | Path,
    data: DataSettings,
    *,
    look: Callable[[str], Found],
    find_unnamed: Callable[[set[str]], Sequence[str]],
) -> AudioFiles:
    """Look up the audio of each recording, in a folder or elsewhere, and say what is wrong.

    Args:
        rows: and ``places`` and ``data``, as for ``find_audio``.
        folder: of the recordings, for messages.
        look: tells what lies under a relative path, as ``relative_path`` gives it.
        find_unnamed: lists the recordings that are there beside those of these relative paths.
    """
    reason_of = {place: why_unsafe(place, data.layout) for place in places if place}
    unnamed = find_unnamed({relative_path(place, data) for place, why in reason_of.items() if why is None})
    paths: list[str] = []
    unsafe: list[str] = []
    missing: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for number, recording, place in zip(rows.index, rows["recording"], rows["path"], strict=True):
        if reason_of.get(place):
            unsafe.append(f"'{place}' in row {number} {reason_of[place]}")
            continue
        inside = relative_path(place, data) if place else ""
        found = look(inside)
        paths.append(found.path)
        if found.unsafe:
            unsafe.append(f"'{place}' in row {number} {found.unsafe}")
        elif found.missing:
            missing[recording] = inside
            reasons[recording] = found.missing
    problems = []
    if unsafe:
        problems.append(refuse_unsafe(unsafe, data.layout))
    if missing and data.unreadable == "stop":
        problems.append(refuse_missing(missing, len(rows), folder, unnamed))
    note = f"recordings in the folder that no row names: {len(unnamed)} ({list_some(unnamed, most=3)})"
    return AudioFiles(tuple(paths), reasons, (note,) if unnamed else (), tuple(problems))


def refuse_unsafe(unsafe: Sequence[str], layout: str) -> str:
    """Say which ids or paths do not lie inside the folder, and what to do."""
    if any(each.endswith("by a link") for each in unsafe):
        return (
            f"paths that do not lie inside data.audio_dir: {list_some(unsafe)}. "
            "Where the links are yours, set data.follow_links: true"
        )
    if layout == "path":
        return f"paths that do not lie inside data.audio_dir: {list_some(unsafe)}"
    hint = "Where the column holds paths, set data.layout: path"
    return f"recording ids that cannot be names of files: {list_some(unsafe)}. {hint}"


def refuse_missing(missing: Mapping[str, str], n_recordings: int, folder: str | Path, unnamed: Sequence[str]) -> str:
    """Say which recordings have no audio file, and what to do."""
    shown = [f"'{recording}': {inside or 'no path'}" for recording, inside in missing.items()]
    file_of = {name.lower(): name for name in unnamed}
    nearest = nearest_choice(next(iter(missing.values())).lower(), file_of)
    hint = f" No row names '{file_of[nearest]}' there." if nearest else ""
    return (
        f"{len(missing)} of {n_recordings} recordings have no audio file in '{folder}' ({list_some(shown)}).{hint} "
        "Check data.audio_dir, data.layout and data.extension, or set data.unreadable: drop"
    )


def is_audio(file: Path) -> bool:
    """Return whether a file's name ends as those of audio files do."""
    return file.suffix.lower().lstrip(".") in AUDIO_EXTENSIONS


def relative_path(place: str, data: DataSettings) -> str:
    """Return where the audio of an id (or of a path, for the layout path) lies inside the folder of the recordings."""
    if data.layout == "flat":
        return f"{place}.{data.extension}"
    if data.layout == "structured":
        return os.path.join(place, f"waveform.{data.extension}")  # noqa: PTH118
    return os.path.normpath(place)


def find_unnamed(folder: Path, named: Collection[str], data: DataSettings) -> list[str]:
    """List the recordings in the folder that no row names, as sorted relative paths.

    The layout flat looks at files with the extension, structured at folders with a waveform in them, path at files
    anywhere whose extension is one of audio. Hidden files and folders are passed over.

    Args:
        folder: the folder of the recordings.
        named: the relative paths that rows name.
        data: layout and extension.
    """
    if data.layout == "flat":
        found = [entry.name for entry in os.scandir(folder) if has_extension(entry.name, {data.extension.lower()})]
    elif data.layout == "structured":
        candidates = (relative_path(entry.name, data) for entry in os.scandir(folder) if entry.is_dir())
        found = [place for place in candidates if (folder / place).is_file()]
    else:
        found = []
        for parent, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = os.path.relpath(parent, folder)
            within = "" if below == os.curdir else f"{below}{os.sep}"
            found += [f"{within}{name}" for name in files if has_extension(name, AUDIO_EXTENSIONS)]
    return sorted(place for place in found if place not in named and not place.startswith("."))


def has_extension(name: str, extensions: Collection[str]) -> bool:
    """Return whether a name ends in one of some extensions, in any case, and is not hidden."""
    stem, _, extension = name.rpartition(".")
    return stem != "" and not stem.startswith(".") and extension.lower() in extensions
