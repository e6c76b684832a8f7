"""Curves over a threshold and their bands, on numbers that can be counted by hand."""

import numpy as np
import pytest

from lalia.measures.discrimination import auc, average_precision
from lalia.report.curves import bin_probabilities, coverage_curve, precision_band, roc_band


def many(speakers=30, each=4, seed=0):
    rng = np.random.default_rng(seed)
    heard = np.repeat(rng.normal(size=speakers), each)
    present = rng.random(len(heard)) < 1 / (1 + np.exp(-2 * heard))
    return present, 1 / (1 + np.exp(-heard - rng.normal(size=len(heard)))), np.repeat(np.arange(speakers), each)


def test_bands_have_no_width_where_every_draw_is_alike():
    present, probability = np.tile([0, 1, 0, 1], 5), np.tile([0.1, 0.4, 0.6, 0.9], 5)
    speakers = np.repeat(range(5), 4)
    roc = roc_band(present, probability, speakers)
    assert np.allclose(roc.low, roc.high)
    # by hand: half are found before the first false alarm, all before the second
    assert roc.low[[0, 49, 50, 99]].round(2).tolist() == [0.5, 0.5, 1.0, 1.0]
    precision = precision_band(present, probability, speakers)
    assert np.allclose(precision.low, precision.high)
    found = dict(zip(precision.x.round(2), precision.low, strict=True))
    assert (found[0.5], round(found[1.0], 3)) == (1.0, 0.667)


def test_band_of_the_roc_curve_holds_the_curve_and_its_area():
    present, probability, speakers = many()
    band = roc_band(present, probability, speakers)
    assert (band.low <= band.high).all()
    value = float(auc(present, probability))
    assert np.trapezoid(band.low, band.x) < value < np.trapezoid(band.high, band.x)


def test_band_of_precision_holds_the_average_precision():
    present, probability, speakers = many()
    band = precision_band(present, probability, speakers)
    assert band.low.mean() < float(average_precision(present, probability)) < band.high.mean()


def test_bands_draw_whole_speakers():
    # each speaker's recordings are all the same: ten of them know no more than one
    present, probability, speakers = (np.repeat(values, 10) for values in many(speakers=12, each=1))
    whole = roc_band(present, probability, speakers)
    single = roc_band(present, probability, np.arange(len(present)))
    width = (whole.high - whole.low).mean()
    assert width > 1.5 * (single.high - single.low).mean()


def test_one_speaker_has_no_band():
    band = roc_band([0, 1], [0.2, 0.7], ["a", "a"])
    assert np.isnan(band.low).all()
    assert np.isnan(precision_band([0, 1], [0.2, 0.7], ["a", "a"]).high).all()


def test_bands_do_not_depend_on_the_order_of_the_rows():
    present, probability, speakers = many()
    order = np.random.default_rng(1).permutation(len(present))
    for make in (roc_band, precision_band):
        one, other = make(present, probability, speakers), make(present[order], probability[order], speakers[order])
        assert np.allclose(one.low, other.low, equal_nan=True)


def test_coverage_decides_the_surest_first():
    # distances from the threshold in log-odds: 0.9 and 0.1 are alike, then 0.6
    coverage, risk, _ = coverage_curve([False, True, True], [0.9, 0.1, 0.6], 0.5, ["a", "b", "c"])
    assert coverage.round(3).tolist() == [0.667, 1.0]
    assert risk.round(3).tolist() == [0.5, 0.667]


def test_bins_hold_the_mean_probability_and_the_share_with_the_trait():
    probability = [0.1, 0.2, 0.5, 0.6, 0.8, 0.9]
    found = bin_probabilities([0, 0, 0, 1, 1, 1], probability, list("abcdef"))
    assert found.count.tolist() == [2, 2, 2]
    assert found.probability == pytest.approx([0.15, 0.55, 0.85])
    assert found.share.tolist() == [0.0, 0.5, 1.0]
    assert found.low[1] <= 0.5 <= found.high[1]


def test_equal_probabilities_share_a_bin():
    found = bin_probabilities([0, 1, 1, 0], [0.5] * 4, list("abcd"))
    assert found.count.tolist() == [4]
    assert found.share.tolist() == [0.5]
