"""Frames and features that are hidden from the blocks: their mean stands in their place."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class FrameMasks(NamedTuple):
    """What is hidden of the frames of depth 0.

    Args:
        times: True on hidden frames, shape (windows, time); what lies behind is not hidden.
        features: True on features that are hidden in all frames, shape (windows, width).
    """

    times: Tensor
    features: Tensor

    def to(self, device: torch.device | str) -> "FrameMasks":
        """Return the masks on a device."""
        return FrameMasks(*(each.to(device, non_blocking=True) for each in self))


def hide_frames(values: Tensor, is_real: Tensor, masks: FrameMasks) -> Tensor:
    """Return frames with the mean over the real frames of their window wherever they are hidden.

    SpecAugment masks a spectrogram of zero mean with zeros, "equivalent to setting it to the mean value" (Park et al.
    2019, arXiv 1904.08779, section 2); an encoder's frames have another mean. Padding stays as it is.

    Args:
        values: shape (windows, time, width).
        is_real: False on padding, shape (windows, time).
        masks: what is hidden.

    Example:
        >>> frames = torch.tensor([[[0.0, 1.0], [2.0, 3.0], [9.0, 9.0]]])
        >>> masks = FrameMasks(torch.tensor([[True, False]]), torch.tensor([[False, True]]))
        >>> hide_frames(frames, torch.tensor([[True, True, False]]), masks)
        tensor([[[1., 2.],
                 [2., 2.],
                 [9., 9.]]])
    """
    real = is_real[..., None]
    sums = values.float().masked_fill(~real, 0.0).sum(dim=1, keepdim=True)
    means = (sums / real.sum(dim=1, keepdim=True).clamp(min=1)).to(values.dtype)
    # a negative amount of padding cuts off what is padding in all windows
    times = functional.pad(masks.times, (0, values.shape[1] - masks.times.shape[1]))
    return torch.where((times[..., None] | masks.features[:, None]) & real, means, values)
