"""Waveforms to frames: an encoder used as it is."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lalia.errors import EncoderError
from lalia.model.encoders.base import Depth, SpeechEncoder

# padding included; enough to keep a processor busy, little enough for a large encoder in 8 GB
_BATCH_SECONDS = 60.0


def encode(
    encoder: SpeechEncoder,
    waveforms: Sequence[NDArray[np.floating] | Tensor],
    depths: Sequence[Depth] | None = None,
) -> list[dict[Depth, Tensor]]:
    """Return the frames of each waveform at the asked depths, without padding.

    Runs in eval mode and without gradients, on the encoder's device, in batches of similar length. The order and the
    number of the waveforms change no frame.

    Args:
        encoder: left in the mode that it was in.
        waveforms: 1-d, at ``encoder.rate_hz``, in the numeric range of audio files (-1 to 1).
        depths: numbers from 0 (the stem) to ``encoder.n_blocks``, or ``"last"`` for the encoder's own output; None
            gives all numbers.

    Returns:
        For each waveform, depth -> frames of shape (time, width), on the encoder's device.

    Raises:
        EncoderError: if there is no such depth, or a waveform is not 1-d, not of floats, too short or too long.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "wavlm", "layers": 2, "width": 16, "heads": 2})
        >>> frames = encode(encoder, [np.zeros(16_000, dtype=np.float32), torch.zeros(8_000)], depths=[0, 2])
        >>> [tuple(values.shape) for values in frames[0].values()], tuple(frames[1][2].shape)
        ([(49, 16), (49, 16)], (24, 16))
    """
    wanted: Sequence[Depth] = range(encoder.n_blocks + 1) if depths is None else depths
    tensors = [torch.as_tensor(waveform) for waveform in waveforms]
    for index, tensor in enumerate(tensors):
        if tensor.ndim != 1 or not tensor.is_floating_point():
            raise EncoderError(
                f"Waveform {index} is {tensor.dtype} of shape {tuple(tensor.shape)}: one row of floats between -1 and 1"
                " is expected."
            )
    tensors = [tensor.to(encoder.device, torch.float32) for tensor in tensors]
    encoded: list[dict[Depth, Tensor]] = [{} for _ in tensors]
    was_training = encoder.training
    encoder.eval()
    try:
        for batch in _batch_by_length([len(tensor) for tensor in tensors], int(_BATCH_SECONDS * encoder.rate_hz)):
            n_samples = torch.tensor([len(tensors[index]) for index in batch])
            with torch.no_grad():
                padded = pad_sequence([tensors[index] for index in batch], batch_first=True)
                frames_at = encoder(padded, n_samples, wanted)
            for row, index in enumerate(batch):
                encoded[index] = {depth: frames.values[row, frames.is_real[row]] for depth, frames in frames_at.items()}
    finally:
        encoder.train(was_training)
    return encoded


def _batch_by_length(lengths: Sequence[int], most_samples: int) -> Iterator[list[int]]:
    batch: list[int] = []
    # longest first, so that the first one of a batch is what the others are padded to
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > most_samples:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
