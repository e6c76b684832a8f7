"""The identity confound: what a split of recordings gains by knowing the speakers."""

from dataclasses import replace

import numpy as np
import pytest

from lalia.evaluation.audit.identity import _deal_within, measure_identity_confound
from toy_audit import make_table


def vectors_of(table, speaker=0.0, trait=0.0, width=30, seed=0):
    """Return noise with so much of the speaker's own direction and so much of presence in it."""
    random = np.random.default_rng(seed)
    owner = np.unique(table.recordings["speaker"], return_inverse=True)[1]
    own = random.normal(size=(owner.max() + 1, width))[owner]
    present = (table.ratings["slow"].to_numpy() >= 2)[:, np.newaxis] - 0.75
    return random.normal(size=own.shape) + speaker * own + trait * present * np.eye(width)[0]


def measure(table, vectors):
    return measure_identity_confound(vectors, table, "slow", permutations=40, replicates=100)


def test_vectors_of_the_speaker_alone_flatter_a_split_of_recordings():
    table = make_table(per_speaker=4)
    found = measure(table, vectors_of(table, speaker=3.0))
    assert found.by_recording.value > 0.8
    assert found.by_speaker.value == pytest.approx(0.5, abs=0.15)
    assert found.inflation.value > 0.25
    assert found.to_json()["inflation"]["low"] > 0.1
    assert found.permuted.mean() > 0.75


def test_vectors_without_the_speaker_flatter_nothing():
    table = make_table(per_speaker=4)
    found = measure(table, vectors_of(table, trait=3.0))
    assert found.by_speaker.value > 0.9
    assert found.inflation.value == pytest.approx(0, abs=0.05)
    assert found.permuted.mean() == pytest.approx(0.5, abs=0.04)


def test_every_speaker_has_recordings_in_both_halves():
    owner = np.repeat(np.arange(20), 3)
    half = _deal_within(owner, np.random.default_rng(0))
    assert all(set(half[owner == speaker]) == {0, 1} for speaker in range(20))
    assert abs(half.mean() - 0.5) < 0.2


def test_the_difference_is_that_of_the_two_numbers_in_every_replicate():
    table = make_table(per_speaker=4)
    found = measure(table, vectors_of(table, speaker=1.0))
    assert found.inflation.value == found.by_recording.value - found.by_speaker.value
    assert np.allclose(found.inflation.replicates, found.by_recording.replicates - found.by_speaker.replicates)


def test_recordings_of_speakers_with_one_each_cannot_show_it():
    table = make_table(per_speaker=1)
    assert measure(table, vectors_of(table)) == "fewer than 4 speakers have two rated recordings"


def test_a_trait_that_all_have_cannot_show_it():
    table = make_table()
    everyone = replace(table, ratings=table.ratings.assign(slow=4.0))
    assert measure(everyone, vectors_of(table)) == "fewer than 2 speakers have the trait, or lack it"


def test_of_very_many_recordings_some_whole_speakers_are_taken():
    table = make_table(speakers=1500, per_speaker=2)
    assert measure(table, vectors_of(table, width=5)).recordings == 2000
