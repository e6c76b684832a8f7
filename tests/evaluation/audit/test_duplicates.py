"""Copies of a recording, found among others without comparing all pairs."""

import time

import numpy as np
import pytest

from lalia.data.fingerprint import fingerprint
from lalia.data.voice import RATE_HZ
from lalia.evaluation.audit.duplicates import find_duplicates
from toy_speech import CHANGES, say

SPEECH = [say(seed) for seed in range(6)]
PRINTS = [fingerprint(waveform, RATE_HZ) for waveform in SPEECH]


def names(count):
    return [f"r{number}" for number in range(count)]


def test_different_recordings_are_no_duplicates():
    assert find_duplicates(names(6), names(6), PRINTS).empty


def test_the_same_bytes_are_one_file():
    found = find_duplicates(["a", "b", "c", "d"], ["x", "y", "x", "x"], [PRINTS[0], PRINTS[1], PRINTS[0], PRINTS[0]])
    assert found[["recording", "other", "kind"]].to_numpy().tolist() == [["a", "c", "file"], ["a", "d", "file"]]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_the_same_sound(change):
    changed, rate_hz = CHANGES[change](SPEECH[2])
    found = find_duplicates(names(7), names(7), [*PRINTS, fingerprint(changed, rate_hz)])
    assert found[["recording", "other", "kind"]].to_numpy().tolist() == [["r2", "r6", "sound"]]
    assert found["differing_bits"].iloc[0] < 0.2


def test_a_copy_with_trimmed_ends_is_found_with_its_shift():
    cut = SPEECH[4][round(0.48 * RATE_HZ) : -round(0.3 * RATE_HZ)]
    found = find_duplicates(names(7), names(7), [*PRINTS, fingerprint(cut, RATE_HZ)])
    assert found[["recording", "other"]].to_numpy().tolist() == [["r4", "r6"]]
    assert found["shift_seconds"].iloc[0] == pytest.approx(0.48)


def test_a_short_common_stretch_is_no_duplicate():
    # the last second of 3 is common: less than half
    mixed = np.concatenate([SPEECH[0][: 2 * RATE_HZ], SPEECH[1][-round(0.9 * RATE_HZ) :]])
    found = find_duplicates(["a", "b"], ["a", "b"], [PRINTS[1], fingerprint(mixed, RATE_HZ)])
    assert found.empty


def test_recordings_without_a_fingerprint_are_passed_over():
    empty = (np.empty(0, np.uint32), np.empty(0, bool))
    assert find_duplicates(["a", "b"], ["a", "b"], [empty, empty]).empty


def test_a_copy_among_ten_thousand_is_found_in_seconds():
    random = np.random.default_rng(0)
    others = [(random.integers(2**32, size=200, dtype=np.uint32), np.ones(200, bool)) for _ in range(10_000)]
    flipped = np.packbits(random.random((200, 32)) < 0.1, axis=1).view(np.uint32).ravel()
    others[9_000] = (others[17][0] ^ flipped, others[17][1])
    begun = time.perf_counter()
    found = find_duplicates(names(10_000), names(10_000), others)
    assert found[["recording", "other"]].to_numpy().tolist() == [["r17", "r9000"]]
    assert time.perf_counter() - begun < 60
