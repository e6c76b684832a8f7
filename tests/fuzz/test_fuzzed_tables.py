"""Metadata tables of any content: cells stay what they are, or the table is refused with a TableError."""

import csv
import io
import json
import os
from random import Random

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import DAMAGES

from lalia.data.formats.shards import iterate_bytes, read_shard
from lalia.data.readers import read_cells
from lalia.data.table import read_table
from lalia.errors import DataError, TableError
from lalia.settings import DataSettings
from workbooks import write_ods, write_xlsx

FUZZ = int(os.environ.get("LALIA_FUZZ", "0"))
EXAMPLES = max(30, FUZZ // 20)
FUZZED = settings(max_examples=EXAMPLES, deadline=None, derandomize=FUZZ == 0, database=None)
CELLS = st.text(max_size=12) | st.sampled_from(
    [
        "",
        "007",
        "NA",
        "nan",
        "None",
        "1e5",
        "1e400",
        "-0",
        "inf",
        "=1+1",
        "\ufeff",
        "a\nb",
        '"',
        ",",
        ";",
        "\t",
        "１",
        "١",
    ]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("tables")
    (made / "a.wav").write_bytes(b"")
    return made


def written(cells: list[list[str]]) -> bytes:
    memory = io.StringIO(newline="")
    csv.writer(memory).writerows(cells)
    return memory.getvalue().encode("utf-8", "surrogatepass")


def check(path, content: bytes) -> pd.DataFrame | None:
    """Read a table, which holds text alone, or is refused."""
    path.write_bytes(content)
    try:
        cells = read_cells(path)
    except TableError as error:
        assert str(error)
        return None
    assert all(isinstance(cell, str) for column in cells for cell in cells[column])
    return cells


@FUZZED
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_cells_stay_what_they_are(folder, rows):
    cells = check(folder / "a.csv", written([["first", "second"], *map(list, rows)]))
    if cells is not None:
        expected = [tuple(cell.strip() for cell in row) for row in rows]
        assert [tuple(row) for row in cells.to_numpy()] == [row for row in expected if any(row)]


@FUZZED
@given(st.sampled_from(["csv", "tsv", "json", "jsonl", "parquet"]), st.text(max_size=100) | st.binary(max_size=100))
def test_any_content_is_read_or_refused(folder, extension, content):
    check(folder / f"a.{extension}", content if isinstance(content, bytes) else content.encode("utf-8", "replace"))


def whole_workbooks() -> dict[str, bytes]:
    rows = [["recording", "speaker", "hoarse"], ["a", "s1", 1], ["b", "s2", ""]]
    xlsx, ods = io.BytesIO(), io.BytesIO()
    write_xlsx(xlsx, {"Sheet1": rows})
    write_ods(ods, rows)
    return {"xlsx": xlsx.getvalue(), "ods": ods.getvalue()}


def whole_tables() -> dict[str, bytes]:
    rows = [{"recording": "a", "speaker": "s1", "hoarse": 1}, {"recording": "b", "speaker": "s2", "hoarse": None}]
    memory = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows * 50), memory)
    return {
        "csv": written([list(rows[0]), *[[str(cell) for cell in row.values()] for row in rows]]),
        "json": json.dumps(rows).encode(),
        "jsonl": "\n".join(json.dumps(row) for row in rows).encode(),
        "parquet": memory.getvalue(),
        **whole_workbooks(),
    }


TABLES = whole_tables()


@FUZZED
@given(st.sampled_from(sorted(TABLES)), st.integers(0, 2**32))
def test_damaged_tables_are_read_or_refused(folder, extension, seed):
    random = Random(seed)
    check(folder / f"a.{extension}", bytes(random.choice(DAMAGES)(random, bytearray(TABLES[extension]))))


def test_a_parquet_table_whose_text_is_no_utf_8_is_refused(folder):
    with pytest.raises(TableError, match="cannot be read as parquet"):
        damaged = TABLES["parquet"].replace(b"s1", b"\xff1")
        assert damaged != TABLES["parquet"]
        (folder / "a.parquet").write_bytes(damaged)
        read_cells(folder / "a.parquet")


def whole_shards() -> dict[str, bytes]:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    audio = pa.array([{"bytes": b"RIFF" * 9, "path": f"{number}.wav"} for number in range(20)], type=kind)
    table = pa.table({"id": [str(number) for number in range(20)], "audio": audio})
    parquet, arrow = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet)
    with pa.ipc.new_stream(arrow, table.schema) as writer:
        writer.write_table(table)
    return {"parquet": parquet.getvalue(), "arrow": arrow.getvalue()}


SHARDS = whole_shards()


@FUZZED
@given(st.sampled_from(sorted(SHARDS)), st.integers(0, 2**32))
def test_damaged_shards_are_read_or_refused(folder, extension, seed):
    random = Random(seed)
    path = folder / f"shard.{extension}"
    path.write_bytes(bytes(random.choice(DAMAGES)(random, bytearray(SHARDS[extension]))))
    try:
        shard = read_shard(path, path.name, None)
        assert sum(map(len, iterate_bytes(shard))) == shard.rows
    except TableError as error:
        assert str(error)


def test_a_shard_whose_audio_is_damaged_is_named(folder):
    path = folder / "shard.parquet"
    path.write_bytes(SHARDS["parquet"])
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    assert column.path_in_schema == "audio.bytes"
    content = bytearray(SHARDS["parquet"])
    content[column.data_page_offset : column.dictionary_page_offset + column.total_compressed_size] = bytes(110)
    shard = read_shard(path, path.name, None)
    path.write_bytes(content)
    with pytest.raises(TableError, match=r"^shard\.parquet cannot be read as a shard of a data set: "):
        read_shard(path, path.name, None)
    # so is one that is damaged only afterwards
    with pytest.raises(TableError, match=r"^The audio in shard\.parquet cannot be read: "):
        list(iterate_bytes(shard))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@FUZZED
@given(JSON)
def test_any_json_is_read_or_refused(folder, value):
    check(folder / "a.json", json.dumps(value).encode())


IDS = (
    st.sampled_from(["a", "../a", "/a", "C:a", "con", "a\0", "", " ", "..", "a/b", "a" * 300, "\ud800", "é", "=a"])
    | CELLS
)


@FUZZED
@given(
    st.lists(st.tuples(IDS, CELLS, CELLS), min_size=1, max_size=4),
    st.sampled_from(["flat", "structured", "path"]),
    st.sampled_from(["stop", "drop"]),
)
def test_any_table_of_recordings_is_used_or_refused(folder, rows, layout, unreadable):
    (folder / "a.csv").write_bytes(written([["recording", "speaker", "hoarse"], *map(list, rows)]))
    data = DataSettings(metadata=str(folder / "a.csv"), traits=("hoarse",), layout=layout, unreadable=unreadable)
    try:
        table = read_table(data)
    except DataError as error:
        assert str(error)
        return
    ratings = table.ratings["hoarse"].dropna()
    assert ratings.between(1, 4).all()
    for path in table.recordings["path"]:
        assert os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)
