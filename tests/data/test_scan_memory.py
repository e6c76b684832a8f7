"""What was measured of recordings is kept as long as their files stay what they are."""

import os
import time

import pandas as pd
import pytest

from lalia.data.scan_memory import SETTLED_SECONDS, ScanMemory

LATER = time.time() + 3_600
"""A scan that begins so much after the files were written that they have settled."""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "audio").mkdir()
    paths = [tmp_path / "audio" / f"{name}.wav" for name in "abc"]
    for path in paths:
        path.write_bytes(b"sound")
    return [str(path) for path in paths]


def measured(*seconds):
    return pd.DataFrame({"duration_seconds": seconds, "problem": ["" if each else "is broken" for each in seconds]})


def keep(memory, paths, *seconds, begun=LATER):
    identities, _ = memory.recall(paths)
    memory.keep(identities, measured(*seconds), begun)


def known(memory, paths):
    _, found = memory.recall(paths)
    return found.get("duration_seconds", pd.Series(dtype=float)).to_dict()


def test_what_was_kept_comes_back_under_the_places_of_the_paths(files, tmp_path):
    memory = ScanMemory({"rate_hz": 16_000}, tmp_path)
    keep(memory, files, 1.5, 2.5, 3.5)
    assert known(memory, files) == {0: 1.5, 1: 2.5, 2: 3.5}
    assert known(memory, [files[2], f"{files[0]}.gone", files[1]]) == {0: 3.5, 2: 2.5}
    keep(memory, files[:1], 9.0)
    assert known(memory, files) == {0: 9.0, 1: 2.5, 2: 3.5}


def test_a_file_that_has_changed_is_not_known_even_with_its_old_size_and_date(files, tmp_path):
    memory = ScanMemory({}, tmp_path)
    keep(memory, files, 1.5, 2.5, 3.5)
    before = os.stat(files[1])  # noqa: PTH116
    time.sleep(0.02)
    with open(files[1], "r+b") as file:  # noqa: PTH123
        file.write(b"noise")
    os.utime(files[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert known(memory, files) == {0: 1.5, 2: 3.5}


def test_a_file_that_another_takes_the_place_of_is_not_known(files, tmp_path):
    memory = ScanMemory({}, tmp_path)
    keep(memory, files, 1.5, 2.5, 3.5)
    os.replace(files[0], files[1])  # noqa: PTH105
    assert known(memory, files) == {2: 3.5}


def test_files_that_may_still_be_written_are_not_kept(files, tmp_path):
    memory = ScanMemory({}, tmp_path)
    keep(memory, files, 1.5, 2.5, 3.5, begun=time.time() + SETTLED_SECONDS / 2)
    assert known(memory, files) == {}


def test_what_had_a_problem_is_read_again(files, tmp_path):
    memory = ScanMemory({}, tmp_path)
    keep(memory, files, 1.5, None, 3.5)
    assert known(memory, files) == {0: 1.5, 2: 3.5}


def test_other_preprocessing_knows_nothing_of_it(files, tmp_path):
    keep(ScanMemory({"rate_hz": 16_000}, tmp_path), files, 1.5, 2.5, 3.5)
    assert known(ScanMemory({"rate_hz": 8_000}, tmp_path), files) == {}


def test_it_holds_no_paths(files, tmp_path):
    memory = ScanMemory({}, tmp_path / "kept")
    keep(memory, files, 1.5, 2.5, 3.5)
    assert b"audio" not in memory.path.read_bytes()
    assert os.name == "nt" or memory.path.parent.stat().st_mode & 0o077 == 0


def test_a_damaged_memory_is_as_none(files, tmp_path):
    memory = ScanMemory({}, tmp_path)
    keep(memory, files, 1.5, 2.5, 3.5)
    memory.path.write_bytes(memory.path.read_bytes()[:-40])
    assert known(memory, files) == {}
    keep(memory, files, 1.5, 2.5, 3.5)
    assert known(memory, files) == {0: 1.5, 1: 2.5, 2: 3.5}
