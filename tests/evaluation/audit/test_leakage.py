"""Speakers and sounds in two parts."""

import pandas as pd

from lalia.evaluation.audit.leakage import find_shared_speakers, place_duplicates

PARTS = pd.DataFrame(
    {
        "recording": ["1", "2", "3", "4"],
        "speaker": ["a", "a", "b", "c"],
        "part": ["train", "test", "train", "train"],
    }
)


def test_a_speaker_in_two_parts_is_named_with_them():
    assert find_shared_speakers(PARTS).to_numpy().tolist() == [["a", "train and test", 2]]


def test_whole_speakers_are_no_leak():
    assert find_shared_speakers(PARTS.iloc[1:]).empty


def test_duplicates_are_placed_by_speaker_and_part():
    pairs = pd.DataFrame({"recording": ["1", "1", "3"], "other": ["2", "3", "4"], "kind": "sound"})
    placed = place_duplicates(pairs, PARTS)
    assert placed["is_across_speakers"].tolist() == [False, True, True]
    assert placed["is_across_parts"].tolist() == [True, False, False]
    assert placed.loc[1, ["speaker", "other_speaker", "part", "other_part"]].tolist() == ["a", "b", "train", "train"]


def test_no_duplicates_have_the_same_columns():
    nothing = pd.DataFrame({"recording": [], "other": [], "kind": []}, dtype=str)
    assert list(place_duplicates(nothing, PARTS).columns)[-2:] == ["is_across_speakers", "is_across_parts"]
