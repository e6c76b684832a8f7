"""Raw outputs and ratings -> one loss per rating.

A missing rating is masked before the arithmetic: masked after it, NaN would still poison the gradients, and
``nan >= level`` would turn "not rated" into "absent".
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lalia.model.heads import BinaryHead, Head, OrdinalHead, RegressionHead
from lalia.model.joint_losses import Rank, concordance_losses, rank_losses


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
    - regression: squared or absolute error in units of half the scale's range; or for each rating of a trait 1 less
      the concordance correlation of its values with its ratings, over all recordings that are given at once.

    Args:
        regression: squared, absolute or concordance.
        focal_gamma: each cross-entropy of a logit with probability p and target t is multiplied by |t - p| to this
            power (Lin et al. 2017, "Focal loss for dense object detection", without their weights of classes; for
            targets between 0 and 1 Li et al. 2020, "Generalized focal loss"). 0: plain cross-entropy.
        label_smoothing: the share of each target that lies on the neighbouring levels, half on each, all of it on
            the one neighbour of an end of the scale.
        weights: of each rating by its trait and nearest level, shape (traits, levels); None: all count alike.
        rank: of pairs of recordings, for binary and ordinal heads: the loss of each rating is then a mixture of the
            above and of the rank loss of its trait over all recordings that are given at once, which compares the mean
            log-odds of reaching a level. None: no ranking.
        rater_weight: how much the mean loss of each rating's raters counts beside it, where they have heads.
        takes_shares: whether binary and ordinal heads learn the shares of the raters rather than the nearest level.
    """

    regression: Literal["squared", "absolute", "concordance"] = "squared"
    focal_gamma: float = 0.0
    label_smoothing: float = 0.0
    weights: Tensor | None = None
    rank: Rank | None = None
    rater_weight: float = 1.0
    takes_shares: bool = False

    @property
    def joins_recordings(self) -> bool:
        """Whether the loss of a recording depends on the others, so that batches cannot be added up."""
        return self.regression == "concordance" or self.rank is not None

    def to(self, device: torch.device | str) -> "RatingLoss":
        """Return the loss with its weights on a device."""
        return self if self.weights is None else replace(self, weights=self.weights.to(device))

    def __call__(
        self,
        head: Head,
        raw: Tensor,
        ratings: Tensor,
        shares: Tensor | None = None,
        speakers: Tensor | None = None,
    ) -> RatingLosses:
        """Return the loss of every rating.

        Args:
            head: the head that made the raw outputs; says what they mean.
            raw: shape (recordings, traits, outputs).
            ratings: in units of the scale, not always a level (medians of raters), NaN where missing, shape
                (recordings, traits). Binary and ordinal heads take the nearest level.
            shares: how the raters of each recording spread over the levels, adding up to 1, anything where the rating
                is missing, shape (recordings, traits, levels). Binary and ordinal heads take them in place of the
                nearest level: the cross-entropy is then its mean over the raters. None: the nearest level has all.
            speakers: a number per recording, shape (recordings,), for a ranking across speakers.
        """
        has_rating = ~ratings.isnan()
        known = ratings.masked_fill(~has_rating, 0.0)
        raw = raw.to(torch.promote_types(raw.dtype, ratings.dtype))
        level_index = head.scale.level_index(known)
        if isinstance(head, BinaryHead):
            reach = self._target_reach(level_index, shares, has_rating, head)
            losses = self._cross_entropy(raw.squeeze(-1), reach.to(raw)[..., head.scale.present_index - 1])
        elif isinstance(head, OrdinalHead):
            reach = self._target_reach(level_index, shares, has_rating, head)
            losses = self._ordinal(raw, reach.to(raw), is_corn=head.method == "corn")
        else:
            losses = self._regression(raw.squeeze(-1), ratings, head.scale.half_range)
        if self.rank is not None and not isinstance(head, RegressionHead):
            speakers = speakers if self.rank.across_speakers else None
            ranked = rank_losses(head.log_odds(raw).mean(dim=-1), ratings, self.rank.margin, speakers)
            losses = torch.lerp(ranked.expand_as(losses), losses, self.rank.bce_weight)
        if self.weights is not None:
            traits = torch.arange(ratings.shape[1], device=self.weights.device)
            losses = losses * self.weights[traits, level_index]
        return RatingLosses(losses.masked_fill(~has_rating, 0.0), has_rating)

    def _regression(self, values: Tensor, ratings: Tensor, half_range: float) -> Tensor:
        if self.regression == "concordance":
            return concordance_losses(values / half_range, ratings / half_range).expand_as(values)
        errors = (values - ratings.nan_to_num()) / half_range
        return errors.abs() if self.regression == "absolute" else errors.square()

    def _target_reach(self, level_index: Tensor, shares: Tensor | None, has_rating: Tensor, head: Head) -> Tensor:
        """Return how much of each target reaches each level above the first, (recordings, traits, levels - 1)."""
        targets = functional.one_hot(level_index, len(head.scale.levels)).to(torch.get_default_dtype())
        if shares is not None:
            targets = torch.where(has_rating.unsqueeze(-1), shares, targets)
        if self.label_smoothing:
            neighbours = (functional.pad(targets[..., 1:], (0, 1)) + functional.pad(targets[..., :-1], (1, 0))) / 2
            # the one neighbour of an end gets all of its share
            neighbours[..., 1] += targets[..., 0] / 2
            neighbours[..., -2] += targets[..., -1] / 2
            targets = torch.lerp(targets, neighbours, self.label_smoothing)
        # shares such as three thirds may add up to a little more than 1
        return targets.flip(-1).cumsum(dim=-1).flip(-1)[..., 1:].clamp(max=1.0)

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
