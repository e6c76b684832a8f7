"""Recordings to rate without ratings: audio files, folders of them or that other tools wrote, tables with paths."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from lalia.data.formats.recognise import Source, open_other
from lalia.data.layout import is_audio
from lalia.data.safe_paths import why_unsafe
from lalia.data.storage import locate, parent_of
from lalia.data.table import read_cells
from lalia.errors import TableError, list_some, suggest
from lalia.places import join_url, name_of

TABLE_EXTENSIONS = {".csv", ".json", ".jsonl", ".ods", ".parquet", ".tsv", ".xls", ".xlsx"}
PATH_COLUMNS = ("path", "file", "filename", "audio", "recording", "id")


def find_recordings(inputs: Sequence[str | Path], *, path_column: str | None = None) -> pd.DataFrame:
    """List the recordings that files, folders and tables name.

    Args:
        inputs: audio files, folders (searched with their subfolders; of a data set of datasets, an audformat database
            or a Kaldi folder, the recordings that it names), or tables with a column of paths, which are relative to
            the table; or URLs of files, folders and tables.
        path_column: that column; without it the first of path, file, filename, audio, recording and id.

    Returns:
        One row per recording: ``recording`` (the path as given, relative to its folder or table), ``path``.

    Raises:
        TableError: if an input is missing, holds no audio, two recordings have the same name, or one has a name that is
            no text.
        DataError: if a URL is none of a store that is known.
        StorageError: if what is at a URL cannot be read.
    """
    rows = [row for given in map(locate, inputs) for row in _rows_of(given, path_column)]
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


def _rows_of(given: str | Path, path_column: str | None) -> list[tuple[str, str]]:
    if not isinstance(given, Path):
        return _rows_of_url(given, path_column)
    if given.is_dir():
        if other := open_other(given):
            return _rows_of_folder(other)
        files = sorted(file for file in given.rglob("*") if is_audio(file) and file.is_file())
        if not files:
            raise TableError(f"The folder '{given}' holds no audio file.")
        return [(file.relative_to(given).as_posix(), str(file)) for file in files]
    if not given.is_file():
        raise TableError(f"There is no file or folder '{given}'.")
    if given.suffix.lower() in TABLE_EXTENSIONS:
        return _rows_of_table(given, path_column)
    return [(given.name, str(given))]


def _rows_of_folder(source: Source) -> list[tuple[str, str]]:
    rows = pd.DataFrame({"recording": source.cells["recording"], "path": source.cells[source.data.columns.path]})
    found = source.find_audio(rows, rows["path"])
    if found.problems:
        raise TableError(f"{source.name}: {'; '.join(found.problems)}.")
    return list(zip(rows["recording"], found.paths, strict=True))


def _rows_of_url(given: str, path_column: str | None) -> list[tuple[str, str]]:
    suffix = PurePosixPath(given).suffix.lower()
    if suffix in TABLE_EXTENSIONS:
        return _rows_of_table(given, path_column)
    if is_audio(Path(given)):
        return [(name_of(given), given)]
    if other := open_other(given):
        return _rows_of_folder(other)
    # only now: files on this machine have no use for it
    from lalia.data.remote import list_objects

    found = sorted(inside for inside in list_objects(given) if is_audio(Path(inside)))
    if not found:
        raise TableError(f"The folder '{given}' holds no audio file.")
    return [(inside, join_url(given, inside)) for inside in found]


def _rows_of_table(table: str | Path, path_column: str | None) -> list[tuple[str, str]]:
    cells, name, folder = read_cells(table), name_of(table), parent_of(table)
    wanted = [path_column] if path_column else list(PATH_COLUMNS)
    column = next((name for name in wanted if name in cells), None)
    if column is None:
        raise TableError(
            f"{name} has no column {' or '.join(repr(each) for each in wanted)}."
            f"{suggest(wanted[0], list(cells))} Name the column of paths with --column."
        )
    paths = dict.fromkeys(text for text in cells[column] if text.strip())
    unsafe = [f"'{text}' {why}" for text in paths if (why := why_unsafe(text, "path"))]
    if unsafe:
        raise TableError(
            f"{name}: paths that do not lie inside its folder: {list_some(unsafe)}. "
            "Give these files or their folder themselves."
        )
    return [(text, str(folder / text) if isinstance(folder, Path) else join_url(folder, text)) for text in paths]
