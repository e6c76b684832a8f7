"""Agreement coefficients of the people who rated."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lalia.evaluation.reliability import rater_reliability
from lalia.measures.raters import krippendorff_alpha
from lalia.scale import Scale

# Krippendorff (2011), example C: 12 units, 4 observers; ordinal alpha 0.815
EXAMPLE_C = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, np.nan, np.nan, np.nan],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, np.nan, 3],
        [np.nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, np.nan],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, np.nan],
    ]
)
# Shrout and Fleiss (1979): six targets, four judges; ICC(2,1) 0.290, ICC(2,k) 0.620
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]).T


def make(ratings, levels):
    rows = [
        (f"u{unit}", f"r{rater}", "breathy", value)
        for rater, of_rater in enumerate(ratings)
        for unit, value in enumerate(of_rater)
        if not np.isnan(value)
    ]
    units = [f"u{unit}" for unit in range(ratings.shape[1])]
    parts = pd.DataFrame({"recording": units, "speaker": units, "part": "test"})
    given = pd.DataFrame(rows, columns=["recording", "rater", "trait", "rating"])
    table = SimpleNamespace(rater_ratings=given, traits=("breathy",), scale=Scale(levels, levels[1]))
    return table, SimpleNamespace(parts=parts)


def test_the_published_alpha_is_found_with_missing_ratings():
    found = rater_reliability(*make(EXAMPLE_C, (1.0, 2.0, 3.0, 4.0, 5.0)))["test"]["breathy"]
    alpha = found["krippendorff_alpha"]
    assert alpha["value"] == pytest.approx(0.8154, abs=1e-3)
    assert alpha["low"] < alpha["value"] < alpha["high"]
    assert alpha["n"] == 11  # one unit has a single rating
    assert found["icc_a1"]["n"] == 8


def test_the_published_icc_are_found():
    found = rater_reliability(*make(SHROUT_FLEISS, tuple(map(float, range(1, 11)))))["test"]["breathy"]
    assert found["icc_a1"]["value"] == pytest.approx(0.290, abs=1e-3)
    assert found["icc_ak"]["value"] == pytest.approx(0.620, abs=1e-3)
    assert found["krippendorff_alpha"]["value"] == pytest.approx(float(krippendorff_alpha(SHROUT_FLEISS.T)))


def test_people_who_agree_and_people_who_do_not():
    random = np.random.default_rng(0)
    truth = random.integers(1, 5, 60).astype(float)
    same = rater_reliability(*make(np.stack([truth] * 3), (1.0, 2.0, 3.0, 4.0)))["test"]["breathy"]
    assert [found["value"] for found in same.values()] == pytest.approx([1.0] * 4)
    apart = random.integers(1, 5, (3, 60)).astype(float)
    guesses = rater_reliability(*make(apart, (1.0, 2.0, 3.0, 4.0)))["test"]["breathy"]
    for name in ("krippendorff_alpha", "pairwise_qwk", "icc_a1"):
        assert guesses[name]["low"] < 0.1 < guesses[name]["high"] + 0.1


def test_what_cannot_be_said_is_null_with_a_reason():
    other_raters = np.full((4, 4), np.nan)
    np.fill_diagonal(other_raters, 2.0)
    found = rater_reliability(*make(other_raters, (1.0, 2.0, 3.0)))["test"]["breathy"]
    assert all(each["value"] is None and each["reason"] for each in found.values())
    assert rater_reliability(*make(np.array([[1.0, 2.0]]), (1.0, 2.0))) == {}
