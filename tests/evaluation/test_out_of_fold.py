"""Numbers of several folds."""

import math

import numpy as np
import pandas as pd
import pytest

from lalia.evaluation.ensemble import average_scores
from lalia.evaluation.evaluate import evaluate
from lalia.evaluation.out_of_fold import describe_folds, pool_folds, summarize_folds
from lalia.scale import Scale

SCALE = Scale((1.0, 2.0, 3.0, 4.0), present_from=2.0)


def make_predictions(fold, thresholded=False):
    random = np.random.default_rng(fold)
    rows = pd.DataFrame(
        {
            "recording": [f"f{fold}r{number}" for number in range(12)],
            "speaker": [f"f{fold}s{number // 2}" for number in range(12)],
            "part": ["test"] * 10 + ["train"] * 2,
            "trait": "slow",
            "rating": random.integers(1, 5, 12).astype(float),
            "score": random.uniform(1, 4, 12),
            "probability": random.uniform(0, 1, 12),
        }
    )
    return rows.assign(level=rows["score"].round())


def test_the_interval_of_folds_is_that_of_nadeau_and_bengio():
    found = describe_folds([0.6, 0.7, 0.8, 0.9])
    # t(0.975, 3 degrees) = 3.18245; sd of four values 0.1 apart = 0.129099; 1/4 + 1/3
    half = 3.18245 * 0.129099 * math.sqrt(1 / 4 + 1 / 3)
    assert found["value"] == pytest.approx(0.75)
    assert (found["low"], found["high"]) == pytest.approx((0.75 - half, 0.75 + half), abs=1e-4)
    assert (found["lowest"], found["highest"], found["n"]) == (0.6, 0.9, 4)


def test_one_fold_has_no_interval_and_none_has_a_reason():
    assert describe_folds([None, 0.7, None])["low"] is None
    assert describe_folds([None, 0.7, None])["n"] == 1
    assert describe_folds([None, None]) == {
        **dict.fromkeys(("value", "sd", "lowest", "highest", "low", "high")),
        "n": 0,
        "reason": "undefined in every fold",
    }


def test_pooled_recordings_are_those_of_the_test_parts_each_with_its_folds_threshold():
    folds = {1: make_predictions(1), 2: make_predictions(2)}
    pooled = pool_folds(folds, {1: {"slow": 0.2}, 2: {"slow": 0.9}})
    assert len(pooled) == 20 and set(pooled["part"]) == {"test"}
    assert pooled.groupby("fold")["threshold"].unique().map(list).to_dict() == {1: [0.2], 2: [0.9]}


def test_each_recording_is_called_by_the_threshold_of_its_fold():
    pooled = pool_folds({1: make_predictions(1), 2: make_predictions(2)}, {1: {"slow": 0.2}, 2: {"slow": 0.9}})
    found = evaluate(pooled, SCALE, {}, replicates=20)["test"]
    called = np.where(pooled["fold"] == 1, pooled["probability"] >= 0.2, pooled["probability"] >= 0.9)
    is_present = pooled["rating"] >= 2
    assert found["recording"]["traits"]["slow"]["accuracy"]["value"] == pytest.approx((called == is_present).mean())
    means = pooled.groupby("speaker")[["rating", "probability", "threshold"]].mean()
    of_speakers = (means["probability"] >= means["threshold"]) == (SCALE.nearest_level(means["rating"]) >= 2)
    assert found["speaker"]["traits"]["slow"]["accuracy"]["value"] == pytest.approx(of_speakers.mean())


def test_a_fold_that_scores_higher_throughout_harms_pooled_recordings_and_not_the_mean_of_folds():
    ratings = [1.0, 1.0, 2.0, 3.0] * 3
    tables = {}
    for fold, shift in ((1, 0.0), (2, 0.5)):
        table = make_predictions(fold).assign(part="test", rating=ratings)
        tables[fold] = table.assign(probability=[(rating - 1) / 8 + shift for rating in ratings])
    pooled = pool_folds(tables, {1: {"slow": 0.5}, 2: {"slow": 0.5}})
    trees = {fold: evaluate(table, SCALE, {}, replicates=20)["test"] for fold, table in tables.items()}
    assert evaluate(pooled, SCALE, {}, replicates=20)["test"]["recording"]["macro"]["auc"]["value"] == 0.75
    assert summarize_folds(trees)["recording"]["traits"]["slow"]["auc"]["value"] == 1.0


def test_several_raters_say_the_mean_of_what_they_say_alone():
    said = pd.DataFrame({"recording": ["a", "b"], "trait": "slow", "score": [1.0, 3.0], "level": [1.0, 3.0]})
    tables = [
        said.assign(probability=[0.2, 0.9], abstains=[False, True]),
        said.assign(score=[2.2, 4.0], level=[2.0, 4.0], probability=[0.4, 0.7], abstains=[False, True]),
        said.assign(score=[2.0, 4.0], level=[2.0, 4.0], probability=[0.3, 0.8], abstains=[True, False]),
    ]
    found = average_scores(tables, SCALE)
    assert found["score"].tolist() == pytest.approx([5.2 / 3, 11 / 3])
    assert found["level"].tolist() == [2.0, 4.0]
    assert found["probability"].tolist() == pytest.approx([0.3, 0.8])
    assert found["abstains"].tolist() == [False, True]
