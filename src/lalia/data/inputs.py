"""Recordings to rate without ratings: audio files, folders of them, or a table with a column of paths."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lalia.data.layout import is_audio
from lalia.data.safe_paths import why_unsafe
from lalia.data.table import read_cells
from lalia.errors import TableError, list_some, suggest

TABLE_EXTENSIONS = {".csv", ".json", ".jsonl", ".ods", ".parquet", ".tsv", ".xls", ".xlsx"}
PATH_COLUMNS = ("path", "file", "filename", "audio", "recording", "id")


def find_recordings(inputs: Sequence[str | Path], *, path_column: str | None = None) -> pd.DataFrame:
    """List the recordings that files, folders and tables name.

    Args:
        inputs: audio files, folders (searched with their subfolders), or tables with a column of paths, which are
            relative to the table.
        path_column: that column; without it the first of path, file, filename, audio, recording and id.

    Returns:
        One row per recording: ``recording`` (the path as given, relative to its folder or table), ``path``.

    Raises:
        TableError: if an input is missing, holds no audio, two recordings have the same name, or one has a name that is
            no text.
    """
    rows = [row for given in inputs for row in _rows_of(Path(given), path_column)]
    odd = [name for name, path in rows if not _is_text(path)]
    if odd:
        raise TableError(f"File names that are no UTF-8 text: {list_some(odd)}. Rename them.")
    recordings = pd.DataFrame(rows, columns=["recording", "path"])
    twice = recordings.loc[recordings["recording"].duplicated(), "recording"].unique()
    if len(twice):
        raise TableError(f"Two recordings have the same name: {list_some(list(twice))}. Rate their folders one by one.")
    return recordings


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _rows_of(given: Path, path_column: str | None) -> list[tuple[str, str]]:
    if given.is_dir():
        files = sorted(file for file in given.rglob("*") if is_audio(file) and file.is_file())
        if not files:
            raise TableError(f"The folder '{given}' holds no audio file.")
        return [(file.relative_to(given).as_posix(), str(file)) for file in files]
    if not given.is_file():
        raise TableError(f"There is no file or folder '{given}'.")
    if given.suffix.lower() in TABLE_EXTENSIONS:
        return _rows_of_table(given, path_column)
    return [(given.name, str(given))]


def _rows_of_table(table: Path, path_column: str | None) -> list[tuple[str, str]]:
    cells = read_cells(table)
    wanted = [path_column] if path_column else list(PATH_COLUMNS)
    column = next((name for name in wanted if name in cells), None)
    if column is None:
        raise TableError(
            f"{table.name} has no column {' or '.join(repr(name) for name in wanted)}."
            f"{suggest(wanted[0], list(cells))} Name the column of paths with --column."
        )
    paths = dict.fromkeys(text for text in cells[column] if text.strip())
    unsafe = [f"'{text}' {why}" for text in paths if (why := why_unsafe(text, "path"))]
    if unsafe:
        raise TableError(
            f"{table.name}: paths that do not lie inside its folder: {list_some(unsafe)}. "
            "Give these files or their folder themselves."
        )
    return [(text, str(table.parent / text)) for text in paths]
