import os
from pathlib import Path

import pandas as pd
import pytest

from lalia.data.layout import AudioFiles, find_audio, find_unnamed
from lalia.data.safe_paths import PlainFiles, why_unsafe
from lalia.settings import DataSettings


def find(folder: Path, *places: str, of: tuple[str, ...] = (), **data: object) -> AudioFiles:
    """Look for the audio of recordings whose ids are their places, in a table that names some more."""
    rows = pd.DataFrame({"recording": places, "path": places}, index=range(2, len(places) + 2))
    return find_audio(rows, [*places, *of], folder, DataSettings.model_validate({"metadata": "m.csv", **data}))


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("data", "file", "place"),
    [
        ({}, "A1.wav", "A1"),
        ({"extension": ".flac"}, "A1.flac", "A1"),
        ({"layout": "structured"}, "A1/waveform.wav", "A1"),
        ({"layout": "path"}, "day 1/A1.mp3", "day 1/A1.mp3"),
        ({"layout": "path"}, "day 1/A1.mp3", "./day 1/A1.mp3"),
    ],
)
def test_each_layout_finds_its_files(tmp_path: Path, data: dict[str, str], file: str, place: str) -> None:
    touch(tmp_path, file)

    assert find(tmp_path, place, **data) == AudioFiles(paths=(str(tmp_path / file),))


@pytest.mark.parametrize(
    ("place", "layout", "why"),
    [
        ("a/b", "flat", "contains a path separator"),
        ("a\\b", "structured", "contains a path separator"),
        ("/etc/passwd", "flat", "is an absolute path"),
        ("..", "flat", "leaves the folder"),
        (".", "structured", "names the folder itself"),
        ("a\0b", "flat", "contains a NUL character"),
        ("C:a", "flat", "is an absolute path"),
        ("/etc/passwd", "path", "is an absolute path"),
        ("\\\\server\\share\\a.wav", "path", "is an absolute path"),
        ("C:\\a.wav", "path", "is an absolute path"),
        ("../a.wav", "path", "leaves the folder"),
        ("a\\..\\..\\b.wav", "path", "leaves the folder"),
        ("a/../../b.wav", "path", "leaves the folder"),
        ("a\0.wav", "path", "contains a NUL character"),
        (".", "path", "names the folder itself"),
        ("CON", "flat", "is the name of a device on Windows"),
        ("nul", "structured", "is the name of a device on Windows"),
        ("day 1/aux.tar.wav", "path", "is the name of a device on Windows"),
        ("com1 .wav", "path", "is the name of a device on Windows"),
        ("LPT³.wav", "path", "is the name of a device on Windows"),
        ("/dev/zero", "path", "is an absolute path"),
        ("//server/share/a.wav", "path", "is an absolute path"),
        ("\\\\.\\pipe\\a", "path", "is an absolute path"),
        ("d:a.wav", "path", "is an absolute path"),
    ],
)
def test_a_place_outside_the_folder_is_refused(place: str, layout: str, why: str) -> None:
    assert why_unsafe(place, layout) == why


@pytest.mark.parametrize("place", ["A.1", "..a", "a..b", "007", "é", "a b", "CON-1", "contr", "com10", "auxiliary"])
def test_an_odd_but_plain_id_is_accepted(place: str) -> None:
    assert why_unsafe(place, "flat") is None


def test_unsafe_ids_are_named_with_their_rows(tmp_path: Path) -> None:
    touch(tmp_path, "A1.wav")

    assert find(tmp_path, "A1", "../x").problems == (
        "recording ids that cannot be names of files: '../x' in row 3 contains a path separator. "
        "Where the column holds paths, set data.layout: path",
    )
    assert find(tmp_path, "../x.wav", layout="path").problems == (
        "paths that do not lie inside data.audio_dir: '../x.wav' in row 2 leaves the folder",
    )


def test_missing_files_are_named_with_what_lies_there_instead(tmp_path: Path) -> None:
    touch(tmp_path, "A1.wav", "A2.WAV")

    (problem,) = find(tmp_path, "A1", "A2").problems

    assert problem == (
        f"1 of 2 recordings have no audio file in '{tmp_path}' ('A2': A2.wav). No row names 'A2.WAV' there. "
        "Check data.audio_dir, data.layout and data.extension, or set data.unreadable: drop"
    )


def test_missing_files_may_be_dropped(tmp_path: Path) -> None:
    touch(tmp_path, "A1.wav")

    found = find(tmp_path, "A1", "A2", unreadable="drop")

    assert (found.missing, found.problems) == ({"A2": "no audio file"}, ())


def test_a_folder_or_a_pipe_is_no_audio_file(tmp_path: Path) -> None:
    (tmp_path / "A1.wav").mkdir()
    os.mkfifo(tmp_path / "A2.wav")

    (tmp_path / "A3.wav").symlink_to("nowhere.wav")
    assert find(tmp_path, "A1", "A2", "A3", "A4", unreadable="drop").missing == {
        "A1": "no audio file but a folder of its name",
        "A2": "no audio file but a pipe or device of its name",
        "A3": "no audio file but a link that leads to none",
        "A4": "no audio file",
    }


