import math

import pytest
import torch

from lalia.model.heads import build_head
from lalia.model.losses import rating_loss
from lalia.scale import Scale

SCALE = Scale((1, 2, 3, 4), present_from=3)
NAN = torch.nan
HEADS = [("binary", ""), ("ordinal", "cumulative"), ("ordinal", "coral"), ("ordinal", "corn"), ("regression", "")]


def make_head(kind, method="cumulative", n_traits=2, scale=SCALE):
    torch.manual_seed(0)
    return build_head(kind, method=method, width=5, n_traits=n_traits, scale=scale)


def bce(logit, target):
    return math.log1p(math.exp(-logit if target else logit))


def test_binary_loss_by_hand():
    raw = torch.tensor([[[0.7], [-0.2]]])
    losses = rating_loss(make_head("binary"), raw, torch.tensor([[3.0, 1.0]])).losses
    torch.testing.assert_close(losses, torch.tensor([[bce(0.7, True), bce(-0.2, False)]]))


def test_cumulative_loss_by_hand():
    raw = torch.tensor([[[2.0, 0.5, -1.0]]])
    losses = rating_loss(make_head("ordinal", n_traits=1), raw, torch.tensor([[3.0]])).losses
    expected = (bce(2.0, True) + bce(0.5, True) + bce(-1.0, False)) / 3
    torch.testing.assert_close(losses, torch.tensor([[expected]]))


@pytest.mark.parametrize(
    ("rating", "likelihood"), [(1.0, 0.1), (2.0, 0.9 * 0.4), (3.0, 0.9 * 0.6 * 0.5), (4.0, 0.9 * 0.6 * 0.5)]
)
def test_corn_loss_is_the_negative_log_likelihood_of_the_level_per_threshold(rating, likelihood):
    raw = torch.logit(torch.tensor([[[0.9, 0.6, 0.5]]]))
    losses = rating_loss(make_head("ordinal", "corn", n_traits=1), raw, torch.tensor([[rating]])).losses
    torch.testing.assert_close(losses, torch.tensor([[-math.log(likelihood) / 3]]))


@pytest.mark.parametrize("scale", [Scale((1, 2, 3, 4), 3), Scale((0, 25, 75, 100), 75)])
def test_regression_loss_counts_in_half_ranges(scale):
    low, high = scale.levels[0], scale.levels[-1]
    raw = torch.tensor([[[low], [(low + high) / 2]]])
    losses = rating_loss(make_head("regression", scale=scale), raw, torch.tensor([[high, high]])).losses
    torch.testing.assert_close(losses, torch.tensor([[4.0, 1.0]]))


def test_regression_loss_keeps_a_median_between_two_levels():
    losses = rating_loss(make_head("regression", n_traits=1), torch.tensor([[[2.5]]]), torch.tensor([[2.5]])).losses
    assert losses.item() == 0


@pytest.mark.parametrize(("kind", "method"), HEADS[:4])
def test_a_median_between_two_levels_counts_as_the_lower_one(kind, method):
    head = make_head(kind, method, n_traits=1)
    raw = head(torch.randn(1, 5))
    between = rating_loss(head, raw, torch.tensor([[2.5]])).losses
    assert torch.equal(between, rating_loss(head, raw, torch.tensor([[2.0]])).losses)


@pytest.mark.parametrize(("kind", "method"), HEADS)
def test_missing_ratings_change_neither_losses_nor_gradients(kind, method):
    head = make_head(kind, method)
    embedding = torch.randn(3, 5)
    ratings = torch.tensor([[1.0, NAN], [NAN, 4.0], [2.0, 3.0]])
    losses, has_rating = rating_loss(head, head(embedding), ratings)
    assert has_rating.tolist() == [[True, False], [False, True], [True, True]]
    assert (losses[~has_rating] == 0).all()
    losses.sum().backward()
    gradients = [parameter.grad.clone() for parameter in head.parameters()]
    head.zero_grad()
    # any value in place of the missing ones, and their losses left out
    (rating_loss(head, head(embedding), ratings.nan_to_num(nan=4.0)).losses * has_rating).sum().backward()
    for gradient, parameter in zip(gradients, head.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_a_mask_after_the_loss_would_poison_the_gradients():
    logit = torch.zeros(1, requires_grad=True)
    loss = torch.nn.functional.mse_loss(logit, torch.tensor([NAN]), reduction="none")
    torch.where(torch.tensor([False]), loss, 0.0).sum().backward()
    assert logit.grad.isnan().all()  # why rating_loss masks before


@pytest.mark.parametrize(("kind", "method"), HEADS)
@pytest.mark.parametrize(
    "ratings",
    [
        [[NAN, 1.0], [NAN, 4.0]],
        [[NAN, NAN], [NAN, NAN]],
        [[2.0, 2.0], [2.0, 2.0]],
        [[1.0, 1.0], [1.0, 1.0]],
        [[4.0, 4.0], [4.0, 4.0]],
    ],
    ids=["trait without ratings", "no ratings", "one level", "lowest level", "highest level"],
)
def test_losses_and_gradients_are_finite_for_poor_batches(kind, method, ratings):
    head = make_head(kind, method)
    losses, _ = rating_loss(head, head(torch.randn(2, 5)), torch.tensor(ratings))
    losses.sum().backward()
    assert losses.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


@pytest.mark.parametrize(("kind", "method"), HEADS)
def test_losses_and_gradients_are_finite_for_extreme_outputs(kind, method):
    head = make_head(kind, method, n_traits=1)
    raw = torch.full((2, 1, 3 if kind == "ordinal" else 1), 1e4).requires_grad_()
    losses, _ = rating_loss(head, raw, torch.tensor([[1.0], [4.0]]))
    losses.sum().backward()
    assert losses.isfinite().all()
    assert raw.grad.isfinite().all()


def test_outputs_of_half_precision_are_compared_in_that_of_the_ratings():
    losses = rating_loss(make_head("binary"), torch.zeros(1, 2, 1, dtype=torch.bfloat16), torch.ones(1, 2)).losses
    assert losses.dtype == torch.float32


def test_where_the_loss_of_coral_is_lowest_its_biases_are_in_order():
    head = make_head("ordinal", "coral", n_traits=1)
    output, features = head.outputs[0], torch.randn(60, 5)
    levels = (2.5 + features.sum(dim=1)).round().clamp(1, 4).unsqueeze(1)
    output.bias.data = torch.tensor([-3.0, 0.0, 3.0])  # falling biases are in order, these rise
    optimizer = torch.optim.LBFGS([output.bias], max_iter=100)

    def loss():
        optimizer.zero_grad()
        total = rating_loss(head, output(features).unsqueeze(1), levels).losses.mean()
        total.backward()
        return total

    optimizer.step(loss)
    assert output.bias.grad.abs().max() < 1e-4
    assert (output.bias.diff() < 0).all()
