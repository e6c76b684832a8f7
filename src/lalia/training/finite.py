"""Steps whose loss or gradient is not finite: they change nothing, and too many in a row end a training."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

MOST_IN_A_ROW = 5


def total_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the norm of all gradients together."""
    return nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])


def are_finite(losses: Sequence[Tensor], norm: Tensor) -> bool:
    """Return whether losses and a gradient norm are finite, read from their device at once."""
    return all(map(math.isfinite, torch.stack([*(loss.float() for loss in losses), norm.float()]).tolist()))


class RunningStatistics:
    """What a forward pass changes in training mode: the statistics of batch norms, to be put back after a bad step."""

    def __init__(self, model: nn.Module) -> None:
        self._norms = [each for each in model.modules() if isinstance(each, nn.modules.batchnorm._NormBase)]

    def copy(self) -> list[Tensor]:
        """Return their values."""
        return [buffer.clone() for buffer in self._buffers()]

    def restore(self, values: Sequence[Tensor]) -> None:
        """Put values back."""
        for buffer, value in zip(self._buffers(), values, strict=True):
            buffer.copy_(value)

    def _buffers(self) -> Iterator[Tensor]:
        return (buffer for norm in self._norms if norm.training for buffer in norm.buffers())
