"""The probability of reaching each level: how predictions tell it, and what it is worth at each level."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from lalia.evaluation.evaluate import evaluate
from lalia.evaluation.predictions import reach_columns
from lalia.scale import Scale

SCALE = Scale((1.0, 2.0, 3.0, 4.0), present_from=2.0)


def draw_predictions(n=80, n_speakers=16, levels=(2, 3, 4)):
    """Draw ratings from known probabilities of reaching each level, which the predictions tell too timidly."""
    generator = np.random.default_rng(0)
    latent = np.linspace(-2, 2, n_speakers)[np.arange(n) % n_speakers] + generator.normal(size=n)
    rows = pd.DataFrame(
        {
            "recording": [f"r{row}" for row in range(n)],
            "speaker": [f"s{row % n_speakers}" for row in range(n)],
            "part": "test",
            "trait": "hoarse",
            "rating": 1.0 + np.digitize(latent + generator.logistic(scale=0.3, size=n), [-1, 0, 1]),
            "score": latent,
            "level": 2.0,
        }
    )
    reach = {f"p_ge_{level}": 1 / (1 + np.exp(-(latent - (level - 3)))) for level in levels}
    return rows.assign(probability=1 / (1 + np.exp(-(latent + 1))), **reach)


@pytest.fixture(scope="module")
def found():
    return evaluate(draw_predictions(), SCALE, {"hoarse": 0.5}, replicates=100)["test"]


def test_each_level_has_the_numbers_of_scikit_learn_for_ratings_that_reach_it(found):
    rows = draw_predictions()
    for level in (2, 3, 4):
        reached, given = rows["rating"] >= level, rows[f"p_ge_{level}"].to_numpy()
        numbers = found["recording"]["thresholds"][f"{level}"]["traits"]["hoarse"]
        slope = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit(given)[:, None], reached).coef_[0, 0]
        assert numbers["brier"]["value"] == pytest.approx(brier_score_loss(reached, given))
        assert numbers["calibration_slope"]["value"] == pytest.approx(slope, abs=1e-4)
        assert numbers["prevalence"]["value"] == pytest.approx(reached.mean())
        calibration = {f"calibration_{what}" for what in ("intercept", "slope", "error")}
        assert set(numbers) == {"prevalence", "brier", *calibration}


def test_each_number_of_a_level_has_an_interval_of_speakers_and_a_mean_over_traits(found):
    at_level = found["recording"]["thresholds"]["3"]
    for branch in (at_level["traits"]["hoarse"], at_level["macro"]):
        slope = branch["calibration_slope"]
        assert slope["low"] < slope["value"] < slope["high"]


def test_at_the_level_of_presence_the_numbers_are_those_of_presence(found):
    present = found["recording"]["traits"]["hoarse"]
    assert found["recording"]["thresholds"]["2"]["traits"]["hoarse"]["brier"] == present["brier"]


def test_a_speaker_reaches_a_level_by_the_mean_rating_with_the_mean_probability(found):
    means = draw_predictions().groupby("speaker")[["rating", "p_ge_3"]].mean()
    brier = found["speaker"]["thresholds"]["3"]["traits"]["hoarse"]["brier"]
    assert brier["value"] == pytest.approx(brier_score_loss(SCALE.level_index(means["rating"]) >= 2, means["p_ge_3"]))


def test_a_level_that_nobody_reaches_has_no_slope_and_says_why():
    rows = draw_predictions()
    rows["rating"] = rows["rating"].clip(upper=3.0)
    found = evaluate(rows, SCALE, {}, replicates=10)["test"]["recording"]["thresholds"]["4"]
    slope = found["traits"]["hoarse"]["calibration_slope"]
    assert (slope["value"], slope["reason"]) == (None, "only one class among the 80 rated recordings")


def test_predictions_without_probabilities_of_levels_have_no_numbers_of_levels():
    rows = draw_predictions(levels=())
    assert "thresholds" not in evaluate(rows, SCALE, {}, replicates=10)["test"]["recording"]


def test_columns_of_levels_come_back_in_the_order_of_the_levels():
    assert reach_columns(pd.DataFrame(columns=["p_ge_10", "score", "p_ge_2.5"])) == {2.5: "p_ge_2.5", 10.0: "p_ge_10"}
