import numpy as np
import pytest

from lalia.measures.levels import exact_agreement, linear_kappa, macro_mae, within_one


def test_linear_kappa_spans_the_full_scale():
    # observed 0 + 2 + 0 + 2; expected by hand from margins 1 1 0 2 and 1 1 0 2: 22 / 4
    assert linear_kappa([0, 1, 3, 3], [0, 3, 3, 1], n_levels=4) == pytest.approx(1 - 4 / 5.5)


def test_linear_kappa_is_nan_where_all_true_levels_are_equal_and_0_for_a_constant():
    assert np.isnan(linear_kappa([1, 1, 1], [0, 1, 2], n_levels=3))
    assert linear_kappa([0, 1, 2], [1, 1, 1], n_levels=3) == pytest.approx(0)


def test_linear_kappa_refuses_an_index_outside_the_scale():
    with pytest.raises(ValueError, match=r"whole numbers from 0 to 3, got \[1. 4.\]"):
        linear_kappa([0, 1], [1, 4], n_levels=4)


def test_agreement_exact_and_within_one_level():
    assert exact_agreement([0, 1, 2, 3], [0, 2, 2, 0]) == 0.5
    assert within_one([0, 1, 2, 3], [0, 2, 2, 0]) == 0.75
    assert np.isnan(exact_agreement([], []))


def test_macro_mae_gives_a_rare_level_its_full_weight():
    ratings, scores = [1, 1, 1, 4], [1, 1, 1, 2]
    assert macro_mae(ratings, scores, [0, 0, 0, 3]) == 1
    # a replicate without the rare level is of the other alone
    assert macro_mae(ratings, scores, [0, 0, 0, 3], weights=[[1, 1, 1, 0]]) == 0
