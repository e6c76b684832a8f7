"""What a recording sounds like on average: mean and spread of its log-mel bands, the classical acoustic features."""

from functools import lru_cache
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray
from transformers.audio_utils import mel_filter_bank

from lalia.data.decoding import Decoded, Waveform
from lalia.data.spectra import power_spectra

LOG_MEL_COLUMN: Final = "log_mel"
"""The column that ``measure_log_mel`` adds."""
N_BANDS: Final = 40

_RATE_HZ = 16_000
_FRAME, _HOP = 400, 160
_FLOOR = 1e-10


def log_mel_statistics(waveform: Waveform, rate_hz: int) -> NDArray[np.float32]:
    """Return the mean and, behind it, the standard deviation over time of 40 log-mel bands up to 8 kHz.

    Frames are 25 ms every 10 ms; the energies are natural logarithms, floored at 1e-10.

    Args:
        waveform: shape (samples,).
        rate_hz: of the waveform.

    Returns:
        Shape (80,).
    """
    if rate_hz != _RATE_HZ:
        waveform = soxr.resample(waveform, rate_hz, _RATE_HZ, quality="HQ")
    filters = _filters()
    pieces = [np.log(np.maximum(spectra @ filters, _FLOOR)) for spectra in power_spectra(waveform, _FRAME, _HOP)]
    bands = np.concatenate(pieces)
    return np.concatenate([bands.mean(axis=0, dtype=np.float64), bands.std(axis=0, dtype=np.float64)]).astype(
        np.float32
    )


def measure_log_mel(decoded: Decoded) -> dict[str, object]:
    """Return the statistics as a column of ``scan_recordings``."""
    return {LOG_MEL_COLUMN: log_mel_statistics(decoded.waveform, decoded.rate_hz)}


@lru_cache
def _filters() -> NDArray[np.float32]:
    return np.asarray(
        mel_filter_bank(
            num_frequency_bins=_FRAME // 2 + 1,
            num_mel_filters=N_BANDS,
            min_frequency=20.0,
            max_frequency=8000.0,
            sampling_rate=_RATE_HZ,
            norm="slaney",
            mel_scale="slaney",
        ),
        dtype=np.float32,
    )
