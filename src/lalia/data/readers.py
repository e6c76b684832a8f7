"""Reading a metadata table as text: csv, tsv, json, jsonl, parquet and workbooks become the same cells."""

import codecs
import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lalia.data.spreadsheets import read_sheet
from lalia.data.storage import local_file, locate
from lalia.errors import StorageError, TableError, list_some
from lalia.places import name_of


def read_cells(path: str | Path) -> pd.DataFrame:
    """Read a table as text: nothing is interpreted, so the ids ``007``, ``NA`` and ``1e5`` stay what they are.

    White space around cells and names is cut off. Rows without any text, and columns without a name, are left out.
    JSON is a list of records, or lists (or mappings) by column; its numbers keep the digits that they are written with,
    and null, like the number NaN, is an empty cell. So it is in parquet, whose whole numbers get no decimals.

    Args:
        path: a csv (comma, semicolon or tab, whichever the header shows), tsv, json, jsonl, parquet, xlsx, xls or ods
            file, or the URL of one; text is UTF-8, or UTF-16 that starts with its byte order mark. What
            is read of a workbook, ``lalia.data.spreadsheets`` says.

    Returns:
        One column of text per column; an empty cell is ``""``. The index ``row`` counts as a spreadsheet does: the
        header is row 1, the first record row 2.

    Raises:
        TableError: if the file is absent, empty, not what its extension says, or not a table: a row of another length
            than the header, two columns of one name, a cell that holds a list.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "metadata.csv"
        >>> _ = path.write_text("id;age\\n007;NA\\n")
        >>> read_cells(path).loc[2].to_dict()
        {'id': '007', 'age': 'NA'}
    """
    path = locate(path)
    name = name_of(path)
    suffix = Path(name).suffix
    reader = _READERS.get(suffix.lower())
    if reader is None:
        known = ", ".join(kind.lstrip(".") for kind in _READERS)
        raise TableError(f"{name}: the extension '{suffix}' is not that of a table. Use one of {known}.")
    try:
        content = local_file(path).read_bytes()
    except StorageError:
        raise
    except OSError as cause:
        raise TableError(f"Cannot read the table '{path}': {cause.strerror or cause}.") from cause
    if not content.strip():
        raise TableError(f"{name} is empty.")
    return reader(name, content)


def is_table(place: str | Path) -> bool:
    """Return whether the name of a file is that of a table.

    Example:
        >>> is_table("s3://bucket/metadata.csv"), is_table("s3://bucket/study")
        (True, False)
    """
    return PurePosixPath(name_of(place)).suffix.lower() in _READERS


def list_rows(rows: Sequence[int]) -> str:
    """Name rows in a message.

    Example:
        >>> list_rows([2]), list_rows([12, 57, 90])
        ('row 2', 'rows 12, 57, 90')
    """
    return f"row{'s' * (len(rows) != 1)} {list_some(rows)}"


def _read_csv(name: str, content: bytes) -> pd.DataFrame:
    return _read_delimited(name, content, ",;\t")


def _read_tsv(name: str, content: bytes) -> pd.DataFrame:
    return _read_delimited(name, content, "\t,;")


def _read_delimited(name: str, content: bytes, delimiters: str) -> pd.DataFrame:
    text = _decode(name, content)
    header_fields = {
        delimiter: len(next(csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=delimiter), []))
        for delimiter in delimiters
    }
    delimiter = max(header_fields, key=header_fields.__getitem__)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    numbers: list[int] = []
    rows: list[list[str]] = []
    number = 0
    # equal cells are one text in memory: of a long table most are
    shared: dict[str, str] = {}
    try:
        for number, row in enumerate(reader, start=1):
            cells = [shared.setdefault(text, text) for cell in row for text in (cell.strip(),)]
            if any(cells):
                numbers.append(number)
                rows.append(cells)
    except csv.Error as cause:
        raise TableError(f"{name}, row {number + 1}: a quoted cell is not closed as it should be ({cause}).") from cause
    if not rows:
        raise TableError(f"{name} has no rows.")
    header = rows[0]
    wrong = [f"row {n}: {len(row)}" for n, row in zip(numbers, rows, strict=True) if len(row) != len(header)]
    if wrong:
        raise TableError(
            f"{name}: the header has {len(header)} cells, {len(wrong)} rows have not ({list_some(wrong)}). "
            f"Put quotes around a cell that contains {_DELIMITER_NAMES[delimiter]} or a line break."
        )
    return _frame(name, header, rows[1:], numbers[1:])


_DELIMITER_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}


