"""Data sets of the datasets library, written by it; and by pyarrow where it would write no such thing."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from datasets import Audio, ClassLabel, Dataset

from lalia.data.inputs import find_recordings
from lalia.data.table import read_table
from lalia.data.user_cache import clear_cache, measure_cache, user_cache
from lalia.errors import TableError
from lalia.settings import DataSettings

ROWS = {"speaker": ["anna", "anna", "ben"], "breathy": [1, 2, None], "group": [0, 1, -1], "notes": [[1], [], [2]]}


@pytest.fixture
def files(tmp_path):
    (tmp_path / "audio").mkdir()
    paths = []
    for number in range(3):
        paths.append(tmp_path / "audio" / f"r{number}.flac")
        soundfile.write(paths[-1], np.full(1_600, 0.1 * number), 16_000)
    return paths


def make(files):
    rows = Dataset.from_dict({**ROWS, "clip": [str(path) for path in files]})
    return rows.cast_column("clip", Audio()).cast_column("group", ClassLabel(names=["well", "ill"]))


def settings(folder, **more):
    return DataSettings(metadata=str(folder), **{"traits": ["breathy"], **more})


def test_audio_inside_the_shards_is_that_of_the_files(files, tmp_path):
    make(files).save_to_disk(tmp_path / "set")
    table = read_table(settings(tmp_path / "set", covariates=["group"]))
    assert list(table.recordings["recording"]) == ["r0.flac", "r1.flac", "r2.flac"]
    assert list(table.recordings["group"]) == ["well", "ill", None]
    assert table.ratings["breathy"].fillna(0).tolist() == [1, 2, 0]
    for path, file in zip(table.recordings["path"], files, strict=True):
        assert Path(path).read_bytes() == file.read_bytes()
        assert path.startswith(str(user_cache("audio")))
        assert path.endswith(".flac")


def test_copies_are_counted_and_cleared(files, tmp_path):
    clear_cache("audio")
    make(files).save_to_disk(tmp_path / "set")
    read_table(settings(tmp_path / "set"))
    assert measure_cache("audio") == (3, sum(file.stat().st_size for file in files))
    clear_cache("audio")
    assert measure_cache("audio") == (0, 0)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_copies_of_voices_are_closed_to_other_users(files, tmp_path):
    make(files).save_to_disk(tmp_path / "set")
    path = read_table(settings(tmp_path / "set")).recordings["path"][0]
    assert stat.S_IMODE(user_cache("audio").stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_only_recordings_that_are_kept_are_copied_and_once(files, tmp_path):
    make(files).save_to_disk(tmp_path / "set")
    paths = read_table(settings(tmp_path / "set", exclude=["r0.flac"])).recordings["path"]
    written = [Path(path).stat().st_mtime_ns for path in paths]
    assert len(paths) == 2
    read_table(settings(tmp_path / "set"))
    assert [Path(path).stat().st_mtime_ns for path in paths] == written


def test_audio_may_lie_beside_the_shards(files, tmp_path):
    table = pa.table(
        {
            "speaker": ["anna", "ben"],
            "breathy": [1, 2],
            "audio": [{"bytes": None, "path": f"r{n}.flac"} for n in (0, 1)],
        },
        schema=pa.schema(
            [
                ("speaker", pa.string()),
                ("breathy", pa.int64()),
                ("audio", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ]
        ),
    )
    pq.write_table(table, tmp_path / "audio" / "train-00000-of-00001.parquet")
    found = read_table(settings(tmp_path / "audio", audio_dir=str(tmp_path / "audio")))
    assert list(found.recordings["path"]) == [str(files[0]), str(files[1])]
    outside = table.set_column(
        2, "audio", pa.array([{"bytes": None, "path": "/etc/passwd"}] * 2, table.schema.field("audio").type)
    )
    pq.write_table(outside, tmp_path / "audio" / "train-00000-of-00001.parquet")
    with pytest.raises(TableError, match=r"names '/etc/passwd', which is not in"):
        read_table(settings(tmp_path / "audio"))


def test_the_split_of_each_row_is_a_column(files, tmp_path):
    (tmp_path / "set" / "data").mkdir(parents=True)
    for number, part in enumerate(["train", "train", "test"]):
        one = make(files).select([number])
        one.save_to_disk(tmp_path / "one")
        table = pa.ipc.open_stream(pa.memory_map(str(tmp_path / "one" / "data-00000-of-00001.arrow"))).read_all()
        pq.write_table(table, tmp_path / "set" / "data" / f"{part}-{number:05d}-of-00003.parquet")
    table = read_table(settings(tmp_path / "set"), part_column="split")
    assert dict(zip(table.recordings["recording"], table.recordings["given_part"], strict=True)) == {
        "r0.flac": "train",
        "r1.flac": "train",
        "r2.flac": "test",
    }


def test_of_two_columns_of_audio_one_has_to_be_named(files, tmp_path):
    rows = make(files)
    rows.add_column("again", rows.with_format("arrow")["clip"].to_pylist()).cast_column("again", Audio()).save_to_disk(
        tmp_path / "set"
    )
    with pytest.raises(TableError, match=r"has 2 columns of audio \(clip, again\). Name one in data.columns.path"):
        read_table(settings(tmp_path / "set"))
    assert len(read_table(settings(tmp_path / "set", columns={"path": "again"})).recordings) == 3


def test_a_data_set_without_audio_is_refused(tmp_path):
    Dataset.from_dict({"speaker": ["a"], "audi": ["x"]}).save_to_disk(tmp_path / "set")
    with pytest.raises(TableError, match=r"data-00000-of-00001.arrow has no column of audio. Did you mean 'audi'"):
        read_table(settings(tmp_path / "set"))


def test_shards_named_outside_the_folder_are_refused(files, tmp_path):
    make(files).save_to_disk(tmp_path / "set")
    (tmp_path / "set" / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../../x.arrow"}]}))
    with pytest.raises(TableError, match="state.json does not list the data files"):
        read_table(settings(tmp_path / "set"))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_shard_is_named(files, tmp_path, damage):
    make(files).save_to_disk(tmp_path / "set")
    path = tmp_path / "set" / "data-00000-of-00001.arrow"
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[40:80] = b"\xff" * 40
    path.write_bytes({"cut": content[: len(content) // 2], "flipped": content, "empty": b""}[damage])
    with pytest.raises(TableError, match=r"data-00000-of-00001.arrow cannot be read as a shard"):
        read_table(settings(tmp_path / "set"))


def test_new_recordings_to_rate_may_come_as_a_data_set(files, tmp_path):
    make(files).save_to_disk(tmp_path / "set")
    assert list(find_recordings([tmp_path / "set"])["recording"]) == ["r0.flac", "r1.flac", "r2.flac"]
