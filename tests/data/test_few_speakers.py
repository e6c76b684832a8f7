"""Levels that few people have."""

from lalia.data.few_speakers import count_speakers, warn_of_few_speakers
from toy_audit import make_table


def test_speakers_are_counted_not_recordings():
    table = make_table(speakers=8, per_speaker=5)
    counts = count_speakers(table).set_index(["trait", "level"])["speakers"]
    assert counts.loc["slow"].to_dict() == {1: 2, 2: 2, 3: 2, 4: 2}


def test_levels_under_the_limit_are_named_in_plain_words():
    table = make_table(speakers=20)
    ratings = table.ratings.assign(slow=table.ratings["slow"].clip(upper=3))
    from dataclasses import replace

    said = warn_of_few_speakers(replace(table, ratings=ratings), 5)
    assert said.startswith("Few people: slow at 4 (0): fewer than 5 speakers have these ratings.")
    assert warn_of_few_speakers(table, 5) is None
    assert "hoarse at 1 (5)" in warn_of_few_speakers(table, 6)
