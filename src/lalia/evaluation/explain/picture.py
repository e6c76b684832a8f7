"""A recording as a picture: its log-mel spectrogram, no finer than a figure can show."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers.audio_utils import mel_filter_bank

from lalia.data.decoding import Waveform
from lalia.data.spectra import power_spectra

N_BANDS: Final = 64
MOST_COLUMNS: Final = 300
RANGE_DB: Final = 60.0
_FRAME_SECONDS, _HOP_SECONDS = 0.032, 0.01


class Spectrogram(NamedTuple):
    """How loud each band is at each time."""

    level_db: NDArray[np.float32]
    """Below the loudest, from -60 to 0, the lowest band first, shape (bands, columns)."""
    seconds: float
    """The length of the recording, over which the columns lie evenly."""
    middles_hz: NDArray[np.float64]
    """Of the bands, evenly on the mel scale, shape (bands,)."""


def make_spectrogram(waveform: Waveform, rate_hz: int) -> Spectrogram:
    """Return the spectrogram of a waveform in 64 mel bands and at most 300 columns.

    Args:
        waveform: shape (samples,).
        rate_hz: of the waveform.
    """
    frame, hop = round(_FRAME_SECONDS * rate_hz), round(_HOP_SECONDS * rate_hz)
    filters = mel_filter_bank(
        num_frequency_bins=frame // 2 + 1,
        num_mel_filters=N_BANDS,
        min_frequency=50.0,
        max_frequency=rate_hz / 2,
        sampling_rate=rate_hz,
        mel_scale="htk",
    )
    padded = np.pad(waveform, frame // 2)
    power = np.concatenate([spectra @ filters for spectra in power_spectra(padded, frame, hop)])
    edges = np.unique(np.linspace(0, len(power), min(len(power), MOST_COLUMNS) + 1).astype(int))
    means = np.add.reduceat(power, edges[:-1], axis=0) / np.diff(edges)[:, None]
    decibels = 10 * np.log10(np.maximum(means, 1e-12)).T
    mels = np.linspace(2595 * np.log10(1 + 50 / 700), 2595 * np.log10(1 + rate_hz / 2 / 700), N_BANDS + 2)[1:-1]
    below = np.clip(decibels - decibels.max(), -RANGE_DB, 0.0).astype(np.float32)
    return Spectrogram(below, len(waveform) / rate_hz, 700 * (10 ** (mels / 2595) - 1))
