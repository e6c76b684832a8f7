"""An audformat database: db.yaml with schemes and tables, and the tables beside it as csv or parquet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from lalia.data.formats.folder_table import (
    PLACE_COLUMN,
    SPLIT_COLUMN,
    FolderTable,
    audio_folder,
    inside,
    name_recordings,
    refuse_columns,
)
from lalia.data.formats.segments import SegmentFinder, Stretch
from lalia.data.readers import read_cells
from lalia.errors import TableError, list_some
from lalia.limits import Limits
from lalia.settings import DataSettings

HEADER_NAME = "db.yaml"
_MAX_HEADER_BYTES = 20_000_000
_START, _END = "start", "end"

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_audformat(folder: Path, data: DataSettings, limits: Limits) -> FolderTable:
    """Return the files or segments of a database with the columns of all of its tables.

    A column that several tables have, such as those of the parts, is one column where no row is in two of them; else it
    is called ``table.column``. Where tables belong to a split, the column ``split`` says which type it has. What a
    scheme's labels say of a label, in the header or in a misc table (age and sex of each speaker), becomes columns too,
    called ``column.name`` where the name is taken. Recordings are called as their files, segments ``file:start-end``,
    unless there is a column of the name in ``data.columns.recording``.

    If the database has segments, recordings are these, and what is known of whole files goes to all of theirs.

    Raises:
        TableError: if the header or a table is not what audformat writes.
    """
    header = _read_header(folder / HEADER_NAME)
    tables = _section(header, "tables")
    if not tables:
        raise TableError(f"{folder.name}: {HEADER_NAME} has no tables.")
    read = {name: _read_table(folder, name) for name in tables}
    splits = {name: _split_of(header, table) for name, table in tables.items()}
    filewise = _join({name: cells for name, cells in read.items() if not _is_segmented(cells)}, splits, ["file"])
    segmented = _join({name: c for name, c in read.items() if _is_segmented(c)}, splits, ["file", _START, _END])
    cells = filewise if segmented.empty else _spread(segmented, filewise)
    cells = _add_labels(cells, header, folder).fillna("")
    refuse_columns(folder.name, list(cells))
    audio_dir = audio_folder(folder, data)
    places = [inside(file, audio_dir, "A table") for file in cells["file"]]
    cells.index = pd.RangeIndex(2, len(cells) + 2, name="row")
    cells = cells.assign(**{PLACE_COLUMN: places})
    if segmented.empty:
        return FolderTable(name_recordings(cells, cells["file"], data))
    stretches = [_stretch(*each) for each in cells[["file", _START, _END]].itertuples(index=False, name=None)]
    names = [
        file if stretch == (0.0, None) else f"{file}:{stretch[0]:g}-{'' if stretch[1] is None else f'{stretch[1]:g}'}"
        for file, stretch in zip(cells["file"], stretches, strict=True)
    ]
    cells = name_recordings(cells, pd.Series(names, index=cells.index, dtype=object), data)
    return FolderTable(cells, SegmentFinder(stretches, limits))


def _read_header(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_HEADER_BYTES:
            raise TableError(f"{path.name} has more than {_MAX_HEADER_BYTES / 1e6:g} MB, which no header has.")
        text = path.read_text(encoding="utf-8-sig")
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.AliasEvent):
                raise TableError(f"{path.name} has aliases, which a header needs not. Write them out.")
        header = yaml.load(text, Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as cause:
        if isinstance(cause, TableError):
            raise
        raise TableError(f"{path.name} cannot be read as YAML: {' '.join(str(cause).split())}.") from cause
    if not isinstance(header, dict):
        raise TableError(f"{path.name} is not the header of an audformat database.")
    return header


def _section(header: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a section of the header, its entries by name as text."""
    found = header.get(name) or {}
    if not isinstance(found, dict):
        raise TableError(f"{HEADER_NAME}: {name} must be entries by name.")
    return {str(key): value if isinstance(value, dict) else {} for key, value in found.items()}


