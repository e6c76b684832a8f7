"""Real frames and padding: windows joined in time, padding hidden, recordings without a real frame refused.

Shape notation: frames (recordings, time, width), is_real_frame (recordings, time).
"""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lalia.errors import EmptyRecordingError
from lalia.model.encoders.base import mask_up_to


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


def zero_padding(frames: Tensor, is_real_frame: Tensor) -> Tensor:
    """Return the frames with zeros on padding, whatever it held; no gradient reaches the padding.

    Raises:
        EmptyRecordingError: if a recording has only padding.

    Example:
        >>> zero_padding(torch.tensor([[[1.0], [torch.nan]]]), torch.tensor([[True, False]])).tolist()
        [[[1.0], [0.0]]]
    """
    return fill_padding(frames, is_real_frame, 0.0)


def fill_padding(frames: Tensor, is_real_frame: Tensor, value: float) -> Tensor:
    """Return the frames with a value on padding; arguments and errors are those of ``zero_padding``."""
    is_empty = ~is_real_frame.any(dim=1)
    if is_empty.any():
        rows = is_empty.nonzero().flatten().tolist()
        raise EmptyRecordingError(
            f"Recordings {rows} of the batch have no real frame to pool, only padding. "
            "They are too short for the encoder: leave them out with data.exclude."
        )
    return frames.masked_fill(~is_real_frame.unsqueeze(-1), value)
