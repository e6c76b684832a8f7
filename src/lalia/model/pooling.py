"""Frames and their mask -> one embedding per recording: mean, max, attention.

Shape notation: frames (recordings, time, width), is_real_frame (recordings, time), embedding (recordings, width).
What padding holds never matters, not even NaN.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lalia.errors import EmptyRecordingError, ModelError, suggest
from lalia.model.encoders.base import mask_up_to


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
    _refuse_empty(is_real_frame)
    total = frames.masked_fill(~is_real_frame.unsqueeze(-1), 0.0).sum(dim=1)
    return total / is_real_frame.sum(dim=1, keepdim=True)


def pool_max(frames: Tensor, is_real_frame: Tensor) -> Tensor:
    """Take the largest value of each recording in every dimension, ignoring padding.

    Arguments, result and errors are those of ``pool_mean``.

    Example:
        >>> frames = torch.tensor([[[-3.0], [-1.0], [0.0]]])
        >>> pool_max(frames, torch.tensor([[True, True, False]]))
        tensor([[-1.]])
    """
    _refuse_empty(is_real_frame)
    return frames.masked_fill(~is_real_frame.unsqueeze(-1), -torch.inf).amax(dim=1)


class MeanPooling(nn.Module):
    """``pool_mean`` as a module."""

    config: ClassVar[dict[str, Any]] = {"kind": "mean"}

    def forward(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return one embedding per recording, shape (recordings, width)."""
        return pool_mean(frames, is_real_frame)


class MaxPooling(nn.Module):
    """``pool_max`` as a module."""

    config: ClassVar[dict[str, Any]] = {"kind": "max"}

    def forward(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return one embedding per recording, shape (recordings, width)."""
        return pool_max(frames, is_real_frame)


class AttentionPooling(nn.Module):
    """Mean of the real frames, weighted by what a small network makes of each frame.

    ``weight_t = softmax_t(w2 tanh(W1 x_t))``: one hop of self-attentive pooling (Lin et al. 2017, "A structured
    self-attentive sentence embedding", equation 5; for speech Safari, India and Hernando 2020).

    Args:
        width: the width of the frames.
        hidden: the width of the layer that scores each frame.
    """

    def __init__(self, width: int, hidden: int = 128) -> None:
        super().__init__()
        # no biases: one after W2 would cancel in the softmax, and the paper has none after W1
        self.project = nn.Linear(width, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)

    @property
    def config(self) -> dict[str, Any]:
        """What ``build_pooling`` needs besides the width to build it again."""
        return {"kind": "attention", "hidden": self.project.out_features}

    def weights(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return the weight of each frame, shape (recordings, time): 0 on padding, adding up to 1.

        Raises:
            EmptyRecordingError: if a recording has only padding.
        """
        _refuse_empty(is_real_frame)
        real_frames = frames.masked_fill(~is_real_frame.unsqueeze(-1), 0.0)
        scores: Tensor = self.score(torch.tanh(self.project(real_frames))).squeeze(-1)
        return torch.softmax(scores.masked_fill(~is_real_frame, -torch.inf), dim=1)

    def forward(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return one embedding per recording, shape (recordings, width)."""
        weights = self.weights(frames, is_real_frame)
        real_frames = frames.masked_fill(~is_real_frame.unsqueeze(-1), 0.0)
        return torch.einsum("rt,rtw->rw", weights.to(real_frames.dtype), real_frames)


Pooling = MeanPooling | MaxPooling | AttentionPooling


def build_pooling(kind: str, *, width: int, hidden: int = 128) -> Pooling:
    """Return the pooling of a kind.

    Args:
        kind: mean, max or attention.
        width: the width of the frames.
        hidden: attention only, the width of the layer that scores each frame.

    Raises:
        ModelError: if there is no such kind.
    """
    match kind:
        case "mean":
            return MeanPooling()
        case "max":
            return MaxPooling()
        case "attention":
            return AttentionPooling(width, hidden)
    kinds = ("mean", "max", "attention")
    raise ModelError(f"Unknown pooling '{kind}'.{suggest(kind, kinds)} Choose from {', '.join(kinds)}.")


def join_windows(frames: Tensor, is_real_frame: Tensor, recording_of_window: Tensor) -> tuple[Tensor, Tensor]:
    """Join the real frames of each recording's windows along time.

    Args:
        frames: shape (windows, time, width).
        is_real_frame: False on padding, shape (windows, time).
        recording_of_window: counted from 0, not falling, shape (windows,).

    Returns:
        The frames, padded with zeros, shape (recordings, joined time, width), and which are real.

    Example:
        >>> frames = torch.tensor([[[1.0], [2.0]], [[3.0], [9.0]], [[4.0], [5.0]]])
        >>> is_real = torch.tensor([[True, True], [True, False], [True, True]])
        >>> joined, is_real = join_windows(frames, is_real, torch.tensor([0, 0, 1]))
        >>> joined.squeeze(-1)
        tensor([[1., 2., 3.],
                [4., 5., 0.]])
    """
    n_recordings = int(recording_of_window[-1]) + 1
    if n_recordings == len(recording_of_window):
        return frames, is_real_frame
    counts = torch.zeros(n_recordings, dtype=torch.long, device=frames.device)
    counts.index_add_(0, recording_of_window, is_real_frame.sum(dim=1))
    joined = pad_sequence(list(torch.split(frames[is_real_frame], counts.tolist())), batch_first=True)
    return joined, mask_up_to(counts, joined.shape[1])


def _refuse_empty(is_real_frame: Tensor) -> None:
    is_empty = ~is_real_frame.any(dim=1)
    if is_empty.any():
        rows = is_empty.nonzero().flatten().tolist()
        raise EmptyRecordingError(
            f"Recordings {rows} of the batch have no real frame to pool, only padding. "
            "They are too short for the encoder: leave them out with data.exclude."
        )
