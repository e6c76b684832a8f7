"""Numbers of groups of speakers, and which of them are not shown."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lalia.evaluation.audit.subgroups import evaluate_subgroups, group_recordings
from lalia.evaluation.evaluate import evaluate
from toy_audit import SCALE, make_table, with_columns


def predict(table, noise=0.3, seed=0):
    random = np.random.default_rng(seed)
    rows = []
    for trait in table.traits:
        ratings = table.ratings[trait].to_numpy()
        score = np.clip(ratings + noise * random.normal(size=len(ratings)), 1, 4)
        known = table.recordings[["recording", "speaker"]].assign(part="test", trait=trait, rating=ratings)
        rows.append(known.assign(score=score, level=SCALE.nearest_level(score), probability=(score - 1) / 3))
    return pd.concat(rows, ignore_index=True)


THRESHOLDS = {"slow": 0.2, "hoarse": 0.2}


def subgroups(table, predictions, **how):
    return evaluate_subgroups(predictions, group_recordings(table), SCALE, THRESHOLDS, replicates=50, **how)


def test_the_bands_of_age_are_named_by_their_years():
    table = with_columns(make_table(6, 1), age=["17", "18", "39", "40", "74", "75"])
    assert group_recordings(table)["age"].tolist() == ["under 18", "18-39", "18-39", "40-59", "60-74", "75 or more"]


def test_another_quantity_is_cut_into_thirds():
    table = replace(with_columns(make_table(6, 1), years_ill=list("123456")), covariates=("years_ill",))
    groups = group_recordings(table)["years_ill"].value_counts()
    assert groups.tolist() == [2, 2, 2]


def test_the_severity_is_that_of_the_worst_trait():
    table = make_table(4, 1)
    ratings = pd.DataFrame({"slow": [1, 2, np.nan, np.nan], "hoarse": [1, 4, 3, np.nan]})
    groups = group_recordings(replace(table, ratings=ratings))
    assert groups["severity"].tolist() == ["worst trait at 1", "worst trait at 4", "worst trait at 3", None]


def test_a_group_has_the_numbers_of_its_recordings_alone():
    table = make_table()
    predictions = predict(table)
    found = subgroups(table, predictions).set_index(["attribute", "group", "trait", "metric"])
    north = table.recordings.loc[table.recordings["site"] == "north", "recording"]
    alone = evaluate(predictions[predictions["recording"].isin(north)], SCALE, THRESHOLDS, replicates=50)
    expected = alone["test"]["recording"]["traits"]["slow"]["spearman"]
    row = found.loc["site", "north", "slow", "spearman"]
    assert [row["value"], row["low"], row["high"], row["n"]] == [expected[k] for k in ("value", "low", "high", "n")]
    assert row["recordings"] == len(north)


def test_a_group_that_is_rated_worse_shows_it():
    table = make_table()
    good, bad = predict(table, 0.1), predict(table, 3.0)
    is_north = good["recording"].map(table.recordings.set_index("recording")["site"]) == "north"
    mixed = pd.concat([good[~is_north], bad[is_north]])
    found = subgroups(table, mixed).query("attribute == 'site' and trait == 'macro' and metric == 'mae'")
    errors = found.set_index("group")
    assert errors.loc["north", "low"] > errors.loc["south", "high"]


def test_groups_of_fewer_than_5_speakers_are_not_shown():
    table = make_table()
    site = np.array(["big"] * 180, dtype=object)
    site[:12] = "small"  # 4 speakers
    site[12:60] = "other"
    found = subgroups(with_columns(table, site=site), predict(table)).query("attribute == 'site'")
    hidden = found[found["reason"].fillna("").str.startswith("not shown")].set_index("group")
    assert hidden["reason"].to_dict() == {
        "small": "not shown: fewer than 5 speakers",
        "other": "not shown: it would give away the only group that is not shown",
    }
    assert hidden[["speakers", "recordings", "value", "n"]].isna().all(axis=None)
    assert set(found.loc[found["value"].notna(), "group"]) == {"big"}


def test_how_few_are_too_few_is_an_argument():
    table = make_table(speakers=8)
    assert subgroups(table, predict(table), min_speakers=9)["value"].isna().all()


def test_an_undefined_metric_has_its_reason():
    table = make_table()
    found = subgroups(table, predict(table)).query("attribute == 'severity' and metric == 'auc' and trait == 'slow'")
    absent = found[found["group"] == "worst trait at 1"]
    assert absent["reason"].iloc[0].startswith("only one class") or absent["reason"].iloc[0].startswith("not shown")


@pytest.mark.parametrize("unit", ["recording", "speaker"])
def test_either_unit_can_be_asked_for(unit):
    table = make_table()
    found = subgroups(table, predict(table), unit=unit).query("attribute == 'site' and trait == 'slow'")
    assert found.groupby("group")["n"].first().sum() == (180 if unit == "recording" else 60)
