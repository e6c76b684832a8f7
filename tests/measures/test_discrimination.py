import math

import numpy as np
import pytest

from lalia.measures.discrimination import (
    accuracy,
    auc,
    average_precision,
    balanced_accuracy,
    best_threshold,
    sensitivity,
    specificity,
)

PRESENT = [True, True, True, False]
CALLED = [True, True, False, True]


def test_auc_counts_a_tie_as_half():
    assert auc([0, 1], [0.5, 0.5]) == 0.5
    assert auc([0, 1, 1], [0.5, 0.5, 0.9]) == 0.75


def test_auc_of_reversed_scores_is_what_is_missing_to_1():
    present, scores = [0, 1, 0, 1, 1], np.array([0.1, 0.3, 0.3, 0.2, 0.9])
    assert auc(present, scores) == 1 - auc(present, -scores)


def test_average_precision_of_a_perfect_order_is_1():
    assert average_precision([0, 0, 1], [0.1, 0.2, 0.3]) == 1


def test_calls_are_counted_by_class():
    assert sensitivity(PRESENT, CALLED) == pytest.approx(2 / 3)
    assert specificity(PRESENT, CALLED) == 0
    assert balanced_accuracy(PRESENT, CALLED) == pytest.approx(1 / 3)
    assert accuracy(PRESENT, CALLED) == 0.5


@pytest.mark.parametrize("metric", [auc, average_precision, balanced_accuracy, sensitivity])
def test_a_metric_without_present_rows_is_nan(metric):
    assert np.isnan(metric([0, 0, 0], [0, 1, 0]))


@pytest.mark.parametrize("metric", [auc, average_precision, balanced_accuracy, specificity])
def test_a_metric_without_absent_rows_is_nan(metric):
    assert np.isnan(metric([1, 1, 1], [0, 1, 0]))


def test_a_replicate_that_drew_one_class_is_nan_and_the_others_are_not():
    values = auc([0, 1, 1], [0.1, 0.2, 0.3], weights=[[1, 1, 1], [0, 2, 1], [0, 0, 0]])
    np.testing.assert_array_equal(values, [1, np.nan, np.nan])


def test_a_missing_rating_is_refused_instead_of_counting_as_present():
    with pytest.raises(ValueError, match="leave out the rows without a rating"):
        auc([0, 1, float("nan")], [0.1, 0.2, 0.3])


def test_a_missing_score_is_refused():
    with pytest.raises(ValueError, match="must be one list of finite numbers"):
        auc([0, 1], [0.1, float("nan")])


def test_sides_of_different_length_are_refused():
    with pytest.raises(ValueError, match="one value per row on both sides, got 2 and 3"):
        sensitivity([0, 1], [0, 1, 1])


def test_threshold_separates_the_classes_midway():
    assert best_threshold([0, 0, 1, 1], [0.1, 0.2, 0.4, 0.9]) == pytest.approx(0.3)


def test_threshold_follows_balanced_accuracy_not_accuracy():
    # calling everything from 0.2 on finds the only present row and is right in two of four absent ones
    assert best_threshold([0, 0, 0, 0, 1], [0.1, 0.1, 0.6, 0.7, 0.3]) == pytest.approx(0.2)


def test_threshold_takes_the_cut_nearest_to_a_half_among_equally_good_ones():
    present = [0, 1, 0, 1]
    cuts = {0.05: 0.75, 0.35: 0.5, 0.8: 0.75}  # cut -> balanced accuracy
    probability = np.array([0.0, 0.1, 0.6, 1.0])
    for cut, value in cuts.items():
        assert balanced_accuracy(present, probability >= cut) == value
    assert best_threshold(present, probability) == pytest.approx(0.8)


def test_threshold_is_never_beaten_by_another_cut():
    generator = np.random.default_rng(0)
    for _ in range(50):
        present = np.arange(12) % 3 == 0
        probability = generator.integers(0, 8, 12) / 8
        chosen = balanced_accuracy(present, probability >= best_threshold(present, probability))
        distinct = np.unique(probability)
        assert chosen == max(balanced_accuracy(present, probability >= cut) for cut in distinct[1:])


def test_threshold_between_neighbouring_floats_still_separates_them():
    low, high = 0.7, math.nextafter(0.7, 1)
    assert low < best_threshold([0, 1], [low, high]) <= high


def test_threshold_of_equal_probabilities_is_a_half():
    assert best_threshold([0, 1], [0.9, 0.9]) == 0.5


def test_threshold_with_one_class_is_nan():
    assert math.isnan(best_threshold([1, 1], [0.1, 0.9]))
