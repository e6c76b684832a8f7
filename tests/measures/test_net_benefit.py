"""Net benefit: hits less false alarms at their price, by hand and by identities."""

import numpy as np
import pandas as pd
import pytest

from lalia.evaluation.decision_curve import CURVE_THRESHOLDS, judge_net_benefit
from lalia.measures.metrics import ALL_METRICS, decision_curve, judge, net_benefit, net_benefit_of_all
from lalia.scale import Scale

SCALE = Scale((1.0, 2.0, 3.0, 4.0), present_from=2.0)


def test_a_false_alarm_costs_the_odds_of_the_threshold():
    # 2 hits and 1 false alarm of 5, three false alarms being worth one hit
    assert float(net_benefit([1, 1, 1, 0, 0], [1, 1, 0, 1, 0], threshold=0.25)) == pytest.approx((2 - 1 / 3) / 5)


def test_acting_on_all_gains_nothing_at_the_prevalence_and_acting_on_nobody_nothing_at_all():
    assert float(net_benefit_of_all([1, 0, 0, 0], threshold=0.25)) == pytest.approx(0)
    assert float(net_benefit([1, 0, 0, 0], [0, 0, 0, 0], threshold=0.25)) == 0


def test_a_threshold_of_1_is_refused_and_undefined_as_a_metric():
    with pytest.raises(ValueError, match="from 0 to below 1, got 1"):
        net_benefit([1, 0], [1, 0], threshold=1.0)
    judged = judge([1, 3], SCALE, scores=[1, 3], levels=[1, 3], probability=[0.1, 1.0], threshold=1.0)
    reasons = {metric.name: metric.reason(judged) for metric in ALL_METRICS}
    assert reasons["net_benefit"] == reasons["net_benefit_of_all"] == "only what is certain is called present"


def test_the_curve_is_the_net_benefit_at_each_threshold():
    generator = np.random.default_rng(0)
    present, probability = generator.random(40) < 0.4, generator.random(40)
    weights = generator.multinomial(40, np.full(40, 1 / 40), size=3)
    curve = decision_curve(present, probability, [0.1, 0.6], weights)
    expected = [net_benefit(present, probability >= at, at, weights) for at in (0.1, 0.6)]
    np.testing.assert_array_equal(curve, expected)


def test_each_trait_has_a_curve_beside_that_of_acting_on_all_with_intervals():
    generator = np.random.default_rng(1)
    rows = pd.DataFrame(
        {
            "recording": [f"r{row}" for row in range(30)],
            "speaker": [f"s{row % 10}" for row in range(30)],
            "part": "test",
            "trait": "hoarse",
            "rating": generator.integers(1, 5, 30).astype(float),
            "score": 1.0,
            "level": 1.0,
            "probability": generator.random(30),
        }
    )
    rows = pd.concat([rows, rows.assign(trait="slow", rating=np.nan)])
    found = judge_net_benefit(rows, SCALE, replicates=50)["test"]
    assert list(found["hoarse"]) == [f"{at:g}" for at in CURVE_THRESHOLDS]
    present = rows["rating"][:30] >= 2
    model, everybody = found["hoarse"]["0.3"]["model"], found["hoarse"]["0.3"]["all"]
    assert model["value"] == pytest.approx(float(net_benefit(present, rows["probability"][:30] >= 0.3, 0.3)))
    assert everybody["value"] == pytest.approx(float(net_benefit_of_all(present, 0.3)))
    assert model["low"] <= model["value"] <= model["high"]
    assert found["slow"]["0.3"]["model"]["reason"] == "no rated recordings"
