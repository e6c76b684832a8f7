"""Audio inside the shards of a data set, as files of the user's cache folder that are called by their content."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lalia.data.formats.folder_table import find_files
from lalia.data.formats.shards import Shard, iterate_bytes
from lalia.data.layout import AUDIO_EXTENSIONS, AudioFiles
from lalia.data.user_cache import user_cache
from lalia.files import make_private, replacing
from lalia.settings import DataSettings


class EmbeddedFinder:
    """Gives the audio of each row as a file: what lies in a shard is copied out, what lies beside it is found there.

    Args:
        shards: in the order of the rows, from row 2 on.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards

    def __call__(self, rows: pd.DataFrame, places: Iterable[str], folder: str | Path, data: DataSettings) -> AudioFiles:
        """Return the files of rows; see ``lalia.data.layout.find_audio``."""
        holds_bytes = np.concatenate([shard.holds_bytes for shard in self._shards])[rows.index.to_numpy() - 2]
        found = AudioFiles()
        if not holds_bytes.all():
            found = find_files(rows[~holds_bytes], places, folder, data)
        if found.problems:
            return found
        copies = self._copy_out(set((rows.index[holds_bytes] - 2).tolist()))
        beside = iter(found.paths)
        paths = [copies[row - 2] if held else next(beside) for row, held in zip(rows.index, holds_bytes, strict=True)]
        return AudioFiles(tuple(paths), found.missing)

    def _copy_out(self, wanted: set[int]) -> dict[int, str]:
        """Return the file of each row, made where it is not there yet."""
        files: dict[int, str] = {}
        first = 0
        for shard in self._shards:
            if wanted.intersection(range(first, first + shard.rows)):
                row = first
                for values in iterate_bytes(shard):
                    for value in values:
                        if row in wanted:
                            files[row] = _keep(value.as_buffer(), shard.paths[row - first])
                        row += 1
            first += shard.rows
        return files


def _keep(content: Any, name: str) -> str:
    """Write audio under its hash, unless it is there, and return where."""
    key = hashlib.sha256(content).hexdigest()
    extension = name.rpartition(".")[2].lower()
    store = user_cache("audio")
    target = store / key[:2] / f"{key}.{extension if extension in AUDIO_EXTENSIONS else 'audio'}"
    try:
        is_there = target.stat().st_size == len(content)
    except OSError:
        is_there = False
    if not is_there:
        make_private(store)
        make_private(target.parent)
        with replacing(target) as temporary:
            temporary.write_bytes(content)
    return str(target)
