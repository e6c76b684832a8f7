"""Focal loss, label smoothing, weights and the absolute error."""

import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from lalia.model.heads import build_head
from lalia.model.losses import RatingLoss, rating_loss, weigh_ratings
from lalia.scale import Scale

NAN = torch.nan
SCALE = Scale((1, 2, 3, 4), present_from=3)
HEADS = [("binary", ""), ("ordinal", "cumulative"), ("ordinal", "coral"), ("ordinal", "corn"), ("regression", "")]
BATCHES = [
    [[NAN, 1.0], [NAN, 4.0]],
    [[NAN, NAN], [NAN, NAN]],
    [[2.0, NAN]],
    [[1.0, 1.0], [1.0, 1.0]],
    [[4.0, 4.0], [4.0, 4.0]],
]


def make_head(kind, method="cumulative", n_traits=1):
    torch.manual_seed(0)
    return build_head(kind, method=method, width=5, n_traits=n_traits, scale=SCALE)


def test_focal_loss_by_hand():
    loss = RatingLoss(focal_gamma=2.0)(
        make_head("binary"), torch.tensor([[[0.7]], [[0.7]]]), torch.tensor([[4.0], [1.0]])
    )
    p = 1 / (1 + math.exp(-0.7))
    expected = torch.tensor([[-((1 - p) ** 2) * math.log(p)], [-(p**2) * math.log(1 - p)]])
    torch.testing.assert_close(loss.losses, expected)


@pytest.mark.parametrize(
    ("rating", "shares"),
    [(1.0, [0.8, 0.2, 0.0, 0.0]), (3.0, [0.0, 0.1, 0.8, 0.1]), (4.0, [0.0, 0.0, 0.2, 0.8])],
)
@pytest.mark.parametrize(("kind", "method"), HEADS[:4])
def test_a_smoothed_loss_is_the_mean_over_the_level_and_its_neighbours(kind, method, rating, shares):
    head = make_head(kind, method)
    raw = torch.randn(1, 1, 1 if kind == "binary" else 3)
    found = RatingLoss(label_smoothing=0.2)(head, raw, torch.tensor([[rating]])).losses
    of_levels = torch.cat([rating_loss(head, raw, torch.tensor([[level]])).losses for level in (1.0, 2.0, 3.0, 4.0)])
    torch.testing.assert_close(found, (of_levels * torch.tensor(shares).unsqueeze(1)).sum().reshape(1, 1))


def test_absolute_error_counts_in_half_ranges():
    loss = RatingLoss("absolute")(make_head("regression"), torch.tensor([[[2.5]]]), torch.tensor([[1.0]]))
    torch.testing.assert_close(loss.losses, torch.tensor([[1.0]]))


def test_weights_have_a_mean_of_1_over_the_ratings_and_the_ratios_asked_for():
    head = make_head("binary", n_traits=3)
    ratings = torch.tensor([[1.0, 2.0, NAN], [1.0, NAN, NAN], [1.0, NAN, NAN], [4.0, NAN, NAN]])
    weights = weigh_ratings(head, ratings, torch.tensor([1.0, 2.0, 1.0]), by_level=True)
    # 3 ratings of level 1 and one of 4, each count and one more: 1/4 and 1/2
    torch.testing.assert_close(weights[0, 3] / weights[0, 0], torch.tensor(2.0))
    mean_of_first = (3 * weights[0, 0] + weights[0, 3]) / 4
    torch.testing.assert_close(weights[1, 1] / mean_of_first, torch.tensor(2.0))
    torch.testing.assert_close((4 * mean_of_first + weights[1, 1]) / 5, torch.tensor(1.0))
    assert weights.isfinite().all()


def test_a_weight_multiplies_the_loss_of_its_trait_and_level_as_torchs_does():
    weights = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    raw, ratings = torch.randn(2, 2, 1), torch.tensor([[1.0, 4.0], [3.0, 2.0]])
    found = RatingLoss(weights=weights)(make_head("binary", n_traits=2), raw, ratings).losses
    of_ratings = torch.tensor([[1.0, 8.0], [3.0, 6.0]])
    expected = binary_cross_entropy_with_logits(
        raw[..., 0], (ratings >= 3).float(), weight=of_ratings, reduction="none"
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("ratings", BATCHES)
@pytest.mark.parametrize("regression", ["squared", "absolute"])
@pytest.mark.parametrize(("kind", "method"), HEADS)
def test_losses_and_gradients_are_finite_for_poor_batches(kind, method, regression, ratings):
    head = make_head(kind, method, n_traits=2)
    given = torch.tensor(ratings)
    weights = weigh_ratings(head, given, torch.ones(2), by_level=True)
    loss = RatingLoss(regression, focal_gamma=0.5, label_smoothing=0.1, weights=weights)
    raw = (head(torch.randn(len(ratings), 5)) * 100).detach().requires_grad_()
    losses, _ = loss(head, raw, given)
    losses.sum().backward()
    assert weights.isfinite().all()
    assert losses.isfinite().all()
    assert raw.grad.isfinite().all()
    assert (raw.grad[given.isnan()] == 0).all()


def test_the_probability_that_minimises_a_focal_loss_is_less_sure_than_the_frequency():
    p = torch.linspace(0.01, 0.99, 99)
    ratings = torch.tensor([[4.0]]).expand(99, 1)
    present, absent = (
        RatingLoss(focal_gamma=2.0)(make_head("binary"), torch.logit(p).reshape(99, 1, 1), given).losses.squeeze()
        for given in (ratings, ratings - 3)
    )
    best = p[(0.9 * present + 0.1 * absent).argmin()]
    assert 0.5 < best < 0.85
