"""From a linear score to the probability of each level."""

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from lalia.evaluation.link import fit_link


def test_with_one_boundary_and_many_rows_it_is_a_logistic_regression():
    random = np.random.default_rng(0)
    scores = random.normal(size=(20_000, 1))
    index = (random.random((20_000, 1)) < expit(2 * scores + 1)).astype(int)
    link = fit_link(scores, index, np.array([1]))
    expected = LogisticRegression(C=1e6).fit(scores, index.ravel()).predict_proba(scores)[:, 1]
    np.testing.assert_allclose(link.reach(scores)[:, 0, 0], expected, atol=2e-3)


def test_the_probabilities_of_a_proportional_odds_model_are_found():
    random = np.random.default_rng(0)
    scores = random.normal(size=(50_000, 1))
    latent = 1.5 * scores + random.logistic(size=scores.shape)
    index = np.digitize(latent, [-1.0, 0.5, 2.0])
    reached = fit_link(scores, index, np.array([1, 2, 3])).reach(np.array([[-1.0], [0.0], [1.0]]))[:, 0]
    np.testing.assert_allclose(reached, expit(np.array([[-1.5], [0.0], [1.5]]) - [-1.0, 0.5, 2.0]), atol=0.02)


def test_missing_levels_do_not_matter_and_traits_are_apart():
    random = np.random.default_rng(0)
    scores = random.normal(size=(200, 2))
    index = (scores + random.normal(size=scores.shape) > 0).astype(int)
    index[150:, 1] = -1
    both = fit_link(scores, index, np.array([1])).reach(scores)
    alone = fit_link(scores[:150, 1:], index[:150, 1:], np.array([1])).reach(scores[:, 1:])
    np.testing.assert_allclose(both[:, 1:], alone)


def test_a_level_that_nobody_has_and_perfect_scores_give_finite_probabilities():
    scores = np.arange(10.0)[:, np.newaxis]
    index = (scores >= 5).astype(int)
    reached = fit_link(scores, index, np.array([1, 2])).reach(scores)[:, 0]
    assert np.isfinite(reached).all()
    assert (reached[:, 0] > 0.5).tolist() == [False] * 5 + [True] * 5
    assert (reached[:, 1] < 0.5).all()
    assert (np.diff(reached[:, 0]) > 0).all()


def test_scores_against_the_order_of_the_levels_keep_their_order_and_say_nothing():
    scores = np.arange(10.0)[:, np.newaxis]
    reached = fit_link(scores, (scores < 5).astype(int), np.array([1])).reach(scores)[:, 0, 0]
    assert (np.diff(reached) > 0).all()
    np.testing.assert_allclose(reached, 0.5, atol=0.01)


def test_a_trait_without_a_rating_and_constant_scores_are_no_error():
    link = fit_link(np.full((4, 2), 2.0), np.array([[-1, 0], [-1, 1], [-1, 1], [-1, 1]]), np.array([1]))
    np.testing.assert_allclose(link.reach(np.full((1, 2), 2.0))[0, 1], 0.7, atol=0.05)
    assert np.isfinite(link.reach(np.full((1, 2), 2.0))).all()
