"""A fingerprint of a recording's sound, which stays nearly the same through codecs, resampling, gain and cuts.

After Haitsma and Kalker 2002 ("A highly robust audio fingerprinting system", ISMIR): in each of 33 bands between
neighbouring frames, 32 bits say whether the difference in energy to the next band rises or falls. Here frames are
256 ms every 16 ms, and the bands lie between 300 and 3,000 Hz, so that a telephone leaves them.
"""

from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from lalia.data.decoding import Waveform
from lalia.data.spectra import power_spectra

Fingerprint = NDArray[np.uint32]

HOP_SECONDS: Final = 0.016
"""From one number of a fingerprint to the next."""
FRAME_SECONDS: Final = 0.256

_RATE_HZ = 8_000
_FRAME = round(FRAME_SECONDS * _RATE_HZ)
_HOP = round(HOP_SECONDS * _RATE_HZ)
_EDGES_HZ = np.geomspace(300.0, 3000.0, 34)
_AUDIBLE_DB = 35.0
_BIT_VALUES = np.uint32(1) << np.arange(32, dtype=np.uint32)


def fingerprint(waveform: Waveform, rate_hz: int) -> tuple[Fingerprint, NDArray[np.bool_]]:
    """Return 32 bits for each frame but the first, and whether the frame is loud enough for them to mean anything.

    Args:
        waveform: shape (samples,).
        rate_hz: of the waveform.

    Returns:
        Two arrays of shape (frames - 1,); the flags are False where the bands of a frame lie more than 35 dB below the
        loudest frame's. Empty where a recording is shorter than two frames.
    """
    low = waveform if rate_hz == _RATE_HZ else soxr.resample(waveform, rate_hz, _RATE_HZ, quality="HQ")
    edges = np.searchsorted(np.fft.rfftfreq(_FRAME, 1 / _RATE_HZ), _EDGES_HZ)
    pieces = [
        np.add.reduceat(spectra[:, : edges[-1]], edges[:-1], axis=1) for spectra in power_spectra(low, _FRAME, _HOP)
    ]
    energies = np.concatenate(pieces)
    total = energies.sum(axis=1)
    is_audible = total > max(float(total.max()) * 10 ** (-_AUDIBLE_DB / 10), np.finfo(np.float32).tiny)
    rises = np.diff(np.diff(energies, axis=1), axis=0) > 0
    return rises @ _BIT_VALUES, is_audible[1:] & is_audible[:-1]
