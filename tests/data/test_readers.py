import codecs
from pathlib import Path

import pandas as pd
import pytest

from lalia.data.readers import read_cells
from lalia.errors import TableError


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder: Path, name: str, content: str | bytes) -> dict[str, list[str]]:
    return read_cells(write(folder, name, content)).to_dict("list")


IDS = ["007", "NA", "None", "nan", "1e5", "null", "N/A", "TRUE", "1.0", "-inf"]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.json", "t.jsonl", "t.parquet"])
def test_ids_that_look_like_something_else_stay_text(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"id": IDS, "other": "x"}, dtype=object)
    path = tmp_path / name
    if name == "t.json":
        frame.to_json(path, orient="records")
    elif name == "t.jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif name == "t.parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if name == "t.tsv" else ",")

    assert list(read_cells(path)["id"]) == IDS


@pytest.mark.parametrize(
    "content",
    [
        b"id,age\nA,1\nB,\n",
        b"id,age\r\nA,1\r\nB,\r\n",
        b"id,age\rA,1\rB,\r",
        b"id;age\nA;1\nB;\n",
        b"id\tage\nA\t1\nB\t\n",
        codecs.BOM_UTF8 + b"id,age\nA,1\nB,",
        "\ufeffid;age\r\nA;1\r\nB;\r\n".encode("utf-16-le"),
        "\ufeffid,age\nA,1\nB,\n".encode("utf-16-be"),
        b'"id","age"\n"A","1"\n"B",""\n',
        b" id , age \n A , 1 \nB,  \n",
        b"id,age\nA,1\n\nB,\n,\n",
        b",id,age\n0,A,1\n1,B,\n",
    ],
    ids=[
        "lf",
        "crlf",
        "cr",
        "semicolon",
        "tab",
        "bom",
        "utf16le",
        "utf16be",
        "quoted",
        "spaces",
        "blank-rows",
        "unnamed-column",
    ],
)
def test_the_same_table_is_read_from_each_way_of_writing_it(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, "t.csv", content) == {"id": ["A", "B"], "age": ["1", ""]}


def test_rows_are_counted_as_a_spreadsheet_counts_them(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", 'id,text\nA,"two\nlines"\n\nB,one\n')

    cells = read_cells(path)

    assert list(cells.index) == [2, 4]
    assert list(cells["text"]) == ["two\nlines", "one"]


def test_a_tsv_keeps_its_commas(tmp_path: Path) -> None:
    assert read(tmp_path, "t.tsv", "id\ttext, or so\nA\t1,5\n") == {"id": ["A"], "text, or so": ["1,5"]}


def test_a_table_of_one_column_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, "t.csv", "path\na.wav\n") == {"path": ["a.wav"]}


@pytest.mark.parametrize(
    "content",
    [
        '[{"id": 7, "age": 1e5, "old": true}, {"id": "B", "age": 0.10, "old": null}]',
        '{"id": [7, "B"], "age": [1e5, 0.10], "old": [true, NaN]}',
        '{"id": {"0": 7, "1": "B"}, "age": {"0": 1e5, "1": 0.10}, "old": {"0": true}}',
    ],
    ids=["records", "lists", "mappings"],
)
def test_json_numbers_keep_their_digits(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, "t.json", content) == {"id": ["7", "B"], "age": ["1e5", "0.10"], "old": ["true", ""]}


def test_json_records_may_leave_keys_out(tmp_path: Path) -> None:
    assert read(tmp_path, "t.jsonl", '{"id": "A"}\n\n{"id": "B", "age": 3}\n') == {"id": ["A", "B"], "age": ["", "3"]}


def test_parquet_types_become_plain_text(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [7, 8], "rating": [9.0, None], "day": pd.to_datetime(["2020-01-31", "2021-02-01"])})
    frame["kind"] = pd.Categorical(["a", "b"])
    frame.to_parquet(tmp_path / "t.parquet")

    assert read_cells(tmp_path / "t.parquet").to_dict("list") == {
        "id": ["7", "8"],
        "rating": ["9", ""],
        "day": ["2020-01-31", "2021-02-01"],
        "kind": ["a", "b"],
    }


def test_a_time_of_day_in_parquet_is_kept(tmp_path: Path) -> None:
    pd.DataFrame({"at": pd.to_datetime(["2020-01-31 10:30"])}).to_parquet(tmp_path / "t.parquet")

    assert read_cells(tmp_path / "t.parquet").loc[2, "at"].startswith("2020-01-31 10:30")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", r"^t\.csv is empty\.$"),
        ("t.csv", codecs.BOM_UTF8 + b" \n", r"^t\.csv is empty\.$"),
        ("t.csv", "id,age\n", r"^t\.csv has no rows\.$"),
        ("t.json", "[]", r"^t\.json has no rows\.$"),
        ("t.csv", "id,age\nA,caf\xe9".encode("latin-1"), r"not UTF-8 text \(byte 13\)\. Save it as UTF-8"),
        ("t.csv", "id,age\nA,1\n".encode("utf-16-le"), "contains NUL characters. Save it as UTF-8"),
        ("t.csv", codecs.BOM_UTF16_LE + b"\x00", "not UTF-8 text"),
        ("t.csv", "id,age,id\nA,1,B\n", "'id' names more than one column"),
        ("t.csv", "id,age\nA,1\nB\nC,1,2\n", r"header has 2 cells, 2 rows have not \(row 3: 1, row 4: 3\).*a comma"),
        ("t.csv", 'id,age\nA,"1\nB,2\n', "row 2: a quoted cell is not closed"),
        (
            "t.docx",
            "id",
            "the extension '.docx' is not that of a table. Use one of csv, tsv, json, jsonl, parquet, xlsx",
        ),
        ("t.json", "[1, 2", r"t\.json is not valid JSON"),
        ("t.json", "[" * 100_000, r"t\.json is nested too deeply"),
        ("t.json", '"A"', "must hold a list of records, or a list per column"),
        ("t.json", "[1]", r"record 1 must be a record such as \{'id': 'A1'\}, got '1'"),
        ("t.json", '[{"id": ["A"]}]', r"a cell must hold text or a number, got \['A'\]"),
        ("t.json", '[{"id": "A", "id": "B"}]', "'id' stands twice in one record"),
        ("t.jsonl", '{"id": 1}\n{"id": \n', r"t\.jsonl, record 2 is not valid JSON"),
        ("t.parquet", "junk", r"t\.parquet cannot be read as parquet"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read(tmp_path, name, content)


def test_a_parquet_column_of_lists_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"id": ["A"], "vector": [[1.0, 2.0]]}).to_parquet(tmp_path / "t.parquet")

    with pytest.raises(TableError, match="a column holds lists or records"):
        read_cells(tmp_path / "t.parquet")


def test_an_absent_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"Cannot read the table '.*absent\.csv': No such file"):
        read_cells(tmp_path / "absent.csv")


def test_a_table_of_delimiters_alone_has_no_rows(tmp_path):
    (tmp_path / "a.csv").write_text(";")
    with pytest.raises(TableError, match=r"a.csv has no rows"):
        read_cells(tmp_path / "a.csv")
