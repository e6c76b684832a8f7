"""Losses of a trait that no recording has alone: they compare the recordings of a batch with each other.

Shape notation: scores and ratings (recordings, traits), ratings with NaN where missing; one loss per trait, (traits,).
"""

from typing import NamedTuple

import torch
from torch import Tensor

# recordings whose pairs with all others are compared at once: a validation part may have 10^8 pairs
_AT_ONCE = 1024


class Rank(NamedTuple):
    """How pairs of recordings are ranked."""

    margin: float
    """How far the score of the higher rated one should lie above the other's, in log-odds."""
    bce_weight: float
    """The share of the loss that is the head's own cross-entropy; the rest is that of the ranking."""
    across_speakers: bool
    """Whether only recordings of different speakers are paired."""


def concordance_losses(values: Tensor, ratings: Tensor) -> Tensor:
    """Return 1 less the concordance correlation of each trait's values with its ratings.

    The coefficient is 2 cov / (var + var + (mean - mean)^2), with moments that divide by the number of ratings (Lin
    1989, "A concordance correlation coefficient to evaluate reproducibility").

    A trait whose ratings are all the same, or that has none, has a coefficient of 0 and no gradient: there is nothing
    to agree on.

    Args:
        values: predicted, in the units of the ratings.
        ratings: NaN where missing.

    Example:
        >>> ratings = torch.tensor([[1.0], [2.0], [3.0], [torch.nan]])
        >>> concordance_losses(torch.tensor([[1.0], [2.0], [3.0], [9.0]]), ratings)
        tensor([0.])
        >>> concordance_losses(torch.tensor([[2.0], [3.0], [4.0], [9.0]]), ratings)
        tensor([0.4286])
    """
    has_rating = ~ratings.isnan()
    n_ratings = has_rating.sum(dim=0).clamp(min=1)

    def center(given: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.where(has_rating, given, 0.0).sum(dim=0) / n_ratings
        return mean, torch.where(has_rating, given - mean, 0.0)

    # counted from the highest one, equal ratings have a mean of exactly 0 and no spread
    highest = torch.where(has_rating, ratings, -torch.inf).amax(dim=0)
    mean_value, from_mean = center(values - highest)
    mean_rating, from_mean_rating = center(ratings - highest)
    covariance = (from_mean * from_mean_rating).sum(dim=0) / n_ratings
    spreads = (from_mean.square() + from_mean_rating.square()).sum(dim=0) / n_ratings
    # where nothing differs, 0 / 0 would have no gradient
    return 1 - 2 * covariance / (spreads + (mean_value - mean_rating).square()).clamp(min=1e-6)


def rank_losses(scores: Tensor, ratings: Tensor, margin: float, speakers: Tensor | None = None) -> Tensor:
    """Return the mean hinge loss of each trait over the pairs of recordings that are rated differently.

    A pair has the loss max(0, margin - difference), the difference being the score of the higher rated recording less
    that of the other (``torch.nn.MarginRankingLoss``). A trait without such a pair has a loss of 0.

    Args:
        scores: higher for more of the trait.
        ratings: NaN where missing.
        margin: how large the difference should be.
        speakers: a number per recording, shape (recordings,): recordings of the same speaker make no pair. None: any
            two recordings do.

    Example:
        >>> ratings = torch.tensor([[1.0], [2.0], [2.0], [torch.nan]])
        >>> rank_losses(torch.tensor([[0.0], [3.0], [0.5], [9.0]]), ratings, margin=1.0)
        tensor([0.2500])
        >>> rank_losses(torch.tensor([[0.0], [3.0], [0.5], [9.0]]), ratings, margin=1.0, speakers=torch.arange(4) // 2)
        tensor([0.5000])
    """
    losses = [_rank_trait(*each, margin, speakers) for each in zip(scores.unbind(1), ratings.unbind(1), strict=True)]
    return torch.stack(losses)


def _rank_trait(scores: Tensor, ratings: Tensor, margin: float, speakers: Tensor | None) -> Tensor:
    total, n_pairs = scores.new_zeros(()), scores.new_zeros((), dtype=torch.int64)
    for rows in torch.split(torch.arange(len(scores), device=scores.device), _AT_ONCE):
        # NaN is above nothing, and nothing above NaN
        is_above = ratings[rows, None] > ratings
        if speakers is not None:
            is_above &= speakers[rows, None] != speakers
        hinges = (margin - (scores[rows, None] - scores)).clamp(min=0)
        total = total + torch.where(is_above, hinges, 0.0).sum()
        n_pairs = n_pairs + is_above.sum()
    return total / n_pairs.clamp(min=1)
