"""Statistics of frames that can be joined: those of a recording from those of its windows."""

from typing import NamedTuple

import torch
from torch import Tensor

from lalia.model.encoders.base import Frames
from lalia.model.pooling import Statistic


class Moments(NamedTuple):
    """Statistics of frames from which those of joined frames follow.

    Args:
        frames: how many.
        mean: shape (width,).
        squares: the summed squared differences from the mean, likewise.
        largest: likewise.
    """

    frames: int
    mean: Tensor
    squares: Tensor
    largest: Tensor

    @classmethod
    def of_nothing(cls, width: int) -> "Moments":
        """Return those of no frame."""
        nothing = torch.zeros(width, dtype=torch.float64)
        return cls(0, nothing, nothing, nothing)

    def join(self, other: "Moments") -> "Moments":
        """Return the statistics of both sets of frames (Chan, Golub and LeVeque 1979, equation 2.1)."""
        if not self.frames or not other.frames:
            return self if self.frames else other
        count = self.frames + other.frames
        difference = other.mean - self.mean
        return Moments(
            count,
            self.mean + difference * (other.frames / count),
            self.squares + other.squares + difference.square() * (self.frames * other.frames / count),
            torch.maximum(self.largest, other.largest),
        )


def measure_frames(frames: Frames) -> list[Moments]:
    """Return the statistics of each window's real frames, on the CPU, in float64 so that they can be joined.

    Example:
        >>> frames = Frames(torch.tensor([[[1.0], [3.0], [99.0]]]), torch.tensor([[True, True, False]]))
        >>> measure_frames(frames)[0].mean, measure_frames(frames)[0].squares
        (tensor([2.], dtype=torch.float64), tensor([2.], dtype=torch.float64))
    """
    found = []
    for values, is_real in zip(frames.values, frames.is_real, strict=True):
        # in two passes float32 is enough, and not every accelerator has float64
        real = values[is_real].float()
        if not len(real):
            found.append(Moments.of_nothing(values.shape[-1]))
            continue
        mean = real.mean(dim=0)
        squares = (real - mean).square().sum(dim=0)
        found.append(Moments(len(real), *torch.stack([mean, squares, real.amax(dim=0)]).cpu().double()))
    return found


def pool_moments(moments: list[Moments]) -> dict[Statistic, Tensor]:
    """Return mean, max and standard deviation (the biased one) at each depth, each of shape (depths, width)."""
    return {
        "mean": torch.stack([one.mean for one in moments]).float(),
        "max": torch.stack([one.largest for one in moments]).float(),
        "std": torch.stack([(one.squares / one.frames).sqrt() for one in moments]).float(),
    }
