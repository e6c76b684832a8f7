"""What a folder of another tool says, as the cells of a table and where each recording's audio lies."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from lalia.data.layout import AudioFiles, find_audio
from lalia.data.storage import locate
from lalia.errors import TableError, list_some
from lalia.limits import Limits
from lalia.settings import DataSettings

PLACE_COLUMN = "(audio)"
"""The column that says where a recording's audio is: a name that no table is likely to have."""
SPLIT_COLUMN = "split"
"""The column of the part that a folder puts a recording into, where it does."""


class AudioFinder(Protocol):
    """Finds the audio of recordings; see ``lalia.data.layout.find_audio``, which finds it in files."""

    def __call__(self, rows: pd.DataFrame, places: Iterable[str], folder: str | Path, data: DataSettings) -> AudioFiles:
        """Return where the audio of the rows is."""
        ...


def find_files(rows: pd.DataFrame, places: Iterable[str], folder: str | Path, data: DataSettings) -> AudioFiles:
    """Find the audio of rows in a folder on this machine or at a URL; see ``lalia.data.layout.find_audio``."""
    if isinstance(folder, Path):
        return find_audio(rows, places, folder, data)
    # only now: folders on this machine have no use for it
    from lalia.data.remote_audio import find_audio_objects

    return find_audio_objects(rows, places, folder, data)


@dataclass(frozen=True, eq=False)
class FolderTable:
    """A folder read as a table.

    Args:
        cells: as ``lalia.data.readers.read_cells`` returns them, with ``PLACE_COLUMN``.
        find_audio: gives the audio of rows; of files as it is, else as files that it makes.
    """

    cells: pd.DataFrame
    find_audio: AudioFinder = find_files


ReadFolder = Callable[[Path, DataSettings, Limits], FolderTable]


def to_cells(columns: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return columns of text as cells, the first row being row 2, as in a table with a header."""
    cells = pd.DataFrame({name: pd.array(list(texts), dtype=object) for name, texts in columns.items()}, dtype=object)
    cells.index = pd.RangeIndex(2, len(cells) + 2, name="row")
    return cells


def name_recordings(cells: pd.DataFrame, names: "pd.Series[str]", data: DataSettings) -> pd.DataFrame:
    """Add names of the recordings under the column that the settings name, where the folder has no such column."""
    column = data.columns.recording
    if column in cells or column != "recording":
        return cells
    return pd.concat([names.rename(column), cells], axis=1)


def audio_folder(folder: Path, data: DataSettings) -> str | Path:
    """Return the folder of the recordings: that of the settings, else the one that is read."""
    return folder if data.audio_dir is None else locate(data.audio_dir)


def inside(place: str, folder: str | Path, named_in: str) -> str:
    """Return an absolute path relative to the folder of the recordings, and a relative one as it is.

    Raises:
        TableError: if an absolute one lies elsewhere.
    """
    path = Path(place)
    if not path.is_absolute():
        return place
    try:
        return path.relative_to(folder).as_posix()
    except ValueError as cause:
        raise TableError(
            f"{named_in} names '{place}', which is not in '{folder}'. Set data.audio_dir to the folder that holds all"
            " recordings."
        ) from cause


def refuse_columns(name: str, columns: Collection[object]) -> None:
    """Refuse a folder whose columns have the name under which audio is kept.

    Raises:
        TableError: if one has.
    """
    if PLACE_COLUMN in columns:
        raise TableError(
            f"{name}: the column {list_some([repr(PLACE_COLUMN)])} has a name that lalia needs. Rename it."
        )
