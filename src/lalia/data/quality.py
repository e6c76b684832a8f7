"""How well a recording was made: noise, clipping, bandwidth, offset, from its samples alone."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.signal import welch

from lalia.data.audio import FLOOR_DB, frame_levels
from lalia.data.decoding import Decoded, Waveform

QUALITY_COLUMNS: Final = ("snr_db", "clipping_share", "bandwidth_hz", "dc_offset", "is_mono_as_stereo")
"""What ``measure_quality`` measures."""

_LSB = 2.0**-15  # of 16 bits
_PEDESTAL_DB = 70.0
_MEDIAN_BANDS = 21
_QUIETEST_SHARE = 0.1
_SPEECH_OVER_NOISE = 2.0
_SHORTEST_PLATEAU = 3


def measure_quality(decoded: Decoded) -> dict[str, object]:
    """Measure how a recording was made, as the columns ``QUALITY_COLUMNS``.

    Returns:
        ``snr_db`` of :func:`estimate_snr_db`, ``clipping_share`` of :func:`clipping_share`, ``bandwidth_hz`` of
        :func:`bandwidth_hz`; ``dc_offset``, the mean of the samples, 1 is full scale; ``is_mono_as_stereo``, whether
        there are several channels and all are the same.
    """
    waveform, rate_hz = decoded.waveform, decoded.rate_hz
    return {
        "snr_db": estimate_snr_db(waveform, rate_hz),
        "clipping_share": clipping_share(waveform),
        "bandwidth_hz": bandwidth_hz(waveform, rate_hz),
        "dc_offset": float(waveform.mean(dtype=np.float64)),
        "is_mono_as_stereo": decoded.channels > 1 and decoded.has_equal_channels,
    }


def estimate_snr_db(waveform: Waveform, rate_hz: int) -> float:
    """Estimate how far speech lies above the noise between it, from the energies of 25 ms frames.

    The quietest tenth of the frames is the noise; frames with twice its power or more are speech and noise together.
    So it needs pauses: a held vowel without any has itself for noise, and its estimate is low. Below about 3 dB speech
    cannot be told from noise.

    Args:
        waveform: shape (samples,).
        rate_hz: of the waveform.

    Returns:
        Decibels; 0 where no frame stands out, 120 at most, NaN for digital silence.
    """
    # the median is the offset of the pauses, which the mean of the speech would shift
    levels, _, _ = frame_levels(waveform - np.median(waveform), rate_hz)
    power = np.sort(np.square(levels))
    if power[-1] <= 10 ** (FLOOR_DB / 10):
        return float("nan")
    noise = max(float(power[: max(1, round(_QUIETEST_SHARE * len(power)))].mean()), 10 ** (FLOOR_DB / 10))
    louder = power[power >= _SPEECH_OVER_NOISE * noise]
    if not len(louder):
        return 0.0
    return float(min(10 * np.log10(louder.mean() / noise - 1), -FLOOR_DB))


def clipping_share(waveform: Waveform) -> float:
    """Return the share of samples that lie on flat tops, where the waveform was cut off at its highest or lowest value.

    A flat top is three or more neighbours within a step of the extreme value with a drop of more than five steps on a
    side; a parabola that has three samples within a step of its top drops by at most four on the next one, so a smooth
    top is none. A step is one of 16 bits, or the smallest one among the highest values, where those are coarser.
    Codecs round flat tops off, and the mean over several channels hides what clips in one of them.

    Args:
        waveform: shape (samples,).
    """
    n_clipped = sum(_count_flat(values) for values in (waveform, -waveform))
    return n_clipped / len(waveform)


def bandwidth_hz(waveform: Waveform, rate_hz: int) -> float:
    """Return the frequency above which nothing is left of a recording, whatever its sampling rate promises.

    That is the highest one at which the mean power spectrum (Welch's, in bands of 16 Hz, single lines taken out
    by a running median) is within 70 dB of its highest value and 6 dB above the rounding of 16 bits. Speech from a
    telephone has 3,400 to 4,000 Hz, at 8 kHz or resampled to more.

    Args:
        waveform: shape (samples,).
        rate_hz: of the waveform.

    Returns:
        At most half the sampling rate; NaN for digital silence.
    """
    # this window leaks less than 70 dB, and a single line stays narrower than the running median
    frequencies, density = welch(
        waveform.astype(np.float64), rate_hz, window="blackmanharris", nperseg=min(len(waveform), rate_hz // 16)
    )
    density = median_filter(density, _MEDIAN_BANDS, mode="nearest")
    rounding = _LSB**2 / 12 * 2 / rate_hz
    is_there = density > max(density.max() * 10 ** (-_PEDESTAL_DB / 10), 4 * rounding)
    if not is_there.any():
        return float("nan")
    return float(frequencies[np.flatnonzero(is_there)[-1]])


def _count_flat(values: NDArray[np.floating]) -> int:
    """Count the samples on plateaus at the highest value."""
    top = float(values.max())
    if top <= 0:
        return 0
    high = np.unique(values[values >= 0.9 * top])
    step = max(_LSB, float(np.diff(high).min(initial=np.inf))) if len(high) > 1 else _LSB
    near = np.concatenate([[False], values >= top - step, [False]])
    starts, ends = (np.flatnonzero(edge) for edge in (near[1:] & ~near[:-1], near[:-1] & ~near[1:]))
    before = np.where(starts > 0, values[np.maximum(starts - 1, 0)], top)
    after = np.where(ends < len(values), values[np.minimum(ends, len(values) - 1)], top)
    is_flat = (ends - starts >= _SHORTEST_PLATEAU) & (np.minimum(before, after) < top - 5 * step)
    return int((ends - starts)[is_flat].sum())
