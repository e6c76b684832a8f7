"""What ``data.metadata`` names: a table, or a folder that another tool wrote."""

import shutil
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lalia.data.formats.audformat_database import HEADER_NAME, read_audformat
from lalia.data.formats.audiofolder import find_metadata, read_audiofolder
from lalia.data.formats.folder_table import PLACE_COLUMN, ReadFolder, find_files
from lalia.data.formats.hf_dataset import DATASET_NAMES, is_dataset, is_shard, read_hf_dataset
from lalia.data.formats.kaldi import read_kaldi
from lalia.data.formats.shards import has_audio
from lalia.data.layout import AudioFiles
from lalia.data.readers import is_table, read_cells
from lalia.data.storage import local_file, locate, parent_of
from lalia.errors import TableError
from lalia.limits import Limits
from lalia.places import join_url, name_of
from lalia.settings import DataSettings


class _Format(NamedTuple):
    is_it: Callable[[Path], bool]
    read: ReadFolder
    mark: str


FORMATS = {
    "audformat": _Format(lambda folder: (folder / HEADER_NAME).is_file(), read_audformat, HEADER_NAME),
    "kaldi": _Format(lambda folder: (folder / "wav.scp").is_file(), read_kaldi, "wav.scp"),
    "datasets": _Format(is_dataset, read_hf_dataset, "state.json, dataset_dict.json or parquet shards with audio"),
    "audiofolder": _Format(lambda folder: bool(find_metadata(folder)), read_audiofolder, "metadata.csv with file_name"),
}


@dataclass(frozen=True, eq=False)
class Source:
    """A table, and how its audio is found.

    Args:
        name: of the file or folder, for messages.
        cells: as ``lalia.data.readers.read_cells`` returns them.
        folder: of the recordings.
        data: the settings, as they are for a table of these cells.
        find_audio: gives the audio of rows, as ``lalia.data.layout.find_audio`` does, from the rows and all places.
    """

    name: str
    cells: pd.DataFrame
    folder: str | Path
    data: DataSettings
    find_audio: Callable[[pd.DataFrame, Iterable[str]], AudioFiles]


def open_source(data: DataSettings, limits: Limits = Limits()) -> Source:  # noqa: B008
    """Read what ``data.metadata`` names.

    Args:
        data: where it is, and of which format if that is said.
        limits: of audio files that have to be cut.

    Raises:
        TableError: if it cannot be read, or its format is not clear.
        DataError: if a place is neither a path nor a URL of a store that is known, or audio of a folder at a URL.
        StorageError: if what is at a URL cannot be read.
    """
    path = locate(data.metadata)
    if isinstance(path, Path):
        if path.is_dir():
            return _read_folder(path, path, data, limits)
    elif data.format in FORMATS or (data.format == "auto" and not is_table(path)):
        return _read_folder_at_url(path, data, limits)
    if data.format not in ("auto", "table"):
        raise TableError(f"data.metadata: '{path}' is not a folder, as data.format {data.format} has it.")
    folder = locate(data.audio_dir) if data.audio_dir is not None else parent_of(path)
    return Source(name_of(path), read_cells(path), folder, data, partial(find_files, folder=folder, data=data))


def _read_folder(folder: Path, audio_dir: str | Path, data: DataSettings, limits: Limits) -> Source:
    """Read a folder on this machine, whose recordings lie in ``audio_dir`` if the settings do not say where."""
    within = locate(data.audio_dir) if data.audio_dir is not None else audio_dir
    data = data.model_copy(update={"audio_dir": str(within)})
    read = FORMATS[recognise(folder, data.format)].read(folder, data, limits)
    columns = data.columns.model_copy(update={"path": PLACE_COLUMN})
    as_table = data.model_copy(update={"layout": "path", "columns": columns})
    return Source(folder.name, read.cells, within, as_table, partial(read.find_audio, folder=within, data=as_table))


def _read_folder_at_url(url: str, data: DataSettings, limits: Limits) -> Source:
    # only now: folders on this machine have no use for it
    from lalia.data.remote_folder import fetch_folder

    folder = fetch_folder(url)
    try:
        source = _read_folder(folder, url, data, limits)
    except BaseException as error:
        shutil.rmtree(folder.parent, ignore_errors=True)
        if isinstance(error, TableError):
            raise TableError(str(error).replace(str(folder), url)) from error
        raise
    # audio may lie in its files
    weakref.finalize(source, shutil.rmtree, folder.parent, ignore_errors=True)
    return source


def open_other(place: str | Path) -> Source | None:
    """Read a folder of a format in which its files alone do not tell which recordings there are; None for any other.

    Args:
        place: as ``lalia.data.storage.locate`` returns it.

    Raises:
        TableError: if it cannot be read.
        StorageError: if what is at a URL cannot be read.
    """
    is_other = recognise_other(place) if isinstance(place, Path) else _recognise_other_at_url(place)
    return open_source(DataSettings(metadata=str(place))) if is_other else None


def _recognise_other_at_url(url: str) -> bool:
    from lalia.data.remote_folder import list_tables

    names = list_tables(url)
    if not names.keys().isdisjoint((HEADER_NAME, "wav.scp", *DATASET_NAMES)):
        return True
    shards = sorted(name for name in names if name.count("/") < 2 and is_shard(name))
    return bool(shards) and has_audio(local_file(join_url(url, shards[0])))


def recognise_other(folder: Path) -> bool:
    """Return whether a folder has a format in which its files alone do not tell which recordings there are."""
    return any(each.is_it(folder) for name, each in FORMATS.items() if name != "audiofolder")


def recognise(folder: Path, given: str = "auto") -> str:
    """Return which format a folder has.

    Raises:
        TableError: if it has none that is known, or might have several.
    """
    if given in FORMATS:
        return given
    if given == "table":
        raise TableError(f"data.metadata: '{folder}' is a folder. Name the table in it.")
    found = [name for name, each in FORMATS.items() if each.is_it(folder)]
    if len(found) > 1:
        raise TableError(f"'{folder}' might be {' or '.join(found)}. Say which in data.format.")
    if not found:
        marks = "; ".join(f"{name} ({each.mark})" for name, each in FORMATS.items())
        raise TableError(f"data.metadata: '{folder}' is a folder, but none of these: {marks}. Name the table in it.")
    return found[0]
