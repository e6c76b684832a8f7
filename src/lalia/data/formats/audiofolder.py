"""An ``audiofolder``: audio files with metadata.csv, .jsonl or .parquet beside them, whose file_name names each."""

from pathlib import Path, PurePosixPath

import pandas as pd

from lalia.data.formats.folder_table import (
    PLACE_COLUMN,
    SPLIT_COLUMN,
    FolderTable,
    audio_folder,
    inside,
    name_recordings,
    refuse_columns,
)
from lalia.data.readers import read_cells
from lalia.errors import TableError, list_some
from lalia.limits import Limits
from lalia.settings import DataSettings

METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FILE_COLUMN = "file_name"

# the parts as the datasets library finds them in names of folders
_SPLIT_WORDS = {"train", "training", "validation", "valid", "val", "dev", "test", "testing", "eval", "evaluation"}


def find_metadata(folder: Path) -> list[Path]:
    """Return the metadata files of an audiofolder, its own and those of the folders in it, sorted."""
    below = (each for each in sorted(folder.iterdir()) if each.is_dir() and not each.name.startswith("."))
    return [file for parent in (folder, *below) for name in METADATA_NAMES if (file := parent / name).is_file()]


def read_audiofolder(folder: Path, data: DataSettings, limits: Limits) -> FolderTable:
    """Return the recordings that an audiofolder's metadata name, those of all of its parts.

    Paths in ``file_name`` are relative to their metadata file. Recordings are called as their files, relative to the
    folder, unless the metadata have a column of the name in ``data.columns.recording``. Where the metadata lie in
    folders such as train and test, the column ``split`` says which.

    Raises:
        TableError: if there is no metadata file, two lie side by side, or one has no column ``file_name``.
    """
    files = find_metadata(folder)
    if not files:
        raise TableError(
            f"'{folder}' has no {list_some(METADATA_NAMES)}, as an audiofolder has. Add one, or name a table."
        )
    if len({file.parent for file in files}) < len(files):
        raise TableError(
            f"'{folder}' has two metadata files side by side ({list_some([f.name for f in files])}). Keep one."
        )
    cells = pd.concat([_read_one(file, folder) for file in files], ignore_index=True).fillna("")
    cells.index = pd.RangeIndex(2, len(cells) + 2, name="row")
    audio_dir = audio_folder(folder, data)
    cells[PLACE_COLUMN] = [inside(place, audio_dir, "file_name") for place in cells[PLACE_COLUMN]]
    return FolderTable(name_recordings(cells, cells[PLACE_COLUMN], data))


def _read_one(file: Path, folder: Path) -> pd.DataFrame:
    cells = read_cells(file)
    place = file.parent.relative_to(folder)
    refuse_columns(file.name, list(cells))
    if FILE_COLUMN not in cells:
        raise TableError(f"{(place / file.name).as_posix()} has no column '{FILE_COLUMN}', which an audiofolder's has.")
    places = [str(PurePosixPath(place.as_posix()) / name) if name else "" for name in cells[FILE_COLUMN]]
    cells = cells.assign(**{PLACE_COLUMN: places})
    if place.name.lower() in _SPLIT_WORDS and SPLIT_COLUMN not in cells:
        cells = cells.assign(**{SPLIT_COLUMN: place.name.lower()})
    return cells
