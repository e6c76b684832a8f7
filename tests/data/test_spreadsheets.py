"""Workbooks give the cells that a csv would hold."""

import builtins
import zipfile

import pytest

from lalia.data.readers import read_cells
from lalia.errors import TableError

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "urn:oasis:names:tc:opendocument:xmlns"
ROWS = [["id", "speaker", "date", "hoarse_r1"], ["007", "NA", 45_321, 1.5], [12, "B", "", 0.1 + 0.2], ["c", "B", "", 4]]


def write_xlsx(path, sheets, merged=(), hidden=()):
    """Write a workbook; a number in a column named date is shown as a date."""
    names = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}" state="{"hidden" if name in hidden else "visible"}"/>'
        for n, name in enumerate(sheets, start=1)
    )
    kinds = f'Type="{REL}/worksheet"'
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="xml" ContentType="application/xml"/>'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            "</Types>",
        )
        file.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="rId1" Type="{REL}/officeDocument"'
            ' Target="xl/workbook.xml"/></Relationships>',
        )
        file.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{REL}"><sheets>{names}</sheets></workbook>'
        )
        links = "".join(
            f'<Relationship Id="rId{n}" {kinds} Target="worksheets/sheet{n}.xml"/>' for n in range(1, len(sheets) + 1)
        )
        styles = f'<Relationship Id="rId99" Type="{REL}/styles" Target="styles.xml"/>'
        file.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{PACKAGE}/relationships">{links}{styles}</Relationships>',
        )
        file.writestr(
            "xl/styles.xml",
            f'<styleSheet xmlns="{MAIN}"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
            "</styleSheet>",
        )
        for n, rows in enumerate(sheets.values(), start=1):
            lines = "".join(f'<row r="{r}">{xlsx_row(r, row, rows[0])}</row>' for r, row in enumerate(rows, start=1))
            cells = "".join(f'<mergeCell ref="{each}"/>' for each in merged)
            joined = f"<mergeCells>{cells}</mergeCells>" if merged else ""
            file.writestr(
                f"xl/worksheets/sheet{n}.xml",
                f'<worksheet xmlns="{MAIN}"><sheetData>{lines}</sheetData>{joined}</worksheet>',
            )


def xlsx_row(number, row, header):
    cells = []
    for place, value in enumerate(row):
        where = f'r="{chr(ord("A") + place)}{number}"'
        if isinstance(value, str) and value:
            cells.append(f'<c {where} t="inlineStr"><is><t>{value}</t></is></c>')
        elif value != "":
            style = ' s="1"' if header[place : place + 1] == ["date"] else ""
            cells.append(f"<c {where}{style}><v>{value!r}</v></c>")
    return "".join(cells)


def write_ods(path, rows):
    def cell(value):
        if isinstance(value, str):
            return f'<table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell>'
        return f'<table:table-cell office:value-type="float" office:value="{value!r}"/>'

    lines = "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows)
    spaces = " ".join(f'xmlns:{each}="{OFFICE}:{each}:1.0"' for each in ("office", "table", "text"))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        file.writestr(
            "META-INF/manifest.xml",
            f'<manifest:manifest xmlns:manifest="{OFFICE}:manifest:1.0"><manifest:file-entry manifest:full-path="/"'
            ' manifest:media-type="application/vnd.oasis.opendocument.spreadsheet"/></manifest:manifest>',
        )
        file.writestr(
            "content.xml",
            f"<office:document-content {spaces}><office:body><office:spreadsheet><table:table table:name='a'>{lines}"
            "</table:table></office:spreadsheet></office:body></office:document-content>",
        )


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
