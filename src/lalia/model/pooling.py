"""Frames and their mask -> one embedding per recording: mean, max, statistics, and those that learn their weights.

Shape notation: frames (recordings, time, width), is_real_frame (recordings, time), embedding (recordings, out_width).
What padding holds never matters, not even NaN.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lalia.errors import ModelError, suggest
from lalia.model.attention_pooling import AttentionPooling, AttentiveStatisticsPooling, weighted_statistics
from lalia.model.frames import fill_padding, zero_padding


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

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = self.out_width = width

    def forward(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return one embedding per recording, shape (recordings, width)."""
        return pool_mean(frames, is_real_frame)


class MaxPooling(nn.Module):
    """``pool_max`` as a module."""

    config: ClassVar[dict[str, Any]] = {"kind": "max"}

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = self.out_width = width

    def forward(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return one embedding per recording, shape (recordings, width)."""
        return pool_max(frames, is_real_frame)


class StatisticsPooling(nn.Module):
    """``pool_statistics`` as a module."""

    config: ClassVar[dict[str, Any]] = {"kind": "statistics"}

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.out_width = 2 * width

    def forward(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return one embedding per recording, shape (recordings, 2 * width)."""
        return pool_statistics(frames, is_real_frame)


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
