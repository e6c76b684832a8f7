"""Where frames lie in time, from the kernels that they are made with."""

from collections.abc import Iterable

import torch
from torch import Tensor

KALDI_FRAME_SAMPLES, MEL_HOP_SAMPLES = 400, 160
"""Of the log-mel spectrograms of AST, w2v-BERT and LASR: 25 ms every 10 ms."""


def middles_through(count: int, layers: Iterable[tuple[int, int, int]]) -> Tensor:
    """Return where the middles of frames lie among the steps that enter a stack of convolutions or poolings.

    Args:
        count: of the frames.
        layers: kernel, stride and padding before the first step of each, the one that comes first in front.

    Returns:
        Steps from 0, with halves where a kernel is even, shape (count,).

    Example:
        >>> middles_through(3, [(10, 5, 0), (2, 2, 0)])
        tensor([ 7., 17., 27.])
    """
    middles = torch.arange(count, dtype=torch.float64)
    for kernel, stride, padding in reversed(list(layers)):
        middles = middles * stride - padding + (kernel - 1) / 2
    return middles.float()


def middles_of_mel_frames(places: Tensor) -> Tensor:
    """Return the samples in the middle of mel frames that begin with their hop, as Kaldi's do.

    Args:
        places: numbers of mel frames from 0, halves for what lies between two.

    Example:
        >>> middles_of_mel_frames(torch.tensor([0.0, 0.5]))
        tensor([199.5000, 279.5000])
    """
    return places * MEL_HOP_SAMPLES + (KALDI_FRAME_SAMPLES - 1) / 2