def test_an_id_that_is_too_long_for_a_file_is_a_missing_file(tmp_path: Path) -> None:
    assert find(tmp_path, "a" * 300, unreadable="drop").missing == {"a" * 300: "no audio file"}


def test_a_folder_of_controls_may_be_called_con(tmp_path: Path) -> None:
    touch(tmp_path, "con/A1.wav")
    assert not find(tmp_path, "con/A1.wav", layout="path").problems


@pytest.mark.parametrize("layout", ["flat", "structured", "path"])
def test_a_link_that_leaves_the_folder_is_refused_unless_allowed(tmp_path: Path, layout: str) -> None:
    touch(tmp_path, "outside/secret.wav", "outside/b/waveform.wav", "in/a/waveform.wav")
    folder = tmp_path / "in"
    for name, target in (("secret.wav", "../outside/secret.wav"), ("b", "../outside/b"), ("again", "a")):
        (folder / name).symlink_to(target)
    out, inside = {
        "flat": ("secret", None),
        "structured": ("b", "again"),
        "path": ("b/waveform.wav", "again/waveform.wav"),
    }[layout]
    assert find(folder, out, layout=layout).problems == (
        f"paths that do not lie inside data.audio_dir: '{out}' in row 2 leaves the folder by a link. "
        "Where the links are yours, set data.follow_links: true",
    )
    assert not find(folder, out, layout=layout, follow_links=True).problems
    if inside:
        assert not find(folder, inside, layout=layout).problems
    (tmp_path / "link to the folder").symlink_to(folder)
    (folder / "c.wav").touch()
    assert not find(tmp_path / "link to the folder", "c").problems


def test_an_empty_path_is_a_missing_file(tmp_path: Path) -> None:
    assert "('': no path)" in find(tmp_path, "", layout="path").problems[0]


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    assert find(tmp_path / "absent", "A1").problems == (f"data.audio_dir: '{tmp_path / 'absent'}' is not a folder",)


def test_files_that_no_row_names_are_noted(tmp_path: Path) -> None:
    touch(tmp_path, "A1.wav", "A2.wav", "B1.wav", "B2.wav", "B3.wav", "B4.wav", "notes.txt", ".hidden.wav")

    assert find(tmp_path, "A1", of=("A2",)).notes == (
        "recordings in the folder that no row names: 4 (B1.wav, B2.wav, B3.wav and 1 more)",
    )


@pytest.mark.parametrize(
    ("layout", "unnamed"),
    [
        ("flat", ["a.wav", "b.WAV"]),
        ("structured", ["s/waveform.wav"]),
        ("path", ["a.wav", "b.WAV", "c.flac", "s/deep/d.mp3", "s/waveform.wav"]),
    ],
)
def test_each_layout_knows_its_own_files(tmp_path: Path, layout: str, unnamed: list[str]) -> None:
    touch(tmp_path, "a.wav", "b.WAV", "c.flac", "t.txt", "s/waveform.wav", "s/deep/d.mp3", ".h/e.wav", "wav")

    data = DataSettings.model_validate({"metadata": "m.csv", "layout": layout})

    assert find_unnamed(tmp_path, set(), data) == unnamed


@pytest.mark.parametrize(
    ("place", "layout", "why"),
    [
        ("nul.wav", "path", "is the name of a device on Windows"),
        ("day1/COM1", "path", "is the name of a device on Windows"),
        ("aux", "flat", "is the name of a device on Windows"),
        ("nul/a.wav", "path", None),
        ("a/../../b", "path", "leaves the folder"),
        ("a/b", "structured", "contains a path separator"),
        ("a..b/c.wav", "path", None),
        ("-a/_b-1.wav", "path", None),
    ],
)
def test_plain_paths_are_judged_as_all_others(place: str, layout: str, why: str | None) -> None:
    assert why_unsafe(place, layout) == why


def test_plain_files_are_those_that_no_link_leads_to(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "day1/b.wav", "elsewhere/c.wav")
    (tmp_path / "linked.wav").symlink_to(tmp_path / "a.wav")
    (tmp_path / "day2").symlink_to(tmp_path / "day1")
    (tmp_path / "folder.wav").mkdir()
    plain = PlainFiles(tmp_path)

    assert {"a.wav", os.path.join("day1", "b.wav")} == {  # noqa: PTH118
        each
        for each in ("a.wav", "day1/b.wav", "linked.wav", "day2/b.wav", "folder.wav", "no/where.wav", "nowhere.wav")
        if each in plain
    }
    # a link that stays inside is no plain file, and is still found
    assert find(tmp_path, "linked.wav", "day2/b.wav", layout="path").problems == ()


def test_files_that_no_row_names_are_found_in_folders_too(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "day1/deep/b.wav", "day1/c.txt", ".hidden/d.wav")

    data = DataSettings(metadata="m.csv", layout="path")
    assert find_unnamed(tmp_path, {"a.wav"}, data) == [os.path.join("day1", "deep", "b.wav")]  # noqa: PTH118
