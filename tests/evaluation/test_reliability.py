"""Agreement coefficients of the people who rated."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from lalia.evaluation.reliability import rater_reliability
from lalia.measures.concordance import icc
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


NO_REPEATS = pd.DataFrame(columns=["recording", "rater", "trait", "repeat", "rating"])


def make(ratings, levels, repeats=NO_REPEATS):
    rows = [
        (f"u{unit}", f"r{rater}", "breathy", value)
        for rater, of_rater in enumerate(ratings)
        for unit, value in enumerate(of_rater)
        if not np.isnan(value)
    ]
    units = [f"u{unit}" for unit in range(ratings.shape[1])]
    parts = pd.DataFrame({"recording": units, "speaker": units, "part": "test"})
    given = pd.DataFrame(rows, columns=["recording", "rater", "trait", "rating"])
    table = SimpleNamespace(rater_ratings=given, traits=("breathy",), scale=Scale(levels, levels[1]), repeats=repeats)
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


def repeat(ratings, rater, number=2):
    rows = [(f"u{unit}", rater, "breathy", number, value) for unit, value in enumerate(ratings)]
    return pd.DataFrame(rows, columns=NO_REPEATS.columns)


def test_agreement_of_a_rater_with_themselves_is_that_of_scikit_learn_as_a_mean_over_raters():
    random = np.random.default_rng(0)
    first = random.integers(1, 5, (2, 40)).astype(float)
    again = np.clip(first + random.integers(-1, 2, (2, 40)), 1, 4)
    repeats = pd.concat([repeat(again[0], "r0"), repeat(again[1, :20], "r1"), repeat(again[1], "r1", number=3)])
    found = rater_reliability(*make(first, (1.0, 2.0, 3.0, 4.0), repeats))["test"]["breathy"]
    kappas = [
        cohen_kappa_score(first[rater, :n], again[rater, :n], labels=[1, 2, 3, 4], weights="quadratic")
        for rater, n in ((0, 40), (1, 20))
    ]
    kappa, icc_of_pairs = found["intra_rater_qwk"], found["intra_rater_icc"]
    assert kappa["value"] == pytest.approx(np.mean(kappas))
    assert kappa["low"] < kappa["value"] < kappa["high"]
    pairs = np.column_stack([[*first[0], *first[1, :20]], [*again[0], *again[1, :20]]])
    assert icc_of_pairs["value"] == pytest.approx(float(icc(pairs, "A,1")))
    assert kappa["n"] == icc_of_pairs["n"] == 60


def test_one_rater_who_rated_twice_has_agreement_with_themselves_alone():
    ratings = np.array([[1.0, 2.0, 3.0, 4.0, 2.0]])
    found = rater_reliability(*make(ratings, (1.0, 2.0, 3.0, 4.0), repeat(ratings[0], "r0")))["test"]["breathy"]
    assert found["intra_rater_qwk"]["value"] == pytest.approx(1)
    assert found["krippendorff_alpha"]["value"] is None


def test_a_trait_that_nobody_rated_twice_says_so():
    table, split = make(np.ones((2, 4)), (1.0, 2.0), repeat([2.0], "r0"))
    table.traits = ("breathy", "slow")
    found = rater_reliability(table, split)["test"]
    assert found["slow"]["intra_rater_qwk"]["reason"] == "no rater rated a recording twice"
    assert found["breathy"]["intra_rater_icc"]["reason"] == "fewer than 3 ratings were repeated"
