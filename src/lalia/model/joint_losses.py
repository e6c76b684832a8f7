"""Losses of a trait that no recording has alone: they compare the recordings of a batch with each other.

Shape notation: scores and ratings (recordings, traits), ratings with NaN where missing; one loss per trait, (traits,).
"""

import torch
from torch import Tensor


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
