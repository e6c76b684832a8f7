"""Audiofolders: metadata beside the audio."""

import json

import pytest

from lalia.data.table import read_table
from lalia.errors import TableError
from lalia.settings import DataSettings


def settings(folder, **more):
    return DataSettings(metadata=str(folder), **{"traits": ["breathy"], **more})


def write(folder, *names, form="csv"):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"file_name": name, "speaker": name[0], "breathy": 1 + place} for place, name in enumerate(names)]
    for name in names:
        (folder / name).touch()
    if form == "csv":
        text = "\n".join(["file_name,speaker,breathy", *(",".join(map(str, row.values())) for row in rows)])
    else:
        text = "\n".join(map(json.dumps, rows))
    (folder / f"metadata.{form}").write_text(text)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_recordings_are_called_as_their_files(tmp_path, form):
    write(tmp_path, "a1.wav", "b1.mp3", form=form)
    table = read_table(settings(tmp_path))
    assert list(table.recordings["recording"]) == ["a1.wav", "b1.mp3"]
    assert list(table.recordings["path"]) == [str(tmp_path / "a1.wav"), str(tmp_path / "b1.mp3")]
    assert table.ratings["breathy"].tolist() == [1, 2]


def test_folders_of_parts_become_a_column(tmp_path):
    write(tmp_path / "train", "a1.wav", "b1.wav")
    write(tmp_path / "test", "c1.wav")
    table = read_table(settings(tmp_path), part_column="split")
    assert list(table.recordings["recording"]) == ["test/c1.wav", "train/a1.wav", "train/b1.wav"]
    assert list(table.recordings["given_part"]) == ["test", "train", "train"]


def test_files_that_no_row_names_are_noted(tmp_path):
    write(tmp_path, "a1.wav")
    (tmp_path / "b1.wav").touch()
    assert "recordings in the folder that no row names: 1 (b1.wav)" in read_table(settings(tmp_path)).flow.notes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "metadata.csv").write_text("file,speaker\na,b\n"), "no column 'file_name'"),
        (lambda folder: write(folder, "a1.wav", form="jsonl"), "two metadata files side by side"),
        (lambda folder: (folder / "metadata.csv").write_text("file_name,speaker,breathy\n../x,b,1\n"), "do not lie in"),
    ],
)
def test_metadata_that_are_none_are_refused(tmp_path, change, message):
    write(tmp_path, "a1.wav")
    change(tmp_path)
    with pytest.raises(TableError, match=message):
        read_table(settings(tmp_path))
