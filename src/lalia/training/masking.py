"""Masks of a batch: what SpecAugment hides of each of its recordings."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lalia.data.dataset import RecordingDataset
from lalia.model.encoders.base import Depth, SpeechEncoder
from lalia.model.frame_masks import FrameMasks


def goes_on_from(depths: Sequence[Depth]) -> bool:
    """Return whether frames can still be hidden where those of some depths are known.

    Example:
        >>> goes_on_from(["features"]), goes_on_from([0]), goes_on_from([0, 3])
        (True, True, False)
    """
    return all(depth in ("features", 0) for depth in depths)


def draw_masks(
    dataset: RecordingDataset,
    rows: Sequence[int],
    n_frames: Tensor,
    recording_of_window: Tensor,
    encoder: SpeechEncoder,
) -> FrameMasks | None:
    """Return what is hidden of the recordings of a batch, in the epoch of the data set; None if nothing ever is.

    Args:
        dataset: draws for each recording, whatever else is in the batch.
        rows: of the recordings.
        n_frames: real frames of each window, shape (windows,).
        recording_of_window: the number of its recording, shape (windows,).
        encoder: gives the frames.
    """
    if not dataset.hides_frames:
        return None
    rate_hz = encoder.frame_rate_hz
    times, features = [], []
    for number, row in enumerate(rows):
        counts = n_frames[recording_of_window == number].tolist()
        of_windows, of_recording = dataset.draw_hidden(row, counts, frame_rate_hz=rate_hz, width=encoder.width)
        times += [torch.from_numpy(each) for each in of_windows]
        features += [torch.from_numpy(of_recording)] * len(counts)
    return FrameMasks(pad_sequence(times, batch_first=True), torch.stack(features))
