"""Losses that compare the recordings of a batch with each other."""

import numpy as np
import pytest
import torch
from scipy import stats

from lalia.model.heads import build_head
from lalia.model.joint_losses import concordance_losses
from lalia.model.losses import RatingLoss
from lalia.scale import Scale

NAN = torch.nan
SCALE = Scale((1, 2, 3, 4), present_from=3)
BATCHES = {
    "a trait without ratings": [[NAN, 1.0], [NAN, 4.0], [NAN, 2.0]],
    "no ratings": [[NAN, NAN]] * 3,
    "one level": [[2.1, 1.0], [2.1, 1.0], [2.1, NAN]],
    "one rating": [[2.0, 3.0], [NAN, 3.0], [NAN, 1.0]],
}


def make_head(kind, method="cumulative", n_traits=2):
    torch.manual_seed(0)
    return build_head(kind, method=method, width=5, n_traits=n_traits, scale=SCALE)


def concordance(values, ratings):
    """The coefficient from scipy's Pearson correlation and numpy's moments."""
    r = stats.pearsonr(values, ratings).statistic
    spreads = values.var() + ratings.var()
    return 2 * r * values.std() * ratings.std() / (spreads + (values.mean() - ratings.mean()) ** 2)


def test_concordance_is_that_of_scipys_moments_without_missing_ratings():
    rng = np.random.default_rng(0)
    ratings = rng.integers(1, 5, (40, 3)).astype(float)
    values = ratings + rng.normal(0.5, 1.0, ratings.shape)
    ratings[rng.random(ratings.shape) < 0.3] = np.nan
    found = concordance_losses(torch.tensor(values), torch.tensor(ratings))
    there = ~np.isnan(ratings)
    expected = [1 - concordance(values[there[:, t], t], ratings[there[:, t], t]) for t in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_the_gradient_of_concordance_is_that_of_finite_differences():
    ratings = torch.tensor([[1.0, 2.0], [3.0, NAN], [4.0, 1.0], [2.0, 4.0]], dtype=torch.float64)
    values = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: concordance_losses(given, ratings), values)


def test_concordance_does_not_depend_on_the_units_of_the_scale():
    ratings = torch.tensor([[1.0], [4.0], [2.0], [3.0]])
    raw = torch.tensor([[[1.5]], [[3.0]], [[2.5]], [[2.0]]])
    small = RatingLoss("concordance")(make_head("regression", n_traits=1), raw, ratings).losses
    large_head = build_head("regression", width=5, n_traits=1, scale=Scale((100, 200, 300, 400), present_from=300))
    large = RatingLoss("concordance")(large_head, 100 * raw, 100 * ratings).losses
    torch.testing.assert_close(small, large)


def test_each_rating_has_the_loss_of_its_trait_times_its_weight():
    ratings = torch.tensor([[1.0, 2.0], [3.0, NAN], [4.0, 1.0]])
    raw = torch.randn(3, 2, 1)
    weights = torch.tensor([[2.0] * 4, [0.5] * 4])
    losses, _ = RatingLoss("concordance", weights=weights)(make_head("regression"), raw, ratings)
    first, second = concordance_losses(raw.squeeze(-1), ratings).tolist()
    expected = torch.tensor([[2 * first, second / 2], [2 * first, 0.0], [2 * first, second / 2]])
    torch.testing.assert_close(losses, expected)


@pytest.mark.parametrize("ratings", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("spread", [0.0, 1.0, 1e4])
def test_concordance_and_its_gradient_are_finite_for_poor_batches(ratings, spread):
    given = torch.tensor(ratings)
    raw = (2.1 + spread * torch.randn(3, 2, 1)).requires_grad_()
    losses, _ = RatingLoss("concordance")(make_head("regression"), raw, given)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert raw.grad.isfinite().all()
    differ = torch.tensor([len({r for r in column if r == r}) > 1 for column in zip(*ratings, strict=True)])
    assert (raw.grad[:, ~differ] == 0).all()
    assert (raw.grad[given.isnan()] == 0).all()


def test_concordance_pulls_apart_what_is_all_the_same():
    raw = torch.full((3, 1, 1), 2.0, requires_grad=True)
    loss = RatingLoss("concordance")(make_head("regression", n_traits=1), raw, torch.tensor([[1.0], [2.0], [3.0]]))
    loss.losses.sum().backward()
    assert raw.grad[0] > 0 > raw.grad[2]
