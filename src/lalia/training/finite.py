"""Steps whose loss or gradient is not finite: they change nothing, and too many in a row end a training."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

MOST_IN_A_ROW = 5


def total_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return the norm of all gradients together."""
    return nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])


def are_finite(losses: Sequence[Tensor], norm: Tensor) -> bool:
    """Return whether losses and a gradient norm are finite, read from their device at once."""
    return all(map(math.isfinite, torch.stack([*(loss.float() for loss in losses), norm.float()]).tolist()))
