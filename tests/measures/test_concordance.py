import numpy as np
import pytest

from lalia.measures.concordance import bias, ccc, icc, icc_of_two, lower_limit, upper_limit

# Shrout and Fleiss 1979, table 2: six targets, four judges
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])


@pytest.mark.parametrize(
    ("form", "published"),
    [("1,1", 0.166), ("A,1", 0.290), ("C,1", 0.715), ("1,k", 0.443), ("A,k", 0.620), ("C,k", 0.909)],
)
def test_icc_gives_the_published_values(form, published):
    assert icc(JUDGES, form) == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize("form", ["1,1", "A,1", "C,1", "1,k", "A,k", "C,k"])
def test_icc_under_weights_is_that_of_the_repeated_recordings(form):
    drawn = np.random.default_rng(0).integers(1, 4, (5, 6))
    expected = [icc(np.repeat(JUDGES, times, axis=0), form) for times in drawn]
    np.testing.assert_allclose(icc(JUDGES, form, weights=drawn), expected)


def test_icc_of_two_is_icc_of_their_columns():
    assert icc_of_two(JUDGES[:, 0], JUDGES[:, 3]) == pytest.approx(icc(JUDGES[:, [0, 3]], "A,1"))


def test_icc_refuses_missing_ratings():
    with pytest.raises(ValueError, match="none may be missing"):
        icc([[1, 2], [3, float("nan")]])


@pytest.mark.parametrize("ratings", [np.empty((0, 3)), [[1, 2]], [[1], [2], [3]], [[2, 2], [2, 2]]])
def test_icc_is_nan_where_it_is_undefined(ratings):
    assert np.isnan(icc(ratings))


def test_a_shift_lowers_concordance_but_not_order():
    ratings = np.array([1.0, 2, 3, 4])
    assert ccc(ratings, ratings) == pytest.approx(1)
    # var + var + shift^2 = 1.25 + 1.25 + 1
    assert ccc(ratings, ratings + 1) == pytest.approx(2.5 / 3.5)


def test_equal_scores_have_no_concordance_and_equal_ratings_leave_it_undefined():
    assert ccc([1, 2, 3], [2, 2, 2]) == pytest.approx(0)
    assert icc_of_two([1, 2, 3], [2, 2, 2]) == pytest.approx(0)
    assert np.isnan(ccc([2, 2, 2], [1, 2, 3]))
    assert np.isnan(icc_of_two([2, 2, 2], [1, 2, 3]))


def test_concordance_survives_a_large_offset():
    ratings = np.array([1.0, 2, 4, 3])
    assert ccc(1e8 + ratings, 1e8 + ratings + 1) == pytest.approx(ccc(ratings, ratings + 1))


def test_bias_and_limits_by_hand():
    # differences 0, 1, 2: mean 1, standard deviation 1
    sides = ([1, 2, 3], [1, 3, 5])
    assert bias(*sides) == pytest.approx(1)
    assert [lower_limit(*sides), upper_limit(*sides)] == pytest.approx([-0.96, 2.96])
    assert np.isnan(lower_limit([1], [2]))
