"""A final name never holds half a file."""

import json

import pytest

from lalia.files import replacing, replacing_folder, write_json


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "old").write_text("")
    with pytest.raises(RuntimeError), replacing_folder(tmp_path / "f") as temporary:
        (temporary / "half").write_text("")
        raise RuntimeError
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["f", "f/old"]


def test_a_folder_is_replaced_whole(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "old").write_text("")
    with replacing_folder(tmp_path / "f") as temporary:
        (temporary / "new").write_text("")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["f", "f/new"]


def test_json_is_strict(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())
    write_json(tmp_path / "a.json", {"ä": 1})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ä": 1}
