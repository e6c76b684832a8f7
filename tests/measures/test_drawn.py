"""Metrics of many scorings at once: bit by bit those of one at a time."""

import numpy as np
import pytest

from lalia.measures import weighted
from lalia.measures.drawn import (
    Draws,
    auc_of_each,
    balanced_accuracy_of_each,
    qwk_of_each,
    spearman_of_each,
)
from lalia.measures.metrics import auc, balanced_accuracy, qwk, spearman
from lalia.measures.uncertainty import speaker_weights


def make_rows(rows, speakers, scorings=4, replicates=50):
    random = np.random.default_rng(0)
    names = np.array([f"s{number}" for number in random.integers(0, speakers, size=rows)])
    weights = speaker_weights(list(names), replicates, 0)
    index = random.integers(0, 4, size=rows)
    scores = random.normal(size=(scorings, rows))
    scores[1] = scores[1].round(0)
    scores[2] = 3.0
    with_all = np.concatenate([np.ones((1, rows)), weights])
    return index, scores, Draws.of(weights, names), with_all


@pytest.fixture(params=[(60, 8), (12, 3), (3, 2), (40, 400)], ids=str)
def rows(request):
    return make_rows(*request.param)


@pytest.fixture(params=[0, 10**9], ids=["sorted", "paired"], autouse=True)
def way(request, monkeypatch):
    monkeypatch.setattr(weighted, "_MOST_PAIRS_PER_ROW", request.param)


def test_auc_of_each_is_that_of_one(rows):
    index, scores, draws, weights = rows
    expected = [auc(index >= 2, one, weights) for one in scores]
    np.testing.assert_array_equal(auc_of_each(index >= 2, scores, draws), expected)


def test_spearman_of_each_is_that_of_one_with_ties_and_with_equal_scores(rows):
    index, scores, draws, weights = rows
    expected = [spearman(index + 1.0, one, weights) for one in scores]
    np.testing.assert_array_equal(spearman_of_each(index + 1.0, scores, draws), expected)


def test_balanced_accuracy_and_kappa_of_each_are_those_of_one(rows):
    index, scores, draws, weights = rows
    called, levels = scores > 0, np.clip(scores.round() + 1, 0, 3).astype(int)
    expected = [balanced_accuracy(index >= 2, one, weights) for one in called]
    np.testing.assert_array_equal(balanced_accuracy_of_each(index >= 2, called, draws), expected)
    expected = [qwk(index, one, 4, weights) for one in levels]
    np.testing.assert_array_equal(qwk_of_each(index, levels, draws), expected)


def test_so_many_rows_that_float32_would_round_are_counted_in_float64(monkeypatch):
    index, scores, draws, _ = make_rows(200, 20)
    expected = spearman_of_each(index + 1.0, scores, draws)
    monkeypatch.setattr(weighted, "_EXACT_SINGLE", 1)
    np.testing.assert_array_equal(spearman_of_each(index + 1.0, scores, draws), expected)


def test_speakers_that_were_not_drawn_leave_every_replicate_undefined():
    index, scores, _, _ = make_rows(12, 3)
    draws = Draws.of(np.zeros((5, 12)), ["a"] * 12)
    found = auc_of_each(index >= 2, scores, draws)
    assert np.isfinite(found[:, 0]).all()
    assert np.isnan(found[:, 1:]).all()
