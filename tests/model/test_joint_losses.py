"""Losses that compare the recordings of a batch with each other."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import binary_cross_entropy_with_logits, margin_ranking_loss

from lalia.model.heads import build_head
from lalia.model.joint_losses import Rank, concordance_losses, rank_losses
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


def pairs_by_hand(scores, ratings, margin, speakers=None):
    """The mean of torch's margin ranking loss over the pairs, made one by one."""
    losses = [
        margin_ranking_loss(scores[i], scores[j], torch.sign(ratings[i] - ratings[j]), margin=margin)
        for i, j in itertools.combinations(range(len(scores)), 2)
        if not (ratings[i].isnan() or ratings[j].isnan() or ratings[i] == ratings[j])
        and (speakers is None or speakers[i] != speakers[j])
    ]
    return torch.stack(losses).mean() if losses else torch.tensor(0.0)


@pytest.mark.parametrize("across", [True, False])
def test_the_rank_loss_is_torchs_over_all_pairs_that_differ(across, monkeypatch):
    monkeypatch.setattr("lalia.model.joint_losses._AT_ONCE", 7)
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(20, 3, generator=generator)
    ratings = torch.randint(1, 5, (20, 3), generator=generator).float()
    ratings[torch.rand(20, 3, generator=generator) < 0.2] = NAN
    speakers = torch.randint(0, 5, (20,), generator=generator) if across else None
    found = rank_losses(scores, ratings, 0.7, speakers)
    expected = [pairs_by_hand(scores[:, t], ratings[:, t], 0.7, speakers) for t in range(3)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_bce_weight_mixes_the_cross_entropy_of_each_rating_with_the_ranking_of_its_trait():
    head, raw, ratings = make_head("binary"), torch.randn(4, 2, 1), torch.tensor([[1.0, 4], [2, NAN], [3, 1], [4, 2]])
    speakers = torch.tensor([0, 0, 1, 2])
    losses, has_rating = RatingLoss(rank=Rank(1.0, 0.3, True))(head, raw, ratings, speakers=speakers)
    plain = binary_cross_entropy_with_logits(raw.squeeze(-1), (ratings >= 3).float(), reduction="none")
    ranked = rank_losses(raw.squeeze(-1), ratings, 1.0, speakers)
    torch.testing.assert_close(losses, ((0.3 * plain + 0.7 * ranked) * has_rating))


def test_within_a_speaker_nothing_is_ranked_unless_asked_for():
    raw, ratings, speakers = torch.zeros(2, 2, 1, requires_grad=True), torch.tensor([[1.0, 1], [4, 4]]), torch.zeros(2)
    for across, moves in ((True, False), (False, True)):
        loss = RatingLoss(rank=Rank(1.0, 0.0, across))(make_head("binary"), raw, ratings, speakers=speakers)
        (gradient,) = torch.autograd.grad(loss.losses.sum(), raw)
        assert bool(gradient.any()) is moves


@pytest.mark.parametrize("method", ["cumulative", "coral", "corn"])
def test_the_log_odds_of_an_ordinal_head_are_those_of_its_probabilities(method):
    head, raw = make_head("ordinal", method), torch.randn(4, 2, 3)
    torch.testing.assert_close(head.log_odds(raw), torch.logit(head.reach_probabilities(raw)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("ratings", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize(
    ("kind", "method"), [("binary", ""), *(("ordinal", m) for m in ("cumulative", "coral", "corn"))]
)
def test_a_ranking_and_its_gradient_are_finite_for_poor_batches(kind, method, scale, ratings):
    given = torch.tensor(ratings)
    raw = (scale * torch.randn(3, 2, 3 if kind == "ordinal" else 1)).requires_grad_()
    losses, has_rating = RatingLoss(rank=Rank(1.0, 0.5, True))(
        make_head(kind, method), raw, given, speakers=torch.arange(3)
    )
    losses.sum().backward()
    assert losses.isfinite().all()
    assert (losses[~has_rating] == 0).all()
    assert raw.grad.isfinite().all()
    assert (raw.grad[given.isnan()] == 0).all()
