"""Frames and their mask -> one embedding per recording: mean, max, statistics, and those that learn their weights.

Shape notation: frames (recordings, time, width), is_real_frame (recordings, time), embedding (recordings, out_width).
What padding holds never matters, not even NaN.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import torch
from torch import Tensor, nn

from lalia.errors import ModelError, suggest
from lalia.model.attention_pooling import (
    LEAST_VARIANCE,
    AttentionPooling,
    AttentiveStatisticsPooling,
    weighted_statistics,
)
from lalia.model.frames import fill_padding, zero_padding

Statistic = Literal["mean", "max", "std"]
STATISTICS: Final[tuple[Statistic, ...]] = ("mean", "max", "std")
"""Of the frames of one recording at one depth; from them follow all poolings without parameters."""


def pool_mean(frames: Tensor, is_real_frame: Tensor) -> Tensor:
    """Average the frames of each recording, ignoring padding.

    Args:
        frames: encoder output, shape (recordings, time, width).
        is_real_frame: False on padding, shape (recordings, time).

    Returns:
        One embedding per recording, shape (recordings, width).

    Raises:
        EmptyRecordingError: if a recording has only padding.

    Example:
        >>> frames = torch.tensor([[[1.0], [3.0], [99.0]]])
        >>> pool_mean(frames, torch.tensor([[True, True, False]]))
        tensor([[2.]])
    """
    return zero_padding(frames, is_real_frame).sum(dim=1) / is_real_frame.sum(dim=1, keepdim=True)


def pool_max(frames: Tensor, is_real_frame: Tensor) -> Tensor:
    """Take the largest value of each recording in every dimension, ignoring padding.

    Arguments, result and errors are those of ``pool_mean``.

    Example:
        >>> frames = torch.tensor([[[-3.0], [-1.0], [0.0]]])
        >>> pool_max(frames, torch.tensor([[True, True, False]]))
        tensor([[-1.]])
    """
    return fill_padding(frames, is_real_frame, -torch.inf).amax(dim=1)


def pool_statistics(frames: Tensor, is_real_frame: Tensor) -> Tensor:
    """Return the mean and the standard deviation of each recording's frames one after the other, ignoring padding.

    The standard deviation is the biased one (divided by the number of frames, not by one less) and at least 1e-5, so
    that one frame alone has a value and a finite gradient. Arguments and errors are those of ``pool_mean``.

    Returns:
        One embedding per recording, shape (recordings, 2 * width).

    Example:
        >>> frames = torch.tensor([[[1.0], [3.0], [99.0]]])
        >>> pool_statistics(frames, torch.tensor([[True, True, False]]))
        tensor([[2., 1.]])
    """
    weights = is_real_frame / is_real_frame.sum(dim=1, keepdim=True)
    return weighted_statistics(zero_padding(frames, is_real_frame), weights)


class MeanPooling(nn.Module):
    """``pool_mean`` as a module."""

    config: ClassVar[dict[str, Any]] = {"kind": "mean"}
    statistics: ClassVar[tuple[Statistic, ...]] = ("mean",)

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = self.out_width = width

    def forward(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return one embedding per recording, shape (recordings, width)."""
        return pool_mean(frames, is_real_frame)


class MaxPooling(nn.Module):
    """``pool_max`` as a module."""

    config: ClassVar[dict[str, Any]] = {"kind": "max"}
    statistics: ClassVar[tuple[Statistic, ...]] = ("max",)

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = self.out_width = width

    def forward(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return one embedding per recording, shape (recordings, width)."""
        return pool_max(frames, is_real_frame)


class StatisticsPooling(nn.Module):
    """``pool_statistics`` as a module."""

    config: ClassVar[dict[str, Any]] = {"kind": "statistics"}
    statistics: ClassVar[tuple[Statistic, ...]] = ("mean", "std")

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.out_width = 2 * width

    def forward(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return one embedding per recording, shape (recordings, 2 * width)."""
        return pool_statistics(frames, is_real_frame)


def pool_known(vectors: Mapping[Statistic, Tensor], statistics: Sequence[Statistic]) -> Tensor:
    """Return what a pooling without parameters gives, from statistics that are known already.

    Args:
        vectors: per statistic, shape (recordings, width).
        statistics: the pooling's ``statistics``.

    Returns:
        One embedding per recording, shape (recordings, out_width).

    Example:
        >>> pool_known({"mean": torch.tensor([[2.0]]), "std": torch.tensor([[0.0]])}, ("mean", "std"))
        tensor([[2.0000e+00, 1.0000e-05]])
    """
    least = LEAST_VARIANCE**0.5
    parts = [vectors[name].clamp(min=least) if name == "std" else vectors[name] for name in statistics]
    return torch.cat(parts, dim=-1)


Pooling = MeanPooling | MaxPooling | StatisticsPooling | AttentionPooling | AttentiveStatisticsPooling


def build_pooling(kind: str, *, width: int, hidden: int = 128, heads: int = 1) -> Pooling:
    """Return the pooling of a kind; its ``out_width`` is the width of the embedding.

    Args:
        kind: mean, max, statistics, attention or attentive_statistics.
        width: the width of the frames.
        hidden: attention and attentive_statistics only, the width of the layer that scores each frame.
        heads: attention only, how many weighted means are taken.

    Raises:
        ModelError: if there is no such kind.
    """
    match kind:
        case "mean":
            return MeanPooling(width)
        case "max":
            return MaxPooling(width)
        case "statistics":
            return StatisticsPooling(width)
        case "attention":
            return AttentionPooling(width, hidden, heads)
        case "attentive_statistics":
            return AttentiveStatisticsPooling(width, hidden)
    kinds = ("mean", "max", "statistics", "attention", "attentive_statistics")
    raise ModelError(f"Unknown pooling '{kind}'.{suggest(kind, kinds)} Choose from {', '.join(kinds)}.")
