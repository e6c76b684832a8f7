import numpy as np
import pytest
from scipy.special import expit

from lalia.measures.calibration import brier_score, calibration_error, calibration_intercept, calibration_slope


def draw(n, slope=1.0, shift=0.0, seed=0):
    """Draw presence from true chances, and return it with chances of another slope and shift on the logit."""
    generator = np.random.default_rng(seed)
    true = generator.normal(0, 1.5, n)
    return generator.random(n) < expit(true), expit(true * slope + shift)


def test_brier_score_by_hand():
    assert brier_score([0, 1], [0.2, 0.7]) == pytest.approx((0.04 + 0.09) / 2)


def test_the_right_chances_are_calibrated():
    present, chance = draw(50_000)
    assert calibration_intercept(present, chance) == pytest.approx(0, abs=0.05)
    assert calibration_slope(present, chance) == pytest.approx(1, abs=0.05)
    assert calibration_error(present, chance) < 0.01


def test_chances_twice_too_extreme_have_half_the_slope():
    assert calibration_slope(*draw(50_000, slope=2)) == pytest.approx(0.5, abs=0.03)


def test_chances_too_high_by_1_on_the_logit_have_an_intercept_of_minus_1():
    assert calibration_intercept(*draw(50_000, shift=1)) == pytest.approx(-1, abs=0.05)


def test_where_a_cut_parts_the_classes_there_is_no_slope():
    assert np.isnan(calibration_slope([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]))
    # ties at the cut do not help: the likelihood still rises without end
    assert np.isnan(calibration_slope([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.9]))
    values = calibration_slope([0, 1, 0, 1], [0.1, 0.3, 0.5, 0.9], weights=[[1, 1, 1, 1], [1, 0, 1, 1], [1, 0, 1, 0]])
    np.testing.assert_array_equal(np.isnan(values), [False, True, True])


def test_one_class_has_no_intercept_and_no_slope():
    assert np.isnan(calibration_intercept([1, 1], [0.2, 0.7]))
    assert np.isnan(calibration_slope([1, 1], [0.2, 0.7]))


def test_chances_of_0_and_1_are_finite():
    assert np.isfinite(calibration_slope([0, 1, 0, 1, 0], [0.0, 1.0, 1.0, 0.0, 0.5]))
    assert np.isfinite(calibration_intercept([0, 1, 0], [0.0, 1.0, 1.0]))


def test_what_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1, got 0.2 to 2"):
        brier_score([0, 1], [0.2, 2.0])
