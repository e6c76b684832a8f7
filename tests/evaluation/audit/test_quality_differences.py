"""Whether the making of recordings differs by rating, site or part."""

import numpy as np
import pytest

from lalia.evaluation.audit.quality_differences import compare_quality, describe_difference
from toy_audit import make_table, with_columns


def parts_of(table):
    number = table.recordings["speaker"].str[1:].astype(int)
    return np.where(number % 3 == 0, "test", "train").tolist()


def found_in(table):
    compared = compare_quality(table, parts_of(table), replicates=200)
    return compared[compared["is_found"]]


@pytest.mark.parametrize("seed", range(5))
def test_in_recordings_that_were_made_alike_nothing_is_found(seed):
    assert found_in(make_table(seed=seed)).empty


def test_a_level_that_rises_with_a_rating_is_said_plainly():
    table = make_table()
    louder = table.recordings["level_db"] + 6 * (table.ratings["slow"] - 1)
    found = found_in(with_columns(table, level_db=louder))
    assert found[["quality", "differs_by"]].to_numpy().tolist() == [["level", "rating of slow"]]
    sentence = describe_difference(found.iloc[0])
    assert sentence.startswith("The level is higher where the rating of slow is higher (Spearman 0.9")


def test_a_site_with_noise_is_said_plainly():
    table = make_table()
    noisy = table.recordings["snr_db"] - 20 * (table.recordings["site"] == "north")
    found = found_in(with_columns(table, snr_db=noisy))
    assert describe_difference(found.iloc[0]) == (
        "The snr is lower in recordings whose site is north than in others (AUC 0.00, 95 % interval 0.00 to 0.00)."
    )


def test_a_part_that_was_recorded_otherwise_is_found():
    table = make_table()
    narrow = table.recordings["bandwidth_hz"] - 4000 * (np.array(parts_of(table)) == "test")
    found = found_in(with_columns(table, bandwidth_hz=narrow))
    assert found[["quality", "differs_by", "group"]].to_numpy().tolist() == [["bandwidth", "part", "train"]]
    assert found["value"].iloc[0] == 1.0


def test_many_recordings_of_few_speakers_do_not_make_an_effect_sure():
    # the level is the speaker's own: 8 speakers show no more than 8 numbers
    tables = [make_table(speakers=8, per_speaker=40, seed=seed) for seed in range(5)]
    assert sum(len(found_in(table)) for table in tables) == 0
