"""Which recordings files, folders and tables name."""

import os
import sys

import pytest

from lalia.data.inputs import find_recordings
from lalia.errors import TableError


@pytest.fixture
def folder(tmp_path):
    for name in ("a.wav", "deeper/b.FLAC", "deeper/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_a_folder_is_searched_with_its_subfolders_for_audio(folder):
    found = find_recordings([folder])
    assert list(found["recording"]) == ["a.wav", "deeper/b.FLAC"]
    assert list(found["path"]) == [str(folder / "a.wav"), str(folder / "deeper/b.FLAC")]


def test_a_file_is_named_by_its_file_name(folder):
    assert list(find_recordings([folder / "a.wav"])["recording"]) == ["a.wav"]


def test_paths_in_a_table_are_relative_to_it(folder):
    (folder / "list.csv").write_text("n,file\n1,a.wav\n2,deeper/b.FLAC\n")
    found = find_recordings([folder / "list.csv"])
    assert list(found["recording"]) == ["a.wav", "deeper/b.FLAC"]
    assert found["path"].iloc[1] == str(folder / "deeper/b.FLAC")


@pytest.mark.parametrize("path", ["/etc/passwd", "../a.wav", "C:\\a.wav", "nul.wav", "\\\\server\\a.wav"])
def test_a_table_names_no_file_outside_its_folder(folder, path):
    (folder / "list.csv").write_text(f"file\n{path}\n")
    with pytest.raises(TableError, match=r"list.csv: paths that do not lie inside its folder: '.*Give these files"):
        find_recordings([folder / "list.csv"])


def test_the_column_of_paths_can_be_named(folder):
    (folder / "list.csv").write_text("wo,file\na.wav,x\n")
    assert list(find_recordings([folder / "list.csv"], path_column="wo")["recording"]) == ["a.wav"]


def test_a_table_without_such_a_column_is_refused(folder):
    (folder / "list.csv").write_text("files\na.wav\n")
    with pytest.raises(TableError, match=r"list.csv has no column 'wavs'.*Name the column of paths with --column"):
        find_recordings([folder / "list.csv"], path_column="wavs")


def test_a_folder_without_audio_is_refused(tmp_path):
    with pytest.raises(TableError, match="holds no audio file"):
        find_recordings([tmp_path])


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(TableError, match=r"There is no file or folder '.*nowhere'"):
        find_recordings([tmp_path / "nowhere"])


def test_two_recordings_of_one_name_are_refused(folder):
    (folder / "deeper" / "a.wav").write_bytes(b"")
    with pytest.raises(TableError, match=r"Two recordings have the same name: a.wav"):
        find_recordings([folder / "a.wav", folder / "deeper" / "a.wav"])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_file_name_that_is_no_text_is_refused(folder):
    (folder / os.fsdecode(b"caf\xe9.wav")).write_bytes(b"")
    with pytest.raises(TableError, match=r"File names that are no UTF-8 text: caf\\udce9.wav. Rename them"):
        find_recordings([folder])
