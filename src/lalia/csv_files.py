"""Tables as CSV files that a spreadsheet and a terminal may show, and those of them that lalia reads back."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lalia.files import replacing
from lalia.safe_text import as_cell, from_cell


def write_csv(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table under its final name at once; see ``csv_text``."""
    with replacing(path) as temporary:
        temporary.write_bytes(csv_text(table).encode())


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as CSV, without its index; texts stand there as ``as_cell`` gives them.

    Example:
        >>> csv_text(pd.DataFrame({"recording": ["=1+1", "a"], "score": [-1.5, 2.0]}))
        "recording,score\\n'=1+1,-1.5\\na,2.0\\n"
    """
    text: str = (
        _map_texts(table, as_cell)
        .rename(columns=lambda name: as_cell(str(name)))
        .to_csv(index=False, lineterminator="\n")
    )
    return text


def read_csv(file: str | Path | bytes) -> pd.DataFrame:
    """Read what ``write_csv`` has written as text: ``007`` and ``NA`` are ids, an empty cell is ``""``.

    Args:
        file: its path, or what it holds.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no table.
    """
    source: Any = BytesIO(file) if isinstance(file, bytes) else file
    return from_cells(pd.read_csv(source, dtype=str, keep_default_na=False, encoding="utf-8-sig"))


def from_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table that was read from such a file with the texts that were written."""
    return _map_texts(table, from_cell).rename(columns=from_cell)


def _map_texts(table: pd.DataFrame, change: Any) -> pd.DataFrame:
    """Change the texts of a table, each different one once: most stand in many rows."""
    columns = {}
    for place, (_, column) in enumerate(table.items()):
        if pd.api.types.is_numeric_dtype(column):
            continue
        changed = {text: new for text in column.unique() if isinstance(text, str) and (new := change(text)) != text}
        if changed:
            columns[place] = [changed.get(cell, cell) if isinstance(cell, str) else cell for cell in column]
    if not columns:
        return table
    table = table.copy()
    for place, cells in columns.items():
        table.isetitem(place, np.array(cells, dtype=object))
    return table
