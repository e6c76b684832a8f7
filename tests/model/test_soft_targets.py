"""The raters' distribution over the levels as what is learned."""

import pytest
import torch
from coral_pytorch.losses import coral_loss, corn_loss
from torch.nn.functional import binary_cross_entropy_with_logits

from lalia.model.heads import build_head
from lalia.model.losses import RatingLoss, rating_loss
from lalia.scale import Scale

NAN = torch.nan
SCALE = Scale((1, 2, 3, 4), present_from=3)
HEADS = [("binary", ""), ("ordinal", "cumulative"), ("ordinal", "coral"), ("ordinal", "corn")]
# two raters said 1, one said 3
SHARES = torch.tensor([[[2 / 3, 0.0, 1 / 3, 0.0]]])


def make_head(kind, method="cumulative", n_traits=1):
    torch.manual_seed(0)
    return build_head(kind, method=method, width=5, n_traits=n_traits, scale=SCALE)


def draw_raw(kind, recordings=1, traits=1):
    return torch.randn(recordings, traits, 1 if kind == "binary" else 3, requires_grad=True)


@pytest.mark.parametrize("method", ["cumulative", "coral"])
def test_each_threshold_learns_the_share_of_raters_that_reach_it(method):
    raw = draw_raw("ordinal")
    found = RatingLoss()(make_head("ordinal", method), raw, torch.tensor([[1.0]]), SHARES).losses
    reach = torch.tensor([[[1 / 3, 1 / 3, 0.0]]])
    torch.testing.assert_close(found, binary_cross_entropy_with_logits(raw, reach, reduction="none").mean(dim=-1))


@pytest.mark.parametrize(("kind", "method"), HEADS)
def test_the_loss_of_shares_is_the_mean_over_the_raters(kind, method):
    head, raw = make_head(kind, method), draw_raw(kind)
    found = RatingLoss(label_smoothing=0.1)(head, raw, torch.tensor([[1.0]]), SHARES).losses
    of_raters = [RatingLoss(label_smoothing=0.1)(head, raw, torch.tensor([[r]])).losses for r in (1.0, 1.0, 3.0)]
    torch.testing.assert_close(found, torch.stack(of_raters).mean(dim=0))


@pytest.mark.parametrize(("kind", "method"), HEADS)
def test_the_shares_of_one_rater_are_the_plain_targets(kind, method):
    head, raw, ratings = make_head(kind, method), draw_raw(kind, 4), torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    shares = torch.eye(4).unsqueeze(1)
    assert torch.equal(RatingLoss()(head, raw, ratings, shares).losses, rating_loss(head, raw, ratings).losses)


def test_the_losses_of_raters_are_those_of_coral_pytorch():
    raw, levels = draw_raw("ordinal"), torch.tensor([0, 0, 2])
    given = raw.reshape(1, 3).expand(3, 3)
    reach = (levels.unsqueeze(1) > torch.arange(3)).float()
    coral = RatingLoss()(make_head("ordinal", "coral"), raw, torch.tensor([[1.0]]), SHARES).losses
    torch.testing.assert_close(3 * coral.squeeze(), coral_loss(given, reach))
    corn = RatingLoss()(make_head("ordinal", "corn"), raw, torch.tensor([[1.0]]), SHARES).losses
    # theirs is a mean over the terms: 3 raters at the first threshold, 1 at the second, 1 at the third
    torch.testing.assert_close(9 * corn.squeeze(), 5 * corn_loss(given, levels, num_classes=4))


@pytest.mark.parametrize(("kind", "method"), HEADS)
def test_shares_of_missing_ratings_change_nothing(kind, method):
    head, raw = make_head(kind, method, n_traits=2), draw_raw(kind, 1, 2)
    shares = torch.cat([SHARES, torch.full((1, 1, 4), NAN)], dim=1)
    losses, _ = RatingLoss(focal_gamma=0.5, label_smoothing=0.1)(head, raw, torch.tensor([[1.0, NAN]]), shares)
    losses.sum().backward()
    assert losses[0, 1] == 0
    assert (raw.grad[0, 1] == 0).all()
    assert raw.grad.isfinite().all()


@pytest.mark.parametrize(("kind", "method"), HEADS)
@pytest.mark.parametrize("level", [None, 0, 3])
def test_losses_and_gradients_are_finite_for_poor_batches(kind, method, level):
    head, raw = make_head(kind, method), draw_raw(kind, 2)
    shares = torch.full((2, 1, 4), NAN)
    if level is not None:
        shares = torch.zeros(2, 1, 4).index_fill(2, torch.tensor(level), 1.0)
    ratings = torch.full((2, 1), NAN if level is None else level + 1.0)
    losses, _ = RatingLoss(focal_gamma=0.5, label_smoothing=0.1)(head, raw * 100, ratings, shares)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert raw.grad.isfinite().all()


def test_shares_that_round_above_1_stay_a_probability():
    shares = torch.tensor([[[0.0, 0.1, 0.2, 0.7]]]) * (1 + 1e-6)
    raw = torch.full((1, 1, 3), -100.0)
    given = RatingLoss()(make_head("ordinal"), raw, torch.tensor([[3.0]]), shares).losses
    assert given <= (100 * (1.0 + 0.9 + 0.7) / 3) * (1 + 2e-6)