def _read_json(name: str, content: bytes) -> pd.DataFrame:
    values = _parse_json(name, _decode(name, content))
    if isinstance(values, list):
        return _from_records(name, values)
    if not (isinstance(values, dict) and all(isinstance(column, (list, dict)) for column in values.values())):
        raise TableError(f"{name} must hold a list of records, or a list per column.")
    columns = {column: cells if isinstance(cells, dict) else dict(enumerate(cells)) for column, cells in values.items()}
    keys = dict.fromkeys(key for cells in columns.values() for key in cells)
    return _from_records(name, [{column: cells.get(key) for column, cells in columns.items()} for key in keys])


def _read_jsonl(name: str, content: bytes) -> pd.DataFrame:
    lines = (line for line in _decode(name, content).split("\n") if line.strip())
    return _from_records(name, [_parse_json(f"{name}, record {n}", line) for n, line in enumerate(lines, start=1)])


def _read_parquet(name: str, content: bytes) -> pd.DataFrame:
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read()
        names, columns = table.column_names, [arrow_text(column) for column in table.columns]
    except pa.ArrowNotImplementedError as cause:
        raise TableError(f"{name}: a column holds lists or records ({cause}). Leave it out.") from cause
    except (pa.ArrowException, OSError, UnicodeDecodeError) as cause:
        raise TableError(f"{name} cannot be read as parquet: {cause}.") from cause
    rows = [[_text(name, cell) for cell in row] for row in zip(*columns, strict=True)]
    return _frame(name, names, rows, range(2, len(rows) + 2))


def _read_workbook(name: str, content: bytes) -> pd.DataFrame:
    return _frame(name, *read_sheet(name, content))


_READERS: dict[str, Callable[[str, bytes], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    ".xlsx": _read_workbook,
    ".xls": _read_workbook,
    ".ods": _read_workbook,
}


def _decode(name: str, content: bytes) -> str:
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as cause:
        raise TableError(f"{name} is not UTF-8 text (byte {cause.start + 1}). Save it as UTF-8.") from cause
    if "\0" in text:
        raise TableError(f"{name} is not text: it contains NUL characters. Save it as UTF-8.")
    if not text.strip():
        raise TableError(f"{name} is empty.")
    return text


def _parse_json(name: str, text: str) -> Any:
    """Read JSON with its numbers as they are written."""

    def pair_up(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # the names of columns are one text in memory, not one in each record
        record = {sys.intern(key): value for key, value in pairs}
        if len(record) < len(pairs):
            (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
            raise TableError(f"{name}: '{twice}' stands twice in one record.")
        return record

    try:
        return json.loads(
            text,
            parse_int=str,
            parse_float=str,
            parse_constant=lambda constant: None if constant == "NaN" else constant,
            object_pairs_hook=pair_up,
        )
    except json.JSONDecodeError as cause:
        raise TableError(f"{name} is not valid JSON: {cause}.") from cause
    except RecursionError as cause:
        raise TableError(f"{name} is nested too deeply for a table.") from cause


def _from_records(name: str, records: Sequence[Any]) -> pd.DataFrame:
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise TableError(f"{name}, record {number} must be a record such as {{'id': 'A1'}}, got {record!r:.60}.")
    header = list(dict.fromkeys(key for record in records for key in record))
    rows = [[_text(name, record.get(column)) for column in header] for record in records]
    return _frame(name, header, rows, range(2, len(rows) + 2))


def arrow_text(column: Any) -> list[str | None]:
    """Return the cells of an Arrow column as text, None where there is none."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    elif pa.types.is_timestamp(column.type):
        dates = column.cast(pa.date32())
        column = dates if dates.cast(column.type).equals(column) else column
    texts: list[str | None] = column.cast(pa.string()).to_pylist()
    return texts


def _text(name: str, cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if not isinstance(cell, str):
        raise TableError(f"{name}: a cell must hold text or a number, got {cell!r:.60}.")
    return cell.strip()


def _frame(name: str, header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> pd.DataFrame:
    header = [column.strip() for column in header]
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        raise TableError(f"{name}: {list_some([repr(column) for column in twice])} names more than one column.")
    filled = [place for place, row in enumerate(rows) if any(row)]
    if not filled or not any(header):
        raise TableError(f"{name} has no rows.")
    cells = pd.DataFrame(
        [rows[place] for place in filled],
        columns=header,
        index=pd.Index([numbers[place] for place in filled], name="row"),
        dtype=object,
    )
    return cells.loc[:, [bool(column) for column in header]]
