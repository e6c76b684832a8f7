"""Reading a sheet of a workbook as text: xlsx, xls and ods become the cells that a csv would hold."""

import datetime
import io
from typing import Any, NamedTuple

from lalia.errors import TableError, list_some


class Sheet(NamedTuple):
    """The cells of a sheet as text."""

    header: list[str]
    rows: list[list[str]]
    """Below the header, each as long as it."""
    numbers: list[int]
    """Of the rows, as the spreadsheet counts them."""


def read_sheet(name: str, content: bytes) -> Sheet:
    """Return the one visible sheet of a workbook that holds cells, or that named metadata.

    Numbers have at most 15 digits, as a spreadsheet shows them, and whole ones no decimals; a date without a time is
    written as 2024-01-31; of a formula the value is read that was last saved. The header is the first row that is not
    empty.

    Args:
        name: of the file, for messages.
        content: of the file.

    Raises:
        TableError: if the reader is not installed, the file is not a workbook or has a password, no sheet or more than
            one holds cells, or cells are merged: all but the first of them would count as empty.
    """
    try:
        import python_calamine
    except ImportError as cause:
        raise TableError(
            f"{name} is a workbook, and what reads it is not installed. Install it with: pip install 'lalia[sheets]',"
            " or save the sheet as csv."
        ) from cause
    try:
        with python_calamine.load_workbook(io.BytesIO(content)) as book:
            sheets = {
                each.name: book.get_sheet_by_name(each.name)
                for each in book.sheets_metadata
                if each.visible == python_calamine.SheetVisibleEnum.Visible
                and each.typ == python_calamine.SheetTypeEnum.WorkSheet
            }
            return _read_only_sheet(name, {title: sheet for title, sheet in sheets.items() if sheet.height})
    except python_calamine.PasswordError as cause:
        raise TableError(f"{name} has a password. Save it without one.") from cause
    except (python_calamine.CalamineError, OSError) as cause:
        raise TableError(f"{name} cannot be read as a workbook: {cause}. Save the sheet as csv.") from cause


def _read_only_sheet(name: str, sheets: dict[str, Any]) -> Sheet:
    chosen = [title for title in sheets if len(sheets) == 1 or title.strip().lower() == "metadata"]
    if not sheets:
        raise TableError(f"{name} has no sheet with cells.")
    if len(chosen) != 1:
        raise TableError(
            f"{name} has {len(sheets)} sheets with cells ({list_some(list(sheets))}). Name the one to read 'metadata', "
            "or hide the others."
        )
    sheet = sheets[chosen[0]]
    merged = [_range_name(*each) for each in sheet.merged_cell_ranges or []]
    if merged:
        raise TableError(
            f"{name}, sheet '{chosen[0]}': merged cells ({list_some(merged)}). All but the first of them would count"
            " as empty: take the merge apart and fill in each."
        )
    rows = [[_text(cell) for cell in row] for row in sheet.to_python(skip_empty_area=False)]
    filled = [place for place, row in enumerate(rows) if any(row)]
    width = max((len(rows[place]) for place in filled), default=0)
    padded = [rows[place] + [""] * (width - len(rows[place])) for place in filled]
    return Sheet(padded[0] if padded else [], padded[1:], [place + 1 for place in filled[1:]])


def _text(cell: Any) -> str:
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, (int, float)):
        return format(cell, ".15g")
    if isinstance(cell, datetime.datetime):
        midnight = cell.time() == datetime.time()
        return cell.date().isoformat() if midnight else cell.isoformat(sep=" ")
    return str(cell).strip()


def _range_name(start: tuple[int, int], end: tuple[int, int]) -> str:
    return ":".join(f"{_column_name(column)}{row + 1}" for row, column in (start, end))


def _column_name(number: int) -> str:
    """Return the letters of a column, counted from 0.

    Example:
        >>> [_column_name(number) for number in (0, 25, 26, 702)]
        ['A', 'Z', 'AA', 'AAA']
    """
    letters = ""
    number += 1
    while number:
        number, place = divmod(number - 1, 26)
        letters = chr(ord("A") + place) + letters
    return letters
