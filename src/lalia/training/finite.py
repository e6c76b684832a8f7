"""Steps whose loss or gradient is not finite: they change nothing, and too many in a row end a training."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOST_IN_A_ROW = 5


def total_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return the norm of all gradients together."""
    return nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])


def are_finite(*values: Tensor) -> list[bool]:
    """Return which of some numbers are finite, read from their device at once."""
    return list(map(math.isfinite, torch.stack([value.float() for value in values]).tolist()))
