"""Calibration and abstention of a saved rater."""

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression

from lalia.errors import ModelError
from lalia.model.decisions import Abstention, IsotonicCalibration, LogisticCalibration
from lalia.model.rater import SpeechRater
from toy_rater import make_rater, make_waveform


def test_isotonic_calibration_is_scikit_learns():
    random = np.random.default_rng(0)
    given, present = random.random(200), random.random(200) < 0.4
    expected = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(given, present)
    calibration = IsotonicCalibration(tuple(expected.X_thresholds_), tuple(expected.y_thresholds_))
    asked = random.uniform(-0.2, 1.2, 500)
    np.testing.assert_allclose(calibration(torch.tensor(asked)).numpy(), expected.predict(asked), atol=1e-12)


def test_one_step_is_a_constant():
    found = IsotonicCalibration((0.3,), (0.6,))(torch.tensor([0.0, 1.0, torch.nan]))
    assert found[:2].tolist() == pytest.approx([0.6, 0.6]) and found[2].isnan()


@pytest.mark.parametrize("calibration", [LogisticCalibration(2.0, -1.0), IsotonicCalibration((0.1, 0.9), (0.0, 1.0))])
def test_order_stays_ends_are_finite_and_missing_stays_missing(calibration):
    found = calibration(torch.tensor([0.0, 0.2, 0.5, 1.0, torch.nan]))
    assert (found[:4].diff() >= 0).all() and found[:4].isfinite().all() and found[4].isnan()


def test_both_classes_likely_is_no_decision_and_neither_is_too():
    both = Abstention(absent_to=0.8, present_from=0.3)
    assert both.abstains(torch.tensor([0.2, 0.5, 0.9, torch.nan])).tolist() == [False, True, False, True]


def test_a_rater_brings_its_decisions_back(tmp_path):
    rater = make_rater()
    waveform = make_waveform(1.0)
    before = rater.score([waveform])
    steps = IsotonicCalibration((0.0, 1.0), (0.1, 0.7))
    rater.calibrations = {"breathy": LogisticCalibration(3.0, 0.5), "slow_rate": steps}
    rater.abstentions = {"slow_rate": Abstention(0.0, 1.0)}
    found = rater.score([waveform])
    assert torch.equal(found.score, before.score) and torch.equal(found.level, before.level)
    torch.testing.assert_close(found.probability[0, 1], 0.1 + 0.6 * before.probability[0, 1])
    assert rater.abstains(found.probability).tolist() == [[False, True]]
    rater.save_pretrained(tmp_path / "rater")
    again = SpeechRater.from_pretrained(tmp_path / "rater")
    assert (again.calibrations, again.abstentions) == (rater.calibrations, rater.abstentions)
    assert torch.equal(again.score([waveform]).probability, found.probability)


def test_a_decision_of_no_trait_is_refused(tmp_path):
    rater = make_rater()
    rater.calibrations["brethy"] = LogisticCalibration(1.0, 0.0)
    with pytest.raises(ModelError, match="A calibration is given for 'brethy', which is no trait.*breathy"):
        rater.save_pretrained(tmp_path)
