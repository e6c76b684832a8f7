"""One person under two ids: listed by likeness, beside how alike each speaker's own recordings are."""

import time

import numpy as np

from lalia.evaluation.audit.voices import find_like_voices


def voices(speakers=30, per_speaker=4, width=20, spread=0.4, seed=0):
    """Return vectors that keep a speaker's direction and change from recording to recording."""
    random = np.random.default_rng(seed)
    owner = np.repeat(np.arange(speakers), per_speaker)
    own = random.normal(size=(speakers, width))
    return own[owner] + spread * random.normal(size=(len(owner), width)), [f"s{number:02}" for number in owner]


def test_one_person_under_two_ids_comes_first():
    vectors, speakers = voices()
    renamed = ["s99" if number in (2, 3) else name for number, name in enumerate(speakers)]
    found = find_like_voices(vectors, renamed)
    assert found.loc[0, ["speaker", "other"]].tolist() == ["s00", "s99"]
    assert found["similarity"].iloc[0] > found["similarity"].iloc[1] + 0.15
    assert found["more_alike_than_own"].iloc[0] > 0.2


def test_different_people_are_less_alike_than_anyone_is_to_themselves():
    assert (find_like_voices(*voices())["more_alike_than_own"] == 0).all()


def test_what_changes_within_a_speaker_counts_little():
    # a direction of the microphone, far larger than the voice, hides it from a plain cosine
    vectors, speakers = voices(per_speaker=6)
    microphone = 20 * np.random.default_rng(3).normal(size=(len(vectors), 1))
    renamed = ["s99" if number in (3, 4, 5) else name for number, name in enumerate(speakers)]
    found = find_like_voices(np.concatenate([vectors, microphone], axis=1), renamed)
    assert found.loc[0, ["speaker", "other"]].tolist() == ["s00", "s99"]


def test_a_pair_is_listed_once_and_the_most_alike_first():
    found = find_like_voices(*voices(), most=10)
    assert len(found) == 10
    assert (found["speaker"] < found["other"]).all()
    assert found["similarity"].is_monotonic_decreasing


def test_the_blocks_of_many_speakers_make_no_difference(monkeypatch):
    whole = find_like_voices(*voices())
    monkeypatch.setattr("lalia.evaluation.audit.voices._BLOCK", 7)
    assert find_like_voices(*voices())[["speaker", "other"]].equals(whole[["speaker", "other"]])


def test_without_two_recordings_of_anyone_there_is_no_yardstick():
    vectors, _ = voices(per_speaker=1)
    assert find_like_voices(vectors, [f"s{number}" for number in range(30)]).empty


def test_five_thousand_speakers_are_compared_in_seconds():
    vectors, speakers = voices(speakers=5000, per_speaker=2, width=64)
    begun = time.perf_counter()
    assert len(find_like_voices(vectors, speakers)) == 20
    assert time.perf_counter() - begun < 60
