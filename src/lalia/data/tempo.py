"""Distortions of tempo and pitch: speed changes both, pitch alone keeps the length.

Both falsify what many traits are rated by; ``lalia.data.trait_risks`` says which.
"""

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import Generator

from lalia.data.channels import fit_length
from lalia.data.decoding import Waveform
from lalia.data.distortions import Range

_GRAIN_SECONDS = 0.032  # two periods of the lowest voices


def change_speed(waveform: Waveform, rate_hz: int, rng: Generator, *, factor: Range) -> Waveform:
    """Return the waveform played faster or slower, by resampling: pitch, formants and length change with it.

    Args:
        waveform: shape (samples,).
        rate_hz: of the waveform.
        rng: draws the factor.
        factor: range of the speed, 1 is as recorded.

    Returns:
        ``round(samples / factor)`` samples, at least 1.

    Example:
        >>> len(change_speed(np.ones(16_000, np.float32), 16_000, np.random.default_rng(0), factor=(1.25, 1.25)))
        12800
    """
    return _resample(waveform, rng.uniform(*factor))


def change_pitch(waveform: Waveform, rate_hz: int, rng: Generator, *, semitones: Range) -> Waveform:
    """Return the waveform higher or lower, formants included, as long as it was.

    It is resampled and then stretched to its old length by waveform similarity overlap-add (WSOLA, Verhelst and
    Roelands 1993).

    Args:
        waveform: shape (samples,).
        rate_hz: of the waveform.
        rng: draws the change.
        semitones: range of the change, a twelfth of an octave each.
    """
    factor = 2 ** (rng.uniform(*semitones) / 12)
    return _stretch(_resample(waveform, factor), len(waveform), rate_hz)


def _resample(waveform: Waveform, factor: float) -> Waveform:
    n_samples = max(1, round(len(waveform) / factor))
    return fit_length(soxr.resample(waveform, factor, 1.0, quality="HQ"), n_samples)


def _stretch(waveform: Waveform, n_samples: int, rate_hz: int) -> Waveform:
    """Return the waveform with another length and the same pitch.

    Grains of 32 ms, half of each over the next, are taken where they go on best from the grain before, at most a
    quarter of a grain from where they belong.
    """
    if len(waveform) == n_samples:
        return waveform
    half = max(2, round(_GRAIN_SECONDS * rate_hz / 2))
    grain, search = 2 * half, half // 2
    window = np.sin(np.pi * (np.arange(grain) + 0.5) / grain) ** 2
    margin = grain + search
    source = np.pad(waveform.astype(np.float64), (margin, margin + 2 * grain))
    # the result begins half a grain early, so that two grains make each of its samples
    result = np.zeros(n_samples + 2 * grain)
    place = margin - half
    for start in range(0, n_samples + half, half):
        if start:
            wanted = margin - half + round(start * len(waveform) / n_samples)
            candidates = sliding_window_view(source[wanted - search : wanted + search + grain], grain)
            follower = source[place + half : place + half + grain]
            likeness = candidates @ follower / np.sqrt(np.square(candidates).sum(axis=1) + 1e-12)
            place = wanted - search + int(np.argmax(likeness))
        result[start : start + grain] += window * source[place : place + grain]
    return result[half : half + n_samples].astype(np.float32)
