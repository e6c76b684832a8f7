import numpy as np
import pytest

from lalia.measures.agreement import mae, pearson, qwk, spearman


def test_spearman_sees_the_order_only():
    assert spearman([1, 2, 3, 4], [0.0, 0.1, 5.0, 500.0]) == 1


def test_spearman_of_ties_by_hand():
    # ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4: covariance 4.5 / sqrt(4.5 * 5)
    assert spearman([1, 2, 2, 4], [1, 3, 2, 4]) == pytest.approx(4.5 / np.sqrt(4.5 * 5))


def test_pearson_of_a_falling_line_is_minus_1():
    assert pearson([1, 2, 3], [10, 8, 6]) == pytest.approx(-1)


def test_pearson_survives_a_large_offset_and_a_tiny_spread():
    x = np.array([1.0, 2.0, 4.0, 3.0])
    assert pearson(x, 1e9 + x) == pytest.approx(1)
    assert pearson(x, 1e-200 * x) == pytest.approx(1)


def test_mae_is_in_units_of_the_scale():
    assert mae([1, 2, 4], [1.5, 2, 2.5]) == pytest.approx(2 / 3)


def test_qwk_spans_the_full_scale():
    # without the full scale, levels 1, 2 and 4 would be numbered 0, 1, 2 and give 0.636
    assert qwk([0, 1, 3, 3], [0, 3, 3, 1], n_levels=4) == pytest.approx(0.407, abs=5e-4)


def test_qwk_of_one_constant_prediction_is_chance():
    assert qwk([0, 1, 2], [1, 1, 1], n_levels=3) == 0


def test_qwk_is_nan_where_all_true_levels_are_equal():
    assert np.isnan(qwk([1, 1, 1], [0, 1, 2], n_levels=3))


def test_qwk_refuses_an_index_outside_the_scale():
    with pytest.raises(ValueError, match=r"whole numbers from 0 to 3, got \[1. 4.\]"):
        qwk([0, 1], [1, 4], n_levels=4)


@pytest.mark.parametrize("metric", [spearman, pearson])
@pytest.mark.parametrize("sides", [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [0.1, 0.1, 0.1]), ([], [])])
def test_a_correlation_of_too_few_or_equal_values_is_nan(metric, sides):
    assert np.isnan(metric(*sides))


@pytest.mark.parametrize("metric", [spearman, pearson])
def test_a_correlation_is_nan_in_replicates_that_drew_equal_values(metric):
    # 0.1 + 0.1 + 0.1 is not 0.3: a variance of rounding error must not pass for one
    varied, equal = [1, 2, 4, 3], [0.1, 0.1, 0.1, 7.3]
    for sides in ((varied, equal), (equal, varied)):
        values = metric(*sides, weights=[[1, 1, 1, 1], [3, 7, 9, 0], [5, 5, 1, 0]])
        np.testing.assert_array_equal(np.isnan(values), [False, True, True])


def test_the_order_of_rows_changes_nothing():
    ratings, scores, weights = np.array([1, 2, 2, 4]), np.array([0.3, 0.1, 0.9, 0.5]), np.array([[1, 0, 2, 3]])
    order = [2, 0, 3, 1]
    for metric in (spearman, pearson, mae):
        assert metric(ratings, scores, weights) == pytest.approx(
            metric(ratings[order], scores[order], weights[:, order])
        )
