"""Data folders of Kaldi, written by hand in its layout."""

import numpy as np
import pytest
import soundfile

from lalia.data.inputs import find_recordings
from lalia.data.table import read_table
from lalia.errors import TableError
from lalia.settings import DataSettings

RAMP = (np.arange(16_000) / 32_000).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    soundfile.write(tmp_path / "long.wav", RAMP, 16_000)
    soundfile.write(tmp_path / "other.wav", RAMP[::-1], 16_000)
    (tmp_path / "wav.scp").write_text("u1 long.wav\nu2 other.wav\n")
    (tmp_path / "utt2spk").write_text("u1 anna\nu2 ben\n")
    (tmp_path / "spk2utt").write_text("anna u1\nben u2\n")
    (tmp_path / "spk2gender").write_text("anna f\nben m\n")
    (tmp_path / "text").write_text("u1 the north wind\nu2 and the sun\n")
    (tmp_path / "breathy").write_text("u1 2\nu2 3\n")
    (tmp_path / "utt2hoarse").write_text("u2 4\n")
    (tmp_path / "README").write_text("not about utterances\n")
    return tmp_path


def settings(folder, **more):
    return DataSettings(metadata=str(folder), **{"traits": ["breathy", "hoarse"], **more})


def test_each_file_of_the_folder_is_a_column(folder):
    table = read_table(settings(folder, covariates=["gender", "text"]))
    assert table.recordings.drop(columns=["date", "task"]).to_dict("list") == {
        "recording": ["u1", "u2"],
        "speaker": ["anna", "ben"],
        "path": [str(folder / "long.wav"), str(folder / "other.wav")],
        "gender": ["f", "m"],
        "text": ["the north wind", "and the sun"],
    }
    assert table.ratings.fillna(0).to_numpy().tolist() == [[2, 0], [3, 4]]


def test_no_command_is_run_and_its_line_is_named(folder):
    (folder / "wav.scp").write_text(f"u1 long.wav\nu2 touch {folder}/ran; cat other.wav |\n")
    with pytest.raises(TableError, match=r"wav.scp, line 2: 'u2' is a command \(touch .*lalia runs none"):
        read_table(settings(folder))
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("place", ["wav.ark:17", "-"])
def test_what_lies_in_an_archive_is_refused(folder, place):
    (folder / "wav.scp").write_text(f"u1 {place}\n")
    with pytest.raises(TableError, match="lies in an archive or a pipe"):
        read_table(settings(folder))


def test_absolute_paths_must_lie_in_the_folder_of_the_recordings(folder, tmp_path_factory):
    (folder / "wav.scp").write_text(f"u1 {folder}/long.wav\nu2 other.wav\n")
    assert len(read_table(settings(folder)).recordings) == 2
    elsewhere = tmp_path_factory.mktemp("audio")
    (folder / "wav.scp").write_text(f"u1 {elsewhere}/a.wav\n")
    with pytest.raises(TableError, match=r"wav.scp, line 1 names .*a.wav'.* Set data.audio_dir to the folder"):
        read_table(settings(folder))
    (folder / "wav.scp").write_text("u1 ../a.wav\n")
    with pytest.raises(TableError, match=r"paths that do not lie inside data.audio_dir: '\.\./a\.wav' in row 2"):
        read_table(settings(folder))


def test_an_utterance_without_a_speaker_is_named(folder):
    (folder / "utt2spk").write_text("u1 anna\n")
    with pytest.raises(TableError, match="utt2spk lacks 1 utterances of the folder: u2"):
        read_table(settings(folder))


def test_a_key_that_stands_twice_is_named(folder):
    (folder / "wav.scp").write_text("u1 long.wav\nu1 other.wav\n")
    with pytest.raises(TableError, match="wav.scp: two lines begin with 'u1'"):
        read_table(settings(folder))


def test_two_files_of_one_thing_are_refused(folder):
    (folder / "utt2breathy").write_text("u1 1\n")
    with pytest.raises(TableError, match="two files are of 'breathy'"):
        read_table(settings(folder))


# --- segments ---------------------------------------------------------------------------------------------------------


def cut(folder, lines, **more):
    (folder / "segments").write_text(lines)
    return read_table(settings(folder, **more))


def test_segments_are_the_samples_that_they_name(folder):
    table = cut(folder, "u1 u1 0.25 0.5\nu2 u2 0.5 -1\n")
    for path, expected in zip(table.recordings["path"], (RAMP[4_000:8_000], RAMP[::-1][8_000:]), strict=True):
        samples, rate_hz = soundfile.read(path, dtype="float32")
        whole, _ = soundfile.read(folder / "long.wav", dtype="float32")
        assert rate_hz == 16_000
        assert np.abs(samples - expected).max() <= 2**-15
        assert set(samples) <= set(whole)  # nothing is rounded again
    assert list(table.recordings["speaker"]) == ["anna", "ben"]


def test_segments_are_cut_again_only_where_the_recording_has_changed(folder):
    first = cut(folder, "u1 u1 0.25 0.5\nu2 u2 0 0.5\n").recordings["path"].tolist()
    assert read_table(settings(folder)).recordings["path"].tolist() == first
    soundfile.write(folder / "long.wav", RAMP / 2, 16_000)
    again = read_table(settings(folder)).recordings["path"].tolist()
    assert again[0] != first[0]
    assert again[1] == first[1]


def test_a_segment_beyond_its_recording_is_named_and_can_be_dropped(folder):
    lines = "u1 u1 0.25 0.5\nu2 u2 0.5 7\n"
    with pytest.raises(TableError, match=r"1 of 2 segments cannot be cut \('u2' ends at 7.00 s, its recording at 1.00"):
        cut(folder, lines)
    table = cut(folder, lines, unreadable="drop")
    assert list(table.recordings["recording"]) == ["u1"]
    assert table.flow.dropped[0].reason == "ends at 7.00 s, its recording at 1.00 s"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("u1 nowhere 0 1", "'nowhere' is not in wav.scp"),
        ("u1 u1 1 0.5", "'u1' goes from 1 s to 0.5 s"),
        ("u1 u1 nan 0.5", "'u1' goes from nan s"),
        ("u1 u1 0", "expected an utterance, a recording, start and end in seconds"),
    ],
)
def test_a_segment_that_is_none_is_refused(folder, line, message):
    with pytest.raises(TableError, match=f"segments, line 1: {message}"):
        cut(folder, f"{line}\n")


def test_new_recordings_to_rate_may_come_as_a_data_folder(folder):
    (folder / "segments").write_text("part1 u1 0 0.5\npart2 u1 0.5 1\n")
    (folder / "utt2spk").unlink()
    found = find_recordings([folder])
    assert list(found["recording"]) == ["part1", "part2"]
    assert soundfile.info(found["path"][1]).frames == 8_000
