"""What recordings and speakers tell of a trait without being heard."""

import numpy as np
import pandas as pd
import pytest

from lalia.evaluation.audit.confounds import probe_confounds, probe_each, tabulate
from lalia.evaluation.audit.nuisances import as_quantity, read_nuisances
from toy_audit import make_table, with_columns


def probe(table, **how):
    return probe_confounds(table, read_nuisances(table), covariates=table.covariates, replicates=100, **how)


def value(tree, name, trait="slow", metric="auc"):
    return tree[name][trait][metric].value


# --- variables --------------------------------------------------------------------------------------------------------


def test_a_column_of_numbers_is_a_quantity_and_one_of_few_codes_is_not():
    assert as_quantity(pd.Series(["3", "1.5", "-2", "7", "8"])).tolist() == [3, 1.5, -2, 7, 8]
    assert as_quantity(pd.Series(["north", "south", "3"])) is None
    assert as_quantity(pd.Series(["1", "2", "1", "2"])) is None


def test_dates_count_their_days():
    days = as_quantity(pd.Series(["2024-01-01", "2024-01-31", None]))
    assert (days[1] - days[0], np.isnan(days[2])) == (30.0, True)


def test_a_missing_value_is_the_median_and_has_a_flag():
    table = with_columns(make_table(3, 1), age=["40", None, "60"])
    # three ages are codes, so measured numbers show it
    table = with_columns(table, snr_db=[10.0, np.nan, 30.0])
    assert read_nuisances(table).features["snr"].tolist() == [[10, 0], [20, 1], [30, 0]]


def test_categories_have_a_column_each():
    table = with_columns(make_table(4, 1), site=["a", "b", "a", None])
    assert read_nuisances(table).features["site"].tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]]


def test_what_is_the_same_everywhere_is_left_out_with_its_reason():
    found = read_nuisances(make_table())
    assert found.left_out == {"clipping": "the same in all recordings", "sampling_rate": "the same in all recordings"}
    assert set(found.features) == {"duration", "silence_share", "level", "snr", "bandwidth", "site", "age"}


# --- probes -----------------------------------------------------------------------------------------------------------


def test_what_has_nothing_to_do_with_a_trait_predicts_nothing():
    values = [value(probe(make_table(seed=seed)), "level") for seed in range(6)]
    assert np.mean(values) == pytest.approx(0.5, abs=0.08)


def test_a_level_that_follows_a_rating_is_found_and_only_there():
    table = make_table()
    louder = table.recordings["level_db"] + 8 * (table.ratings["slow"] - 1)
    tree = probe(with_columns(table, level_db=louder))
    level = tree["level"]["slow"]["auc"].to_json()
    assert level["value"] > 0.9
    assert level["low"] > 0.8
    assert tree["all"]["slow"]["auc"].value > 0.85
    assert value(tree, "snr") < 0.65
    assert value(tree, "level", "hoarse") < 0.65


def test_a_site_that_tells_a_trait_is_found():
    table = make_table()
    site = np.where(table.ratings["slow"] >= 2, "clinic", "school")
    tree = probe(with_columns(table, site=site))
    assert value(tree, "site") == 1.0
    assert value(tree, "demographics") == pytest.approx(1.0, abs=0.02)


def test_what_only_tells_speakers_apart_predicts_nothing_of_others():
    # each speaker's own number, unrelated to the rating: across speakers it is no use
    table = make_table(speakers=80)
    own = np.random.default_rng(1).normal(size=80)[pd.factorize(table.recordings["speaker"])[0]]
    assert value(probe_each({"own": own[:, np.newaxis]}, table, replicates=20), "own") < 0.65


def test_the_numbers_are_the_same_whatever_else_is_probed():
    table = make_table()
    level = {"level": read_nuisances(table).features["level"]}
    alone = probe_each(level, table, replicates=100)["level"]["slow"]["auc"]
    assert alone.to_json() == probe(table)["level"]["slow"]["auc"].to_json()


def test_a_table_has_a_row_for_each_number():
    frame = tabulate(probe(make_table(30, 2)))
    assert len(frame) == 9 * 3 * 4
    assert set(frame["trait"]) == {"slow", "hoarse", "macro"}


def test_two_speakers_cannot_be_probed():
    assert probe(make_table(2, 3)) == {}