def _split_of(header: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    split = table.get("split_id")
    return "" if split is None else str(_section(header, "splits").get(str(split), {}).get("type", split))


def _read_table(folder: Path, name: str) -> pd.DataFrame:
    """Read a table from its csv or parquet; a pickle may run code, and is never read."""
    if "/" in name or "\\" in name or name.startswith("."):
        raise TableError(f"{HEADER_NAME}: '{name}' cannot be the name of a table.")
    stem = f"{Path(HEADER_NAME).stem}.{name}"
    for suffix in (".parquet", ".csv"):
        if (folder / f"{stem}{suffix}").is_file():
            cells = read_cells(folder / f"{stem}{suffix}")
            return cells.reset_index(drop=True)
    hint = " Pickles are not read, because they can run code." if (folder / f"{stem}.pkl").is_file() else ""
    raise TableError(
        f"{folder.name}: the table '{name}' has neither {stem}.csv nor {stem}.parquet.{hint} Save it as csv."
    )


def _is_segmented(cells: pd.DataFrame) -> bool:
    return _START in cells and _END in cells


def _join(tables: Mapping[str, pd.DataFrame], splits: Mapping[str, str], keys: list[str]) -> pd.DataFrame:
    """Join tables on their index."""
    places: dict[str, list[str]] = {}
    for name, cells in tables.items():
        if not set(keys) <= set(cells):
            raise TableError(f"{HEADER_NAME}: the table '{name}' has no column '{keys[0]}'.")
        if cells.duplicated(keys).any():
            twice = cells.loc[cells.duplicated(keys), keys[0]]
            raise TableError(
                f"The table '{name}' has rows that stand twice: {list_some(list(twice))}. Keep one of each."
            )
        for column in map(str, cells):
            if column not in keys:
                places.setdefault(column, []).append(name)
    indexed = {name: cells.set_index(keys) for name, cells in tables.items()}
    rows = pd.concat([each.index.to_frame(index=False) for each in indexed.values()]) if indexed else pd.DataFrame()
    if rows.empty:
        return pd.DataFrame(columns=keys)
    unique = rows.drop_duplicates()
    joined = pd.DataFrame(index=pd.MultiIndex.from_frame(unique) if len(keys) > 1 else pd.Index(unique[keys[0]]))
    for column, holders in places.items():
        parts = [indexed[name][column] for name in holders]
        both = pd.concat(parts)
        if not both.index.has_duplicates:
            joined[column] = both.reindex(joined.index)
        else:
            for name, part in zip(holders, parts, strict=True):
                joined[f"{name}.{column}"] = part.reindex(joined.index)
    if any(splits[name] for name in tables) and SPLIT_COLUMN not in joined:
        given = pd.concat([pd.Series(splits[name], index=indexed[name].index) for name in tables if splits[name]])
        joined[SPLIT_COLUMN] = given[~given.index.duplicated()].reindex(joined.index)
    return joined.reset_index()


def _spread(segmented: pd.DataFrame, filewise: pd.DataFrame) -> pd.DataFrame:
    """Give each segment what is known of its file."""
    if filewise.empty:
        return segmented
    return segmented.merge(filewise, on="file", how="left", suffixes=("", ".file"))


def _stretch(file: str, start: str, end: str) -> Stretch:
    """Return start and end in seconds."""
    begin, finish = (None if text in ("", "NaT") else _seconds(text, file) for text in (start, end))
    if (begin or 0.0) < 0 or (finish is not None and finish <= (begin or 0.0)):
        raise TableError(f"A segment of '{file}' goes from '{start}' to '{end}'.")
    return begin or 0.0, finish


def _seconds(text: str, file: str) -> float:
    try:
        # parquet gives nanoseconds, csv what pandas writes
        return float(int(text) / 1e9 if text.lstrip("-").isdigit() else pd.Timedelta(text).total_seconds())
    except ValueError as cause:
        raise TableError(f"A segment of '{file}' begins or ends at '{text}', which is no time.") from cause


def _add_labels(cells: pd.DataFrame, header: Mapping[str, Any], folder: Path) -> pd.DataFrame:
    """Add what is known of the labels of columns."""
    schemes = _section(header, "schemes")
    for table in _section(header, "tables").values():
        for column, about in _section(table, "columns").items():
            if column not in cells:
                continue
            known = _describe_labels(schemes.get(str(about.get("scheme_id")), {}).get("labels"), header, folder)
            for name in map(str, known):
                target = name if name not in cells else f"{column}.{name}"
                if target not in cells:
                    found = known[name].reindex(cells[column].fillna(""))
                    cells = cells.assign(**{target: found.to_numpy()})
    return cells


def _describe_labels(labels: object, header: Mapping[str, Any], folder: Path) -> pd.DataFrame:
    """Return what is known of each label, as text, the labels as index."""
    if isinstance(labels, str):
        misc = _section(header, "misc_tables").get(labels)
        if misc is None:
            raise TableError(f"{HEADER_NAME}: a scheme names the misc table '{labels}', which is not there.")
        cells = _read_table(folder, labels)
        given = misc.get("levels")
        levels = [str(level) for level in given] if isinstance(given, dict | list) else []
        if len(levels) != 1 or levels[0] not in cells:
            return pd.DataFrame()
        known = cells.set_index(levels[0])
        if known.index.has_duplicates:
            twice = known.index[known.index.duplicated()]
            raise TableError(
                f"The table '{labels}' has rows that stand twice: {list_some(list(twice))}. Keep one of each."
            )
        return known
    if isinstance(labels, dict) and labels and all(isinstance(about, dict) for about in labels.values()):
        texts = {
            str(label): {str(name): "" if value is None else str(value) for name, value in about.items()}
            for label, about in labels.items()
        }
        return pd.DataFrame.from_dict(texts, orient="index").replace(np.nan, "")
    return pd.DataFrame()
