"""Raw outputs and ratings -> one loss per rating.

A missing rating is masked before the arithmetic: masked after it, NaN would still poison the gradients, and
``nan >= level`` would turn "not rated" into "absent".
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lalia.model.heads import BinaryHead, Head, OrdinalHead


class RatingLosses(NamedTuple):
    """The loss of each rating; both tensors have the shape (recordings, traits)."""

    losses: Tensor
    """0 where the rating is missing."""
    has_rating: Tensor
    """False where the rating is missing."""


@dataclass(frozen=True, eq=False)
class RatingLoss:
    """The loss of every rating.

    The mean over a batch is ``losses.sum() / has_rating.sum()``; whoever accumulates batches divides once, by the
    count of all of them.

    - binary: cross-entropy of the logit with presence.
    - ordinal, cumulative and coral: cross-entropy of each logit with "the level is reached", averaged over the
      thresholds (Cao, Mirjalili and Raschka 2020, "Rank consistent ordinal regression", without their weights of
      thresholds).
    - ordinal, corn: the same, over the thresholds whose lower level is reached, so that ``(levels - 1) * losses`` is
      the negative log-likelihood of the level (Shi, Cao and Raschka 2021). ``coral_pytorch``'s
      ``corn_loss`` is the sum of that over a batch, divided by the number of terms instead of the number of ratings.
    - regression: squared or absolute error in units of half the scale's range.

    Args:
        regression: squared or absolute.
        focal_gamma: each cross-entropy of a logit with probability p and target t is multiplied by |t - p| to this
            power (Lin et al. 2017, "Focal loss for dense object detection", without their weights of classes; for
            targets between 0 and 1 Li et al. 2020, "Generalized focal loss"). 0: plain cross-entropy.
        label_smoothing: the share of each target that lies on the neighbouring levels, half on each, all of it on
            the one neighbour of an end of the scale.
        weights: of each rating by its trait and nearest level, shape (traits, levels); None: all count alike.
    """

    regression: Literal["squared", "absolute"] = "squared"
    focal_gamma: float = 0.0
    label_smoothing: float = 0.0
    weights: Tensor | None = None

    def to(self, device: torch.device | str) -> "RatingLoss":
        """Return the loss with its weights on a device."""
        return self if self.weights is None else replace(self, weights=self.weights.to(device))

    def __call__(self, head: Head, raw: Tensor, ratings: Tensor) -> RatingLosses:
        """Return the loss of every rating.

        Args:
            head: the head that made the raw outputs; says what they mean.
            raw: shape (recordings, traits, outputs).
            ratings: in units of the scale, not always a level (medians of raters), NaN where missing, shape
                (recordings, traits). Binary and ordinal heads take the nearest level.
        """
        has_rating = ~ratings.isnan()
        known = ratings.masked_fill(~has_rating, 0.0)
        raw = raw.to(torch.promote_types(raw.dtype, ratings.dtype))
        level_index = head.scale.level_index(known)
        if isinstance(head, BinaryHead):
            reach = self._target_reach(level_index, len(head.scale.levels), raw.dtype)
            losses = self._cross_entropy(raw.squeeze(-1), reach[..., head.scale.present_index - 1])
        elif isinstance(head, OrdinalHead):
            reach = self._target_reach(level_index, len(head.scale.levels), raw.dtype)
            losses = self._ordinal(raw, reach, is_corn=head.method == "corn")
        else:
            errors = (raw.squeeze(-1) - known) / head.scale.half_range
            losses = errors.abs() if self.regression == "absolute" else errors.square()
        if self.weights is not None:
            traits = torch.arange(ratings.shape[1], device=self.weights.device)
            losses = losses * self.weights[traits, level_index]
        return RatingLosses(losses.masked_fill(~has_rating, 0.0), has_rating)

    def _target_reach(self, level_index: Tensor, n_levels: int, dtype: torch.dtype) -> Tensor:
        """Return how much of each target reaches each level above the first, (recordings, traits, levels - 1)."""
        thresholds = torch.arange(n_levels - 1, device=level_index.device)

        def reach(index: Tensor) -> Tensor:
            return (index.unsqueeze(-1) > thresholds).to(dtype)

        if not self.label_smoothing:
            return reach(level_index)
        last = n_levels - 1
        below = torch.where(level_index > 0, level_index - 1, level_index + 1)
        above = torch.where(level_index < last, level_index + 1, level_index - 1)
        neighbours = (reach(below) + reach(above)) / 2
        return (1 - self.label_smoothing) * reach(level_index) + self.label_smoothing * neighbours

    def _ordinal(self, raw: Tensor, reach: Tensor, *, is_corn: bool) -> Tensor:
        if not is_corn:
            return self._cross_entropy(raw, reach).mean(dim=-1)
        reach_below = torch.cat([torch.ones_like(reach[..., :1]), reach[..., :-1]], dim=-1)
        given_the_level_below = reach / reach_below.masked_fill(reach_below == 0, 1.0)
        return (self._cross_entropy(raw, given_the_level_below) * reach_below).mean(dim=-1)

    def _cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        if not self.focal_gamma:
            return losses
        # not down to 0, where a power below 1 has an infinite slope
        misses = (targets - torch.sigmoid(logits)).abs().clamp(min=1e-6)
        return losses * misses**self.focal_gamma


def rating_loss(head: Head, raw: Tensor, ratings: Tensor) -> RatingLosses:
    """Return the plain loss of every rating, as :class:`RatingLoss` says.

    Example:
        >>> from lalia.model.heads import build_head
        >>> from lalia.scale import Scale
        >>> head = build_head("regression", width=8, n_traits=2, scale=Scale((1, 2, 3), present_from=2))
        >>> rating_loss(head, torch.tensor([[[1.0], [3.0]]]), torch.tensor([[3.0, torch.nan]]))
        RatingLosses(losses=tensor([[4., 0.]]), has_rating=tensor([[ True, False]]))
    """
    return RatingLoss()(head, raw, ratings)


def weigh_ratings(head: Head, ratings: Tensor, trait_weights: Tensor, *, by_level: bool = False) -> Tensor:
    """Return the weight of a rating of each trait and level; their mean over the ratings is 1.

    Because the mean over the training part is 1, a step divides by the number of its ratings, weighted or not.

    Args:
        head: says what the levels are.
        ratings: of the training part, NaN where missing, shape (recordings, traits).
        trait_weights: shape (traits,).
        by_level: whether the levels of a trait count by their inverse frequency, smoothed by one rating of each, with
            a mean of 1 over the trait's ratings.

    Returns:
        Shape (traits, levels).
    """
    n_levels = len(head.scale.levels)
    ratings = ratings.to(head.scale.boundaries.device)
    is_level = functional.one_hot(head.scale.level_index(ratings), n_levels) * ~ratings.isnan().unsqueeze(-1)
    counts = is_level.sum(dim=0).double()
    weights = torch.ones_like(counts)
    if by_level:
        inverse = 1 / (counts + 1)
        # a trait without ratings keeps the weight 1
        means = (counts * inverse).sum(dim=1) / counts.sum(dim=1).clamp(min=1)
        weights = torch.where((means > 0).unsqueeze(1), inverse / means.clamp(min=1e-12).unsqueeze(1), 1.0)
    weights = weights * trait_weights.to(counts).unsqueeze(1)
    mean = (counts * weights).sum() / counts.sum().clamp(min=1)
    return (weights / (mean if mean > 0 else 1.0)).float()
