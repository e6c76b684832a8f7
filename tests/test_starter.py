"""A first run.yaml guessed from a table."""

import pytest

from lalia.config import load_config
from lalia.errors import RunError, TableError
from lalia.starter import write_starter

TABLE = """id,speaker,age,task,hoarse_r1,hoarse_r2,slow_r1,slow_r2,duration
007,s1,61,read,1,2,4,1.5,2.31
008,s2,70,talk,3,-1,1,2,4.02
009,s2,70,talk,3,1,1,2,3.14
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "metadata.csv").write_text(TABLE)
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "007.flac").write_bytes(b"")
    return tmp_path


def test_the_guess_is_a_run_that_loads(folder):
    data = load_config(write_starter(folder)).data
    assert data.metadata == str(folder / "metadata.csv")
    assert data.audio_dir == str(folder / "recordings")
    assert (data.layout, data.extension) == ("flat", "flac")
    assert (data.columns.recording, data.columns.speaker, data.columns.task) == ("id", "speaker", "task")
    assert data.traits == ("hoarse", "slow")
    assert data.raters == "{trait}_r{rater}"
    assert data.covariates == ("age",)
    assert data.scale.levels == (1, 2, 3, 4)
    assert data.scale.missing == (-1,)


def test_paths_and_folders_are_recognised(tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "x.mp3").write_bytes(b"")
    (tmp_path / "list.tsv").write_text("path\tsubject\tbreathy\nx.mp3\ts1\t0\ny.mp3\ts2\t2\n")
    data = load_config(write_starter(tmp_path)).data
    assert (data.layout, data.audio_dir) == ("path", str(tmp_path / "clips"))
    assert (data.traits, data.scale.levels, data.scale.present_from) == (("breathy",), (0, 1, 2), 1)


def test_the_lock_of_an_open_spreadsheet_is_no_table(folder):
    (folder / "~$metadata.xlsx").write_bytes(b"")
    assert load_config(write_starter(folder)).data.metadata == str(folder / "metadata.csv")


def test_existing_settings_are_not_replaced_unasked(folder):
    write_starter(folder)
    with pytest.raises(RunError, match=r"run.yaml' exists already\. Give --overwrite"):
        write_starter(folder)
    write_starter(folder, overwrite=True)


def test_a_folder_without_a_table_is_refused(tmp_path):
    with pytest.raises(TableError, match=r"needs one table named metadata.csv .* found no table at all"):
        write_starter(tmp_path)


def test_a_folder_of_another_tool_is_its_own_table(tmp_path):
    (tmp_path / "wav.scp").write_text("u1 u1.wav\nu2 u2.wav\nu3 u3.wav\n")
    (tmp_path / "utt2spk").write_text("u1 a\nu2 b\nu3 b\n")
    (tmp_path / "breathy").write_text("u1 1\nu2 2\nu3 3\n")
    data = load_config(write_starter(tmp_path)).data
    assert data.metadata == data.audio_dir == str(tmp_path)
    assert (data.columns.recording, data.columns.speaker, data.traits) == ("recording", "speaker", ("breathy",))
