"""Power spectra of a waveform, in pieces that fit in memory."""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lalia.data.decoding import Waveform

_FRAMES_AT_ONCE = 2048


def power_spectra(waveform: Waveform, frame: int, hop: int) -> Iterator[NDArray[np.float32]]:
    """Yield the power spectra of frames under a Hann window, some of them at a time.

    Args:
        waveform: shape (samples,); one shorter than a frame is filled up with zeros.
        frame: samples in a frame.
        hop: samples from the start of one frame to the next.

    Yields:
        Shape (frames, frame // 2 + 1).

    Example:
        >>> [spectra.shape for spectra in power_spectra(np.zeros(5, np.float32), frame=4, hop=1)]
        [(2, 3)]
    """
    padded = np.pad(waveform, (0, max(0, frame - len(waveform))))
    window = np.hanning(frame + 1)[:-1].astype(np.float32)
    frames = sliding_window_view(padded, frame)[::hop]
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        spectra = np.fft.rfft(frames[start : start + _FRAMES_AT_ONCE] * window)
        yield np.square(spectra.real) + np.square(spectra.imag)
