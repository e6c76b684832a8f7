"""Raw outputs and ratings -> one loss per rating.

A missing rating is masked before the arithmetic: masked after it, NaN would still poison the gradients, and
``nan >= level`` would turn "not rated" into "absent".
"""

from typing import NamedTuple

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


def rating_loss(head: Head, raw: Tensor, ratings: Tensor) -> RatingLosses:
    """Return the loss of every rating.

    The mean over a batch is ``losses.sum() / has_rating.sum()``; whoever accumulates batches divides once, by the
    count of all of them.

    - binary: cross-entropy of the logit with presence.
    - ordinal, cumulative: cross-entropy of each logit with "the level is reached", averaged over the thresholds
      (Cao, Mirjalili and Raschka 2020, "Rank consistent ordinal regression", equation 4, without weights).
    - ordinal, corn: the same, over the thresholds whose lower level is reached, so that ``(levels - 1) * losses`` is
      the negative log-likelihood of the level (Shi, Cao and Raschka 2021, equation 6). ``coral_pytorch``'s
      ``corn_loss`` is the sum of that over a batch, divided by the number of terms instead of the number of ratings.
    - regression: squared error in units of half the scale's range.

    Args:
        head: the head that made the raw outputs; says what they mean.
        raw: shape (recordings, traits, outputs).
        ratings: in units of the scale, not always a level (medians of raters), NaN where missing, shape
            (recordings, traits). Binary and ordinal heads take the nearest level.

    Example:
        >>> from lalia.model.heads import build_head
        >>> from lalia.scale import Scale
        >>> head = build_head("regression", width=8, n_traits=2, scale=Scale((1, 2, 3), present_from=2))
        >>> rating_loss(head, torch.tensor([[[1.0], [3.0]]]), torch.tensor([[3.0, torch.nan]]))
        RatingLosses(losses=tensor([[4., 0.]]), has_rating=tensor([[ True, False]]))
    """
    has_rating = ~ratings.isnan()
    known = ratings.masked_fill(~has_rating, 0.0)
    raw = raw.to(torch.promote_types(raw.dtype, ratings.dtype))
    if isinstance(head, BinaryHead):
        losses = _binary_loss(raw, head.scale.level_index(known) >= head.scale.present_index)
    elif isinstance(head, OrdinalHead):
        losses = _ordinal_loss(raw, head.scale.level_index(known), is_corn=head.method == "corn")
    else:
        losses = ((raw.squeeze(-1) - known) / head.scale.half_range).square()
    return RatingLosses(losses.masked_fill(~has_rating, 0.0), has_rating)


def _binary_loss(raw: Tensor, is_present: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(raw.squeeze(-1), is_present.to(raw.dtype), reduction="none")


def _ordinal_loss(raw: Tensor, level_index: Tensor, *, is_corn: bool) -> Tensor:
    thresholds = torch.arange(raw.shape[-1], device=raw.device)
    is_reached = level_index.unsqueeze(-1) > thresholds
    losses = functional.binary_cross_entropy_with_logits(raw, is_reached.to(raw.dtype), reduction="none")
    if is_corn:
        losses = losses * (level_index.unsqueeze(-1) >= thresholds)
    return losses.mean(dim=-1)
