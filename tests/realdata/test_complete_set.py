"""On speechocean762, as its example trains it: every number that an evaluation promises is there."""

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest

from lalia.config import load_config
from lalia.measures.metrics import ALL_METRICS, RATER_METRICS
from lalia.run import train

DATA = Path(os.environ.get("LALIA_REAL_DATA", Path(__file__).parents[3] / "shared" / "data")) / "speechocean762"
EXAMPLE = Path(__file__).parents[2] / "examples" / "speechocean762.yaml"
TRAITS = ["accuracy", "fluency", "prosodic"]

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the recordings of speechocean762 are not there")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Train the example for one epoch: which numbers there are does not depend on how good they are."""
    overrides = [
        f"data.metadata={DATA / 'metadata.csv'}",
        f"data.audio_dir={DATA}",
        f"runs={tmp_path_factory.mktemp('complete')}",
        "train.epochs=1",
        "decisions.abstain={kind: entropy, coverage: 0.8}",
    ]
    return train(load_config(EXAMPLE, overrides))


@pytest.fixture(scope="module")
def numbers(run):
    return json.loads((run / "metrics.json").read_text())["test"]


def is_told(metric):
    """Say whether a number has a value with an interval, or a reason for having none."""
    if metric["value"] is None:
        return bool(metric["reason"])
    return metric["low"] is not None and metric["low"] <= metric["high"]


@pytest.mark.parametrize("unit", ["recording", "speaker"])
def test_every_metric_of_every_trait_has_a_value_with_intervals_or_a_reason(numbers, unit):
    for branch in (*(numbers[unit]["traits"][trait] for trait in TRAITS), numbers[unit]["macro"]):
        assert all(is_told(branch[metric.name]) for metric in ALL_METRICS)
        assert {"bca_low", "bca_high"} <= set(branch["auc"])
    assert numbers[unit]["macro"]["auc"]["of"] == 3


def test_every_level_of_the_scale_has_its_calibration(numbers, run):
    levels = [f"{level}" for level in range(1, 11)]
    assert list(numbers["recording"]["thresholds"]) == levels
    for level in levels:
        for trait in TRAITS:
            found = numbers["recording"]["thresholds"][level]["traits"][trait]
            names = {"brier", "calibration_intercept", "calibration_slope", "calibration_error"}
            assert names <= set(found) and all(is_told(found[name]) for name in names)
    predictions = pd.read_csv(run / "predictions.csv")
    assert predictions[[f"p_ge_{level}" for level in levels]].diff(axis=1).iloc[:, 1:].max(axis=None) <= 1e-6


def test_baselines_people_reliability_chance_decisions_and_abstention_stand_beside(numbers):
    assert set(numbers["baselines"]) == {"majority", "mean", "duration", "demographics", "acoustic"}
    people = numbers["raters"]["recording"]["traits"]
    assert all(metric.name in people[trait] for trait in TRAITS for metric in RATER_METRICS)
    for trait in TRAITS:
        assert {"krippendorff_alpha", "pairwise_qwk", "icc_a1", "icc_ak"} <= set(numbers["reliability"][trait])
        assert all(is_told(each) for each in numbers["reliability"][trait].values())
        assert set(numbers["chance"][trait]) == {"auc", "spearman"}
        assert all(is_told(curve["model"]) for curve in numbers["decision_curve"][trait].values())
        assert {"coverage", "risk", "risk_without", "curve"} == set(numbers["abstention"][trait])


def test_the_test_part_was_evaluated_once_and_the_card_says_so(run):
    assert json.loads((run / "manifest.json").read_text())["test_evaluations"] == 1
    assert re.search(r"Evaluations of the test part: 1\b", (run / "model" / "README.md").read_text())
