"""Workbooks give the cells that a csv would hold."""

import builtins

import pytest

from lalia.data.readers import read_cells
from lalia.errors import TableError
from workbooks import write_ods, write_xlsx

ROWS = [["id", "speaker", "date", "hoarse_r1"], ["007", "NA", 45_321, 1.5], [12, "B", "", 0.1 + 0.2], ["c", "B", "", 4]]


def test_a_workbook_gives_the_cells_of_the_csv_that_was_saved_from_it(tmp_path):
    write_xlsx(tmp_path / "a.xlsx", {"Sheet1": ROWS})
    (tmp_path / "a.csv").write_text("id,speaker,date,hoarse_r1\n007,NA,2024-01-30,1.5\n12,B,,0.3\nc,B,,4\n")
    cells = read_cells(tmp_path / "a.xlsx")
    assert cells.equals(read_cells(tmp_path / "a.csv"))
    assert list(cells.index) == [2, 3, 4]


def test_an_open_document_is_read_too(tmp_path):
    write_ods(tmp_path / "a.ods", [ROWS[0], ["007", "NA", "", 1.5]])
    assert read_cells(tmp_path / "a.ods").loc[2].to_dict() == {
        "id": "007",
        "speaker": "NA",
        "date": "",
        "hoarse_r1": "1.5",
    }


def test_rows_are_counted_as_the_spreadsheet_does_and_empty_ones_left_out(tmp_path):
    write_xlsx(tmp_path / "a.xlsx", {"Sheet1": [[""], ["id", "", "x"], ["a", 5, 1], [""], ["b"]]})
    cells = read_cells(tmp_path / "a.xlsx")
    assert list(cells.index) == [3, 5]
    assert list(cells.columns) == ["id", "x"]
    assert cells.loc[5].to_dict() == {"id": "b", "x": ""}


def test_of_several_sheets_the_one_named_metadata_is_read_or_the_visible_one(tmp_path):
    path = tmp_path / "a.xlsx"
    write_xlsx(path, {"Lists": [["x"], [1]], "Metadata": [["id"], ["a"]], "Empty": []})
    assert list(read_cells(path)["id"]) == ["a"]
    write_xlsx(path, {"Lists": [["x"], [1]], "Ratings": [["id"], ["a"]]}, hidden=["Lists"])
    assert list(read_cells(path)["id"]) == ["a"]
    write_xlsx(path, {"one": [["x"], [1]], "two": [["id"], ["a"]]})
    with pytest.raises(
        TableError, match=r"a.xlsx has 2 sheets with cells \(one, two\). Name the one to read 'metadata', or hide"
    ):
        read_cells(path)


def test_merged_cells_are_refused_because_they_would_be_missing_ratings(tmp_path):
    write_xlsx(tmp_path / "a.xlsx", {"S": ROWS}, merged=["B3:B4"])
    with pytest.raises(TableError, match=r"sheet 'S': merged cells \(B3:B4\).* fill in each"):
        read_cells(tmp_path / "a.xlsx")


@pytest.mark.parametrize("content", [b"not a workbook", b"PK\x03\x04 cut off"])
def test_what_is_no_workbook_is_named(tmp_path, content):
    (tmp_path / "a.xlsx").write_bytes(content)
    with pytest.raises(TableError, match=r"a.xlsx cannot be read as a workbook: .* Save the sheet as csv"):
        read_cells(tmp_path / "a.xlsx")


def test_a_workbook_without_cells_is_named(tmp_path):
    write_xlsx(tmp_path / "a.xlsx", {"S": []})
    with pytest.raises(TableError, match="a.xlsx has no sheet with cells"):
        read_cells(tmp_path / "a.xlsx")


def test_without_the_reader_its_install_line_is_named(tmp_path, monkeypatch):
    write_xlsx(tmp_path / "a.xlsx", {"S": ROWS})
    real = builtins.__import__

    def without(name, *arguments, **more):
        if name == "python_calamine":
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(TableError, match=r"pip install 'lalia\[sheets\]', or save the sheet as csv"):
        read_cells(tmp_path / "a.xlsx")
