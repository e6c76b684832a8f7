"""A data set of Hugging Face's datasets library: a folder that save_to_disk wrote, or its shards as parquet."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from lalia.data.formats.embedded import EmbeddedFinder
from lalia.data.formats.folder_table import (
    PLACE_COLUMN,
    SPLIT_COLUMN,
    FolderTable,
    audio_folder,
    inside,
    name_recordings,
    refuse_columns,
    to_cells,
)
from lalia.data.formats.shards import Shard, has_audio, read_shard
from lalia.errors import TableError
from lalia.limits import Limits
from lalia.settings import DataSettings

_SHARD_NAME = re.compile(r"(?P<split>[A-Za-z]\w*?)(-\d{5}-of-\d{5})?(-[0-9a-f]+)?", re.ASCII)


DATASET_NAMES = ("dataset_dict.json", "state.json")
"""What ``save_to_disk`` writes, of several splits and of one."""


def is_dataset(folder: Path) -> bool:
    """Whether a folder is one that save_to_disk wrote, or holds parquet shards with audio."""
    if any((folder / name).is_file() for name in DATASET_NAMES):
        return True
    shards = _parquet_shards(folder)
    return bool(shards) and has_audio(shards[0])


def read_hf_dataset(folder: Path, data: DataSettings, limits: Limits) -> FolderTable:
    """Return the rows of all splits of a data set.

    The audio is the column that holds some; of several, the one that ``data.columns.path`` names. Audio inside the
    shards is written to the user's cache folder under its hash, only that of the recordings that are kept. Labels are
    read by their names. Columns of lists, records and bytes are left out. Where there are splits, the column ``split``
    says which. Recordings are called as their audio files where all these names differ, else by split and number,
    unless there is a column of the name in ``data.columns.recording``.

    Raises:
        TableError: if a file of the data set is not what the library writes, or it has no audio.
    """
    shards = _find_shards(folder)
    if not shards:
        raise TableError(f"'{folder}' has neither arrow nor parquet shards.")
    texts: dict[str, list[str]] = {}
    places: list[str] = []
    names: list[str] = []
    parts: list[str] = []
    known: list[Shard] = []
    audio_dir = audio_folder(folder, data)
    for path, split in shards:
        where = path.relative_to(folder).as_posix()
        shard = read_shard(path, where, data.columns.path)
        for name in shard.texts:
            texts.setdefault(name, [""] * len(places))
        for name, column in texts.items():
            column += shard.texts.get(name, [""] * shard.rows)
        for number, (file, held) in enumerate(zip(shard.paths, shard.holds_bytes, strict=True)):
            places.append(f"{where}/{number}" if held else (inside(file, audio_dir, where) if file else ""))
            names.append(Path(file).name if held else file)
        parts += [split] * shard.rows
        known.append(shard)
    refuse_columns(folder.name, texts)
    if SPLIT_COLUMN not in texts and any(parts):
        texts[SPLIT_COLUMN] = parts
    cells = to_cells({**texts, PLACE_COLUMN: places})
    if not all(names) or len(set(names)) < len(names):
        counts: dict[str, int] = {}
        names = [f"{part}{'-' * bool(part)}{_count(counts, part)}" for part in parts]
    cells = name_recordings(cells, pd.Series(names, index=cells.index, dtype=object), data)
    return FolderTable(cells, EmbeddedFinder(known))


def _count(counts: dict[str, int], part: str) -> int:
    counts[part] = counts.get(part, -1) + 1
    return counts[part]


# --- shards -----------------------------------------------------------------------------------------------------------


def _find_shards(folder: Path) -> list[tuple[Path, str]]:
    """Return the shards of a data set in their order, each with its split, which may be empty."""
    if (folder / "dataset_dict.json").is_file():
        splits = _read_json(folder / "dataset_dict.json").get("splits")
        if not isinstance(splits, list) or not all(isinstance(each, str) and _is_name(each) for each in splits):
            raise TableError(f"{folder.name}: dataset_dict.json has no list of splits.")
        return [(path, split) for split in splits for path in _saved_shards(folder / split)]
    if (folder / "state.json").is_file():
        split = _read_json(folder / "state.json").get("_split")
        return [(path, split if isinstance(split, str) else "") for path in _saved_shards(folder)]
    found = []
    for path in _parquet_shards(folder):
        match = _SHARD_NAME.fullmatch(path.stem)
        found.append((path, match["split"] if match else ""))
    return found


def _saved_shards(folder: Path) -> list[Path]:
    files = _read_json(folder / "state.json").get("_data_files")
    listed = files if isinstance(files, list) else []
    names = [each.get("filename") if isinstance(each, dict) else None for each in listed]
    if not names or not all(isinstance(name, str) and _is_name(name) for name in names):
        raise TableError(f"{folder.name}: state.json does not list the data files of a data set.")
    return [folder / str(name) for name in names]


def _is_name(name: str) -> bool:
    return bool(name) and name not in (".", "..") and not set(name) & {"/", "\\", "\0", ":"}


def _parquet_shards(folder: Path) -> list[Path]:
    below = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    files = [file for parent in (folder, *below) for file in sorted(parent.iterdir())]
    return [file for file in files if is_shard(file.name)]


def is_shard(place: str) -> bool:
    """Return whether a file's name may be that of a parquet shard: metadata.parquet is an audiofolder's."""
    name = place.rpartition("/")[2]
    return name.endswith(".parquet") and name != "metadata.parquet"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as cause:
        raise TableError(f"{path.parent.name}: {path.name} cannot be read as JSON: {cause}.") from cause
    if not isinstance(values, dict):
        raise TableError(f"{path.parent.name}: {path.name} is not what save_to_disk writes.")
    return values
