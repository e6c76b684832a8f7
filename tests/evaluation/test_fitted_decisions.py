"""Calibration, thresholds and abstention fitted on a validation part."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, logit
from sklearn.calibration import _SigmoidCalibration

from lalia.evaluation.decisions import fit_abstention, fit_calibration
from lalia.evaluation.selective import judge_abstention
from lalia.model.rater import SpeechRater
from lalia.run import evaluate_run, train
from lalia.scale import Scale
from lalia.settings import ConformalAbstain, EntropyAbstain
from toy_run import ALL_TRAITS, quick_settings, write_toy_corpus

SCALE = Scale((1.0, 2.0, 3.0, 4.0), present_from=2.0)
KINDS = ["temperature", "platt", "isotonic"]


def draw(n, seed=0, temperature=1.0, shift=0.0):
    """Presence, and probabilities whose log-odds are those of presence times a temperature and moved by a shift."""
    random = np.random.default_rng(seed)
    log_odds = random.normal(0, 2, n)
    is_present = random.random(n) < expit(log_odds)
    return is_present, expit(temperature * log_odds + shift)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_planted_temperature_is_found(temperature):
    found = fit_calibration(*draw(20_000, temperature=temperature), "temperature")
    assert found.slope == pytest.approx(1 / temperature, rel=0.05)
    assert found.intercept == 0.0


def test_platt_is_scikit_learns_on_log_odds():
    is_present, probability = draw(60, temperature=2.0, shift=1.0)
    expected = _SigmoidCalibration().fit(logit(probability), is_present)
    found = fit_calibration(is_present, probability, "platt")
    assert found.slope == pytest.approx(-expected.a_, rel=1e-3)
    assert found.intercept == pytest.approx(-expected.b_, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_fits_is_as_frequent_as_it_says_in_new_recordings(kind):
    shift = 0.0 if kind == "temperature" else 1.0
    calibration = fit_calibration(*draw(5000, temperature=3.0, shift=shift), kind)
    is_present, given = draw(20_000, 1, temperature=3.0, shift=shift)
    found = calibration(torch.tensor(given)).numpy()
    for low in (0.1, 0.3, 0.5, 0.7):
        inside = (found >= low) & (found < low + 0.2)
        assert is_present[inside].mean() == pytest.approx(found[inside].mean(), abs=0.03)
    assert np.mean((found - is_present) ** 2) < np.mean((given - is_present) ** 2)


@pytest.mark.parametrize("kind", KINDS)
def test_classes_that_can_be_told_apart_give_finite_probabilities(kind):
    is_present, probability = np.array([False, False, True, True]), np.array([0.0, 0.2, 0.7, 1.0])
    found = fit_calibration(is_present, probability, kind)(torch.tensor(probability))
    assert found.isfinite().all() and found.diff().min() >= 0
    if kind == "platt":
        assert 0.6 < found[-1] < 0.99  # not certain after four recordings


@pytest.mark.parametrize("error", [0.05, 0.2])
def test_conformal_errors_are_as_rare_as_promised_in_each_class(error):
    settings, rates = ConformalAbstain(error=error), []
    for seed in range(300):
        fitted = fit_abstention(*draw(80, seed), 0.5, settings)
        is_present, new = draw(200, 10_000 + seed)
        takes_present, takes_absent = new >= fitted.present_from, new <= fitted.absent_to
        rates.append([(~takes_present)[is_present].mean(), (~takes_absent)[~is_present].mean()])
    # a class is left out of what is likely in the promised share of its recordings, no more, and hardly less
    assert (np.mean(rates, axis=0) < error + 0.01).all()
    assert (np.mean(rates, axis=0) > error - 0.03).all()


def test_with_too_few_recordings_for_its_promise_conformal_decides_nothing():
    is_present, probability = np.array([True, False, True]), np.array([0.9, 0.1, 0.8])
    fitted = fit_abstention(is_present, probability, 0.5, ConformalAbstain(error=0.1))
    assert fitted.abstains(torch.tensor([0.01, 0.5, 0.99])).all()


@pytest.mark.parametrize("threshold", [0.2, 0.5])
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.99])
def test_entropy_decides_the_share_that_was_asked_for(coverage, threshold):
    is_present, probability = draw(1000)
    fitted = fit_abstention(is_present, probability, threshold, EntropyAbstain(coverage=coverage))
    decided = ~fitted.abstains(torch.tensor(probability)).numpy()
    assert decided.mean() == pytest.approx(coverage, abs=0.002)
    assert fitted.absent_to < threshold < fitted.present_from
    is_wrong = is_present != (probability >= threshold)
    if threshold == 0.5:
        assert is_wrong[decided].mean() < is_wrong.mean()


def test_coverage_and_risk_by_hand():
    predictions = pd.DataFrame(
        {
            "part": "test",
            "speaker": ["a", "b", "c", "d"],
            "trait": "breathy",
            "rating": [1.0, 3.0, 1.0, 2.0],
            "probability": [0.1, 0.9, 0.6, 0.55],
            "abstains": [False, False, False, True],
        }
    )
    found = judge_abstention(predictions, SCALE, {"breathy": 0.5})["test"]["breathy"]
    assert (found["coverage"]["value"], found["coverage"]["n"]) == (0.75, 4)
    assert (found["risk"]["value"], found["risk"]["n"]) == (pytest.approx(1 / 3), 3)
    assert found["risk_without"]["value"] == 0.25
    assert found["curve"] == [[0.25, 0.0], [0.5, 0.0], [0.75, pytest.approx(1 / 3)], [1.0, 0.25]]
    assert found["risk"]["low"] <= 1 / 3 <= found["risk"]["high"]
    predictions["abstains"] = True
    assert "nothing is decided" in json.dumps(judge_abstention(predictions, SCALE, {"breathy": 0.5}))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_toy_corpus(tmp_path_factory.mktemp("corpus"), speakers=16)


@pytest.mark.parametrize("kind", ["ordinal", pytest.param("regression", marks=pytest.mark.slow)])
def test_a_run_decides_on_its_validation_part_and_its_rater_decides_alike(corpus, tmp_path, kind):
    decisions = "decisions={calibration: platt, abstain: {kind: entropy, coverage: 0.6}}"
    run = train(quick_settings(corpus, tmp_path / "runs", ALL_TRAITS, decisions, f"model.head={kind}"))
    rater = SpeechRater.from_pretrained(run)
    told = json.loads((run / "manifest.json").read_text())["decisions"]
    fitted = [trait for trait in rater.traits if told[trait]["calibration"]["value"]]
    assert fitted
    for trait in rater.traits:
        assert (trait in rater.calibrations) == (told[trait]["calibration"]["reason"] is None)
        assert (trait in rater.abstentions) == (trait in rater.calibrations)
    predictions = pd.read_csv(run / "predictions.csv")
    on_validation = predictions[(predictions["part"] == "validation") & predictions["rating"].notna()]
    metrics = json.loads((run / "metrics.json").read_text())
    for trait in fitted:
        rows = on_validation[on_validation["trait"] == trait]
        decided = 1 - rows["abstains"].mean()
        assert metrics["validation"]["abstention"][trait]["coverage"]["value"] == pytest.approx(decided)
        assert decided == pytest.approx(0.6, abs=1.5 / len(rows))
    before = (run / "metrics.json").read_bytes(), (run / "predictions.csv").read_bytes()
    evaluate_run(run)
    assert ((run / "metrics.json").read_bytes(), (run / "predictions.csv").read_bytes()) == before
