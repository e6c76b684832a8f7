"""The convolutional stem of wav2vec 2.0 and its kin, by which no clip changes another's features."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def count_convolved(n_samples: Tensor, config: Any) -> Tensor:
    """Return the number of features that waveforms of these numbers of samples give, by the convolutions' kernels.

    Args:
        n_samples: of each waveform, shape (windows,).
        config: with ``conv_kernel`` and ``conv_stride``.
    """
    counts = n_samples
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        counts = torch.div(counts - kernel, stride, rounding_mode="floor") + 1
    return counts.clamp(min=0)


def convolve(conv_layers: Any, waveforms: Tensor, lengths: Sequence[int], *, has_group_norm: bool) -> Tensor:
    """Return the convolutional features, shape (windows, time, conv width).

    Group norm takes its statistics over the whole time axis, so padding would change every frame: clip by clip is
    exact. Layer norm looks at one frame at a time and could take the padded batch, which suits a GPU; a CPU is twice
    as fast clip by clip, where the values of one layer stay near and no padding is convolved.

    Args:
        conv_layers: the list of layers.
        waveforms: padded behind, shape (windows, samples).
        lengths: real samples of each window.
        has_group_norm: whether the first layer normalises over time.
    """
    if not has_group_norm and waveforms.device.type != "cpu":
        return convolve_batch(conv_layers, waveforms)
    clips = [convolve_batch(conv_layers, clip[None, :n])[0] for clip, n in zip(waveforms, lengths, strict=True)]
    return pad_sequence(clips, batch_first=True)


def convolve_batch(conv_layers: Any, waveforms: Tensor) -> Tensor:
    """Return the features of waveforms of one length, shape (windows, time, conv width)."""
    # not through the feature extractor's own forward: in training it asks for the gradient of the waveforms
    values = waveforms[:, None]
    for layer in conv_layers:
        values = layer(values)
    return values.transpose(1, 2)
