"""Stretches of longer recordings, cut into files of their own in the user's cache folder."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from lalia.data.decoder_pool import MOST_DECODERS
from lalia.data.decoding import Decoded, decode
from lalia.data.formats.folder_table import find_files
from lalia.data.layout import AudioFiles
from lalia.data.storage import fetching_ahead, local_file
from lalia.data.user_cache import user_cache
from lalia.errors import list_some
from lalia.files import make_private, replacing
from lalia.limits import Limits, UnusableFile
from lalia.places import is_url
from lalia.settings import DataSettings

Stretch = tuple[float, float | None]
"""Start and end in seconds; no end is that of the recording."""

_VERSION = 1
# ends are often rounded to hundredths
_TOLERATED_SECONDS = 0.05


class SegmentFinder:
    """Gives the stretch of each row as a file: mono, at the recording's rate, in floating point, nothing rounded.

    Each recording is decoded once for all of its stretches, in the process that decodes, and not at all where they were
    cut before and it has not changed since. A row whose stretch is all of its recording gets that recording's own file.

    Args:
        stretches: of the rows from row 2 on.
        limits: of the recordings.
    """

    def __init__(self, stretches: Sequence[Stretch], limits: Limits) -> None:
        self._stretches = stretches
        self._limits = limits

    def __call__(self, rows: pd.DataFrame, places: Iterable[str], folder: str | Path, data: DataSettings) -> AudioFiles:
        """Return the files of rows; see ``lalia.data.layout.find_audio``."""
        found = find_files(rows, places, folder, data)
        if found.problems:
            return found
        table = rows[["recording"]].assign(file=found.paths, stretch=[self._stretches[row - 2] for row in rows.index])
        table = table[~table["recording"].isin(found.missing)]
        is_part = table["stretch"].map(lambda stretch: stretch != (0.0, None)).astype(bool)
        cut = dict(zip(table["recording"], table["file"], strict=True))
        problems: dict[str, str] = {}
        groups = [(str(file), group) for file, group in table[is_part].groupby("file", sort=False)]
        with ThreadPoolExecutor(MOST_DECODERS) as executor, fetching_ahead(file for file, _ in groups):
            for files, wrong in executor.map(lambda each: self._cut(*each), groups):
                cut |= files
                problems |= wrong
        refused: tuple[str, ...] = ()
        if problems and data.unreadable == "stop":
            shown = [f"'{recording}' {why}" for recording, why in problems.items()]
            refused = (
                f"{len(problems)} of {len(rows)} segments cannot be cut ({list_some(shown)}). Mend them, list them in"
                " data.exclude, or set data.unreadable: drop",
            )
        paths = tuple(cut.get(name, path) for name, path in zip(rows["recording"], found.paths, strict=True))
        return AudioFiles(paths, {**found.missing, **problems}, found.notes, refused)

    def _cut(self, place: str, rows: pd.DataFrame) -> tuple[dict[str, str], dict[str, str]]:
        """Return the files of a recording's stretches by name, and what is wrong with others."""
        store, file = user_cache("audio"), local_file(place)
        content = _identify(place, file)
        targets = {
            name: store / (key := _key(content, stretch))[:2] / f"{key}.wav"
            for name, stretch in zip(rows["recording"], rows["stretch"], strict=True)
        }
        files = {name: str(target) for name, target in targets.items()}
        lacking = [name for name, target in targets.items() if not target.is_file()]
        if not lacking:
            return files, {}
        stretch_of = dict(zip(rows["recording"], rows["stretch"], strict=True))
        try:
            decoded = decode(file, self._limits)
        except UnusableFile as error:
            return files, dict.fromkeys(lacking, f"lies in a file that {error.problem}")
        problems = {}
        for name in lacking:
            why = _write(decoded, stretch_of[name], targets[name])
            if why:
                problems[name] = why
        return files, problems


def _identify(place: str, file: Path) -> list[object]:
    """Return what a file's content depends on: its state now, or the name of a copy, which is a hash."""
    if is_url(place):
        return [file.name]
    status = file.stat()
    return [str(file), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _key(content: list[object], stretch: Stretch) -> str:
    """Return what a stretch's samples depend on."""
    return hashlib.sha256(json.dumps([_VERSION, *content, *stretch]).encode()).hexdigest()


def _write(decoded: Decoded, stretch: Stretch, target: Path) -> str | None:
    """Write a stretch of a recording, or say why it cannot be."""
    start, end = stretch
    seconds = len(decoded.waveform) / decoded.rate_hz
    if end is not None and end > seconds + _TOLERATED_SECONDS:
        return f"ends at {end:.2f} s, its recording at {seconds:.2f} s"
    samples = decoded.waveform[round(start * decoded.rate_hz) : None if end is None else round(end * decoded.rate_hz)]
    if not len(samples):
        return f"begins at {start:.2f} s, its recording ends at {seconds:.2f} s"
    make_private(target.parent.parent)
    make_private(target.parent)
    with replacing(target) as temporary:
        soundfile.write(temporary, np.ascontiguousarray(samples), decoded.rate_hz, format="WAV", subtype="FLOAT")
    return None
