"""What a rater is given: windows of samples, or what the frozen part of it has made of them already."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from lalia.model.encoders.base import Depth, Frames
from lalia.model.frame_masks import FrameMasks
from lalia.model.pooling import Statistic


class Windows(NamedTuple):
    """Windows of samples: the whole rater is computed.

    Args:
        waveforms: padded behind, shape (windows, samples).
        n_samples: real samples of each window, shape (windows,).
        recording_of_window: the number of its recording, counted from 0 and not falling, shape (windows,).
        masks: what is hidden at depth 0; None hides nothing.
    """

    waveforms: Tensor
    n_samples: Tensor
    recording_of_window: Tensor
    masks: FrameMasks | None = None

    def to(self, device: torch.device | str) -> "Windows":
        """Return the windows on a device; the numbers, which steer what is computed, stay where they are."""
        return self._replace(waveforms=self.waveforms.to(device, non_blocking=True), masks=_move(self.masks, device))

    def split(self, size: int) -> "list[Windows]":
        """Return some of the windows at a time, without padding that none of them needs."""
        return [
            Windows(
                self.waveforms[place, : int(self.n_samples[place].max())],
                self.n_samples[place],
                self.recording_of_window[place],
                _take(self.masks, place),
            )
            for place in _places(len(self.n_samples), size)
        ]


class KnownFrames(NamedTuple):
    """Frames of depths that training does not change: the blocks above the highest of them are computed.

    Args:
        frames_at: by depth, all with the same mask, each of shape (windows, time, width).
        recording_of_window: as for ``Windows``.
        masks: as for ``Windows``; then no depth is above 0.
    """

    frames_at: Mapping[Depth, Frames]
    recording_of_window: Tensor
    masks: FrameMasks | None = None

    def to(self, device: torch.device | str) -> "KnownFrames":
        """Return the frames on a device."""
        moved = {
            depth: Frames(*(each.to(device, non_blocking=True) for each in frames))
            for depth, frames in self.frames_at.items()
        }
        return self._replace(frames_at=moved, masks=_move(self.masks, device))

    def split(self, size: int) -> "list[KnownFrames]":
        """Return some of the windows at a time."""
        return [
            KnownFrames(
                {depth: Frames(*(each[place] for each in frames)) for depth, frames in self.frames_at.items()},
                self.recording_of_window[place],
                _take(self.masks, place),
            )
            for place in _places(len(self.recording_of_window), size)
        ]


class KnownVectors(NamedTuple):
    """Statistics over the frames of each recording: mix and head are computed.

    Args:
        depths: those that the rater mixes, in its order.
        vectors: for each statistic that the pooling takes, shape (recordings, depths, width).
    """

    depths: tuple[Depth, ...]
    vectors: Mapping[Statistic, Tensor]

    def to(self, device: torch.device | str) -> "KnownVectors":
        """Return the vectors on a device."""
        return self._replace(
            vectors={name: values.to(device, non_blocking=True) for name, values in self.vectors.items()}
        )


Inputs = Windows | KnownFrames | KnownVectors


def _places(n_windows: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, n_windows, size)]


def _move(masks: FrameMasks | None, device: torch.device | str) -> FrameMasks | None:
    return None if masks is None else masks.to(device)


def _take(masks: FrameMasks | None, place: slice) -> FrameMasks | None:
    return None if masks is None else FrameMasks(*(each[place] for each in masks))
