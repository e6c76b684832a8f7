"""Poolings that learn how much each frame counts: attention and attentive statistics.

Shape notation: frames (recordings, time, width), is_real_frame (recordings, time), weights (recordings, heads, time),
embedding (recordings, out_width). What padding holds never matters, not even NaN.
"""

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from lalia.model.frames import zero_padding

# the least variance: a root at 0 has no finite gradient; 1e-5 as standard deviation
LEAST_VARIANCE = 1e-10


class FrameWeights(NamedTuple):
    """How much each real frame of one recording counts, for pictures."""

    weights: Tensor
    """For each trait and head of the attention, adding up to 1 over time, shape (traits, heads, time)."""
    seconds: Tensor
    """The middle of each frame in the waveform, shape (time,); windows that overlap repeat a stretch, and AST's patches
    a time in each band. NaN for frames of no time: AST's special tokens."""


class FrameAttention(nn.Module):
    """What a small network makes of each frame, as weights over the real frames of a recording.

    ``weight_t = softmax_t(W2 tanh(W1 x_t))``, with one row of W2 per head.

    Args:
        width: the width of the frames.
        hidden: the width of the layer that scores each frame.
        heads: how many sets of weights there are.
        bias: whether there is one after W1; one after W2 would cancel in the softmax.
    """

    def __init__(self, width: int, hidden: int, heads: int = 1, *, bias: bool = False) -> None:
        super().__init__()
        self.project = nn.Linear(width, hidden, bias=bias)
        self.score = nn.Linear(hidden, heads, bias=False)

    def forward(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return the weights, shape (recordings, heads, time): 0 on padding, adding up to 1 over time.

        Raises:
            EmptyRecordingError: if a recording has only padding.
        """
        scores: Tensor = self.score(torch.tanh(self.project(zero_padding(frames, is_real_frame))))
        return torch.softmax(scores.transpose(1, 2).masked_fill(~is_real_frame.unsqueeze(1), -torch.inf), dim=-1)


class AttentionPooling(nn.Module):
    """Mean of the real frames, weighted by what a small network makes of each frame; one such mean per head.

    Self-attentive pooling (Lin et al. 2017, "A structured self-attentive sentence embedding", equations 5 to 7; for
    speech Safari, India and Hernando 2020), without the paper's penalty on heads that look alike. The embedding holds
    the heads one after the other.

    Args:
        width: the width of the frames.
        hidden: the width of the layer that scores each frame.
        heads: how many means are taken.

    Example:
        >>> pooling = AttentionPooling(width=2, hidden=3, heads=4)
        >>> pooling(torch.zeros(5, 7, 2), torch.ones(5, 7, dtype=torch.bool)).shape
        torch.Size([5, 8])
    """

    statistics: ClassVar[tuple[()]] = ()

    def __init__(self, width: int, hidden: int = 128, heads: int = 1) -> None:
        super().__init__()
        self.width = width
        self.out_width = heads * width
        # no bias, as in the paper
        self.attention = FrameAttention(width, hidden, heads)

    @property
    def config(self) -> dict[str, Any]:
        """What ``build_pooling`` needs besides the width to build it again."""
        score = self.attention.score
        return {"kind": "attention", "hidden": score.in_features, "heads": score.out_features}

    def weights(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return the weight of each frame, shape (recordings, heads, time): 0 on padding, adding up to 1 over time.

        Raises:
            EmptyRecordingError: if a recording has only padding.
        """
        weights: Tensor = self.attention(frames, is_real_frame)
        return weights

    def forward(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return one embedding per recording, shape (recordings, heads * width)."""
        weights = self.weights(frames, is_real_frame)
        real_frames = zero_padding(frames, is_real_frame)
        return torch.einsum("rht,rtw->rhw", weights.to(real_frames.dtype), real_frames).flatten(start_dim=1)


class AttentiveStatisticsPooling(nn.Module):
    """Weighted mean and weighted standard deviation of the real frames, one after the other.

    Okabe, Koshinaka and Shinoda 2018, "Attentive statistics pooling for deep speaker embedding", equations 5 to 8,
    with tanh, the weights those of one head with a bias after W1.

    Args:
        width: the width of the frames.
        hidden: the width of the layer that scores each frame.

    Example:
        >>> pooling = AttentiveStatisticsPooling(width=2, hidden=3)
        >>> pooling(torch.zeros(5, 7, 2), torch.ones(5, 7, dtype=torch.bool)).shape
        torch.Size([5, 4])
    """

    statistics: ClassVar[tuple[()]] = ()

    def __init__(self, width: int, hidden: int = 128) -> None:
        super().__init__()
        self.width = width
        self.out_width = 2 * width
        self.attention = FrameAttention(width, hidden, bias=True)

    @property
    def config(self) -> dict[str, Any]:
        """What ``build_pooling`` needs besides the width to build it again."""
        return {"kind": "attentive_statistics", "hidden": self.attention.score.in_features}

    def weights(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return the weight of each frame, shape (recordings, 1, time): 0 on padding, adding up to 1 over time.

        Raises:
            EmptyRecordingError: if a recording has only padding.
        """
        weights: Tensor = self.attention(frames, is_real_frame)
        return weights

    def forward(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return one embedding per recording, shape (recordings, 2 * width)."""
        return weighted_statistics(zero_padding(frames, is_real_frame), self.weights(frames, is_real_frame).squeeze(1))


def weighted_statistics(frames: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean and the weighted standard deviation of frames, one after the other.

    The standard deviation is the biased one (divided by the sum of the weights, not by one less) and at least 1e-5, so
    that its gradient is finite where all frames are equal or there is one alone.

    Args:
        frames: finite on padding, shape (recordings, time, width).
        weights: 0 on padding, adding up to 1, shape (recordings, time).

    Returns:
        Shape (recordings, 2 * width).

    Example:
        >>> weighted_statistics(torch.tensor([[[1.0], [3.0], [0.0]]]), torch.tensor([[0.5, 0.5, 0.0]]))
        tensor([[2., 1.]])
    """
    weights = weights.to(frames.dtype).unsqueeze(-1)
    mean = (weights * frames).sum(dim=1)
    # from the mean, not as the mean of squares minus its square: that would cancel where frames lie far from 0
    variance = (weights * (frames - mean.unsqueeze(1)).square()).sum(dim=1)
    return torch.cat([mean, variance.clamp(min=LEAST_VARIANCE).sqrt()], dim=-1)
