"""Folders of other tools that are in a store: the same data as in a folder of this machine."""

import gc

import fsspec
import numpy as np
import pandas as pd
import pytest
import soundfile

from cloud_stores import s3_store
from hub_stand_in import Repository, stand_in, use_endpoint
from lalia.data.copies import open_copies
from lalia.data.formats.recognise import open_source
from lalia.data.inputs import find_recordings
from lalia.data.storage import local_file
from lalia.data.table import read_table
from lalia.errors import TableError
from lalia.prepare import prepare
from lalia.settings import DataSettings
from other_folders import NAMED, WRITERS, write_audiofolder, write_kaldi, write_lines, write_parquet
from toy_run import quick_settings, write_toy_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_toy_corpus(tmp_path_factory.mktemp("plain") / "corpus")


@pytest.fixture(scope="module")
def plain(corpus, tmp_path_factory):
    return prepare(quick_settings(corpus, tmp_path_factory.mktemp("runs")))


def put(folder, url):
    """Put a folder into the store of this process and return its URL."""
    files = fsspec.filesystem("memory")
    for path in folder.rglob("*"):
        if path.is_file():
            files.pipe_file(f"/{url.removeprefix('memory://')}/{path.relative_to(folder)}", path.read_bytes())
    return url


def described(metadata, **more):
    return DataSettings(
        metadata=metadata, traits=("breathy",), raters="{trait}_r{rater}", scale={"missing": [-1]}, **more
    )


def left_over():
    gc.collect()
    return list(open_copies().folder.glob(".folder-*"))


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_in_a_store_holds_the_same_data_as_the_plain_table(corpus, plain, tmp_path, kind):
    url = put(WRITERS[kind](corpus, tmp_path / "data"), f"memory://{kind}")
    named = f"data.columns.recording={NAMED.get(kind, 'id')}"
    other = prepare(quick_settings(corpus, tmp_path / "runs", f"data.metadata={url}", "data.audio_dir=null", named))
    unlike = ["path", "log_mel"]
    assert other.table.recordings.drop(columns=unlike).equals(plain.table.recordings.drop(columns=unlike))
    assert other.data_hash == plain.data_hash
    assert not left_over()


def test_a_folder_in_a_real_store_is_read_and_rated_from_there(corpus, tmp_path):
    with s3_store() as store:
        store.put_folder(write_kaldi(corpus, tmp_path / "data"), "study/train")
        url = store.url("study/train")
        table = read_table(described(url))
        assert list(table.recordings["path"])[:1] == [f"{url}/audio/{table.recordings['recording'][0]}.wav"]
        # what it is shows in its tables: no audio is read for it
        assert store.faults.requests
        assert not [each for each in store.faults.requests if each.endswith(".wav")]
        assert len(find_recordings([url])) == len(table.recordings)
    assert not left_over()


def test_a_data_set_of_the_hub_is_named_by_its_address(corpus, monkeypatch, tmp_path):
    folder = write_parquet(corpus, tmp_path / "data")
    with stand_in() as hub:
        use_endpoint(monkeypatch, hub.endpoint, tmp_path / "hub")
        hub.repositories["lab/corpus"] = Repository()
        hub.add_folder("lab/corpus", folder)
        table = read_table(described("hf://lab/corpus", columns={"recording": "id"}))
        rated = find_recordings(["hf://lab/corpus"])
    assert len(table.recordings) == len(rated) == 16
    for name, path in zip(table.recordings["recording"], table.recordings["path"], strict=True):
        here, there = soundfile.read(corpus / "audio" / f"{name}.wav")[0], soundfile.read(path)[0]
        assert np.array_equal(here, there)


def test_stretches_of_recordings_in_a_store_are_cut_once(tmp_path, monkeypatch):
    ramp = (np.arange(16_000) / 32_000).astype(np.float32)
    folder = tmp_path / "data"
    folder.mkdir()
    soundfile.write(folder / "long.wav", ramp, 16_000, subtype="FLOAT")
    write_lines(folder / "wav.scp", [("r1", "long.wav")])
    write_lines(folder / "segments", [("u1", "r1 0.25 0.5"), ("u2", "r1 0.5 -1")])
    write_lines(folder / "utt2spk", [("u1", "anna"), ("u2", "ben")])
    write_lines(folder / "breathy", [("u1", "1"), ("u2", "3")])
    data = DataSettings(metadata=put(folder, "memory://stretches"), traits=("breathy",))

    paths = list(read_table(data).recordings["path"])
    written = [pd.Timestamp(local_file(path).stat().st_mtime_ns) for path in paths]

    assert np.array_equal(soundfile.read(paths[0], dtype="float32")[0], ramp[4_000:8_000])
    assert np.array_equal(soundfile.read(paths[1], dtype="float32")[0], ramp[8_000:])
    assert list(read_table(data).recordings["path"]) == paths
    assert [pd.Timestamp(local_file(path).stat().st_mtime_ns) for path in paths] == written


def test_recordings_may_lie_elsewhere_than_the_folder(corpus, tmp_path):
    folder = write_audiofolder(corpus, tmp_path / "data")
    url = put(folder, "memory://tables")
    data = described(url, audio_dir=str(folder), columns={"recording": "id"})
    assert all(path.startswith(str(folder)) for path in read_table(data).recordings["path"])


def test_what_is_no_such_folder_is_refused_by_its_address(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("nothing")
    url = put(tmp_path / "a", "memory://nothing-known")
    with pytest.raises(TableError, match=r"'memory://nothing-known' is a folder, but none of these: audformat"):
        open_source(DataSettings(metadata=url))
    with pytest.raises(TableError, match=r"There is no table at 'memory://not-there'"):
        open_source(DataSettings(metadata="memory://not-there"))
    with pytest.raises(TableError, match=r"'memory://nothing-known' has no metadata.csv"):
        open_source(DataSettings(metadata=url, format="audiofolder"))
    assert not left_over()
