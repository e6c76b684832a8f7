"""Distortions of level and time: noise, another recording, gain, clipping, polarity, shift, silenced stretches.

Each takes a waveform, shape (samples,), its rate and a random generator, and returns a new waveform of the same length;
ranges are drawn from uniformly. Levels may go beyond 1: nothing is clipped unless clipping is what was asked for.
"""

from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import fft

from lalia.data.decoding import Waveform

Range = tuple[float, float]


def add_noise(
    waveform: Waveform, rate_hz: int, rng: Generator, *, snr_db: Range, color: Literal["white", "pink"]
) -> Waveform:
    """Return the waveform in noise; silence stays silent, because no noise has a ratio to it.

    Args:
        waveform: shape (samples,).
        rate_hz: of the waveform.
        rng: draws the ratio and the noise.
        snr_db: range of the ratio of mean powers over the whole recording, pauses included.
        color: white has the same power in every hertz, pink in every octave.

    Example:
        >>> silence = np.zeros(4, np.float32)
        >>> add_noise(silence, 16_000, np.random.default_rng(0), snr_db=(10.0, 10.0), color="white")
        array([0., 0., 0., 0.], dtype=float32)
    """
    ratio_db = rng.uniform(*snr_db)
    noise = rng.standard_normal(len(waveform))
    if color == "pink":
        size = fft.next_fast_len(len(noise), real=True)
        spectrum = fft.rfft(noise, size)
        spectrum[0] = 0.0
        noise = fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), size)[: len(noise)]
    return _add_at(waveform, noise, ratio_db)


def add_recording(
    waveform: Waveform, rate_hz: int, rng: Generator, *, snr_db: Range, other: Waveform | None
) -> Waveform:
    """Return the waveform with another recording in the background, which begins anywhere and repeats.

    Args:
        waveform: shape (samples,).
        rate_hz: of both.
        rng: draws the ratio and where the other one begins.
        snr_db: range of the ratio of mean powers over the whole recording, pauses included.
        other: shape (samples,), any length; None, or silence, adds nothing.
    """
    ratio_db, begin = rng.uniform(*snr_db), rng.random()
    if other is None or not len(other):
        return waveform.copy()
    places = (int(begin * len(other)) + np.arange(len(waveform))) % len(other)
    return _add_at(waveform, other[places].astype(np.float64), ratio_db)


def change_gain(waveform: Waveform, rate_hz: int, rng: Generator, *, gain_db: Range) -> Waveform:
    """Return the waveform louder or softer by a number of dB in the range."""
    return (waveform * 10 ** (rng.uniform(*gain_db) / 20)).astype(np.float32)


def clip_peaks(waveform: Waveform, rate_hz: int, rng: Generator, *, below_peak_db: Range) -> Waveform:
    """Return the waveform with all that lies beyond a limit cut off, in dB below its highest sample."""
    limit = np.abs(waveform).max() * 10 ** (-rng.uniform(*below_peak_db) / 20)
    return np.clip(waveform, -limit, limit).astype(np.float32)


def flip_polarity(waveform: Waveform, rate_hz: int, rng: Generator) -> Waveform:
    """Return the waveform upside down, which nobody hears."""
    return -waveform


def shift_in_time(waveform: Waveform, rate_hz: int, rng: Generator, *, shift_ms: Range) -> Waveform:
    """Return the waveform later (above 0) or earlier by a number of ms, at most half of it, with silence coming in.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> shift_in_time(np.arange(1, 7, dtype=np.float32), 1_000, rng, shift_ms=(2.0, 2.0))
        array([0., 0., 1., 2., 3., 4.], dtype=float32)
    """
    most = len(waveform) // 2
    shift = int(np.clip(round(rng.uniform(*shift_ms) * rate_hz / 1000), -most, most))
    moved = np.zeros_like(waveform)
    moved[max(shift, 0) : len(waveform) + min(shift, 0)] = waveform[max(-shift, 0) : len(waveform) - max(shift, 0)]
    return moved


def mask_time(waveform: Waveform, rate_hz: int, rng: Generator, *, mask_ms: Range, count: int) -> Waveform:
    """Return the waveform with stretches silenced.

    Args:
        waveform: shape (samples,).
        rate_hz: of the waveform.
        rng: draws how long the stretches are and where.
        mask_ms: range of the length of each.
        count: the number of stretches, together at most half of the waveform.
    """
    masked = waveform.copy()
    for _ in range(count):
        length = min(round(rng.uniform(*mask_ms) * rate_hz / 1000), len(waveform) // (2 * count))
        start = rng.integers(len(waveform) - length + 1)
        masked[start : start + length] = 0.0
    return masked


def limit_peak(waveform: Waveform, highest: float) -> Waveform:
    """Return the waveform softer as a whole, so that no sample lies beyond a limit: the ratios within it stay.

    Example:
        >>> limit_peak(np.array([0.5, -2.0], np.float32), highest=1.0)
        array([ 0.25, -1.  ], dtype=float32)
    """
    peak = float(np.abs(waveform).max(initial=0.0))
    return waveform if peak <= highest else (waveform * (highest / peak)).astype(np.float32)


def mean_power(waveform: NDArray[np.floating]) -> float:
    """Return the mean of the squared samples, 0 for none."""
    return float(np.square(waveform, dtype=np.float64).mean()) if len(waveform) else 0.0


def _add_at(waveform: Waveform, added: NDArray[np.float64], ratio_db: float) -> Waveform:
    """Add what makes the ratio of the two mean powers, measured on this very waveform."""
    power = mean_power(added)
    if power == 0.0:
        return waveform.copy()
    factor = float(np.sqrt(mean_power(waveform) / power)) * 10 ** (-ratio_db / 20)
    return (waveform + factor * added).astype(np.float32)
