"""Recordings edited in a known way: a stretch or a band silenced, pauses cut or put in, breath or loudness changed.

What is silenced is filled with the recording's own background, because digital silence would be a sound of its own to
an encoder. Every function takes a waveform, shape (samples,), and its rate, leaves them as they are and returns the
same each time.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lalia.data.audio import frame_levels
from lalia.data.channels import filter_spectrum
from lalia.data.decoding import Waveform

HIGH_HZ: Final = 3000.0
"""What lies above is friction and breath more than voice."""
LONGEST_PAUSE_SECONDS: Final = 0.12
"""Closures of consonants are shorter, so they stay where pauses are cut."""
ADDED_PAUSE_SECONDS: Final = 0.6
BREATH_HZ: Final = 1500.0
"""Breath is heard from here on, where the third formant lies among others (Klatt and Klatt 1990)."""
ADDED_BREATH_DB: Final = 6.0
"""The level of added breath beside that of the voice, above ``BREATH_HZ``."""

_QUIET_SHARE = 0.1  # of the frames, those that are taken for background
_FADE_SECONDS = 0.005
_EDGE_HZ = 50.0
# a pause is this near the quietest frames, and this far below the loud ones
_ABOVE_FLOOR_DB, _LEAST_BELOW_DB, _MOST_BELOW_DB = 6.0, 20.0, 35.0


def make_background(waveform: Waveform, rate_hz: int) -> Waveform:
    """Return noise with the mean spectrum and level of the quietest tenth of a recording, of its length."""
    levels, starts, frame = frame_levels(waveform, rate_hz)
    quiet = starts[np.argsort(levels, kind="stable")[: max(1, round(_QUIET_SHARE * len(levels)))]]
    gain_at = _spectrum_of(waveform, rate_hz, quiet, frame)
    return filter_spectrum(_noise(len(waveform)), rate_hz, gain_at)


def silence_stretch(waveform: Waveform, rate_hz: int, start: int, end: int, background: Waveform) -> Waveform:
    """Return the waveform with its background alone from sample ``start`` to ``end``."""
    fade = max(1, round(_FADE_SECONDS * rate_hz))
    places = np.arange(len(waveform))
    inside = np.clip(np.minimum(places - start, end - 1 - places) / fade + 1.0, 0.0, 1.0)
    return (waveform * (1 - inside) + background * inside).astype(np.float32)


def silence_band(waveform: Waveform, rate_hz: int, low_hz: float, high_hz: float, background: Waveform) -> Waveform:
    """Return the waveform with its background alone between two frequencies; the edges are 50 Hz wide and outside."""

    def inside(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        below = 1.0 if low_hz <= 0 else 0.0
        above = 1.0 if high_hz >= rate_hz / 2 else 0.0
        edges = (low_hz - _EDGE_HZ, low_hz, high_hz, high_hz + _EDGE_HZ)
        gain: NDArray[np.float64] = np.interp(hertz, edges, (below, 1.0, 1.0, above))
        return gain

    difference = background - waveform
    return (waveform + filter_spectrum(difference, rate_hz, inside)).astype(np.float32)


def find_pauses(waveform: Waveform, rate_hz: int) -> list[tuple[int, int]]:
    """Return where the pauses within a recording start and end, in samples; its ends are none.

    A pause is at most 6 dB above the quietest frames, but at least 20 and at most 35 dB below the loud ones, and longer
    than the closure of a consonant.
    """
    levels, starts, frame = frame_levels(waveform, rate_hz)
    decibels = 20 * np.log10(np.maximum(levels, 1e-9))
    floor, loud = np.quantile(decibels, [0.05, 0.95])
    limit = np.clip(floor + _ABOVE_FLOOR_DB, loud - _MOST_BELOW_DB, loud - _LEAST_BELOW_DB)
    sounding = np.flatnonzero(decibels > limit)
    if not len(sounding):
        return []
    ends, begins = starts[sounding[:-1]] + frame, starts[sounding[1:]]
    longest = round(LONGEST_PAUSE_SECONDS * rate_hz)
    return [(int(end), int(begin)) for end, begin in zip(ends, begins, strict=True) if begin - end > longest]


def cut_pauses(waveform: Waveform, rate_hz: int) -> Waveform:
    """Return the waveform with every pause cut to 0.12 s."""
    kept, last = [], 0
    for start, end in find_pauses(waveform, rate_hz):
        left = round(LONGEST_PAUSE_SECONDS * rate_hz)
        kept.append(waveform[last : start + left // 2])
        last = end - (left - left // 2)
    return _join([*kept, waveform[last:]], rate_hz)


def add_pause(waveform: Waveform, rate_hz: int) -> Waveform:
    """Return the waveform with 0.6 s of its background put in at the quietest place of its middle half."""
    levels, starts, frame = frame_levels(waveform, rate_hz)
    middle = slice(len(levels) // 4, max(len(levels) // 4 + 1, 3 * len(levels) // 4))
    place = int(starts[middle][np.argmin(levels[middle])]) + frame // 2
    background = make_background(waveform, rate_hz)
    repeats = -(-round(ADDED_PAUSE_SECONDS * rate_hz) // len(background))
    pause = np.tile(background, repeats)[: round(ADDED_PAUSE_SECONDS * rate_hz)]
    return _join([waveform[:place], pause, waveform[place:]], rate_hz)


def add_breath(waveform: Waveform, rate_hz: int) -> Waveform:
    """Return the waveform with noise above 1.5 kHz that sounds like the voice: with its mean spectrum and its rhythm.

    The noise is 6 dB louder than the voice is above 1.5 kHz; the spectrum is that of the louder half of the recording.
    """
    levels, starts, frame = frame_levels(waveform, rate_hz)
    loud = levels >= np.median(levels)
    voice = _spectrum_of(waveform, rate_hz, starts[loud], frame)
    loudness = np.interp(np.arange(len(waveform)), starts + frame / 2, levels)
    usual = np.sqrt(np.mean(levels[loud] ** 2))

    def gain_at(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        return voice(hertz) * np.interp(hertz, (BREATH_HZ - 500.0, BREATH_HZ), (0.0, 1.0))

    breath = loudness * filter_spectrum(_noise(len(waveform)), rate_hz, gain_at)
    louder = 10 ** (ADDED_BREATH_DB / 20) / max(float(usual), 1e-9)
    breathy: Waveform = (waveform + louder * breath).astype(np.float32)
    return breathy


def cut_high(waveform: Waveform, rate_hz: int) -> Waveform:
    """Return the waveform with its background alone above 3 kHz."""
    return silence_band(waveform, rate_hz, HIGH_HZ, rate_hz / 2, make_background(waveform, rate_hz))


def soften(waveform: Waveform, rate_hz: int) -> Waveform:
    """Return the waveform 10 dB softer."""
    return (waveform * 10 ** (-10 / 20)).astype(np.float32)


EDITS: Final[Mapping[str, Callable[[Waveform, int], Waveform]]] = MappingProxyType(
    {
        "pauses cut to 0.12 s": cut_pauses,
        "a pause of 0.6 s put in": add_pause,
        "breath added above 1.5 kHz": add_breath,
        "silent above 3 kHz": cut_high,
        "10 dB softer": soften,
    }
)
"""What is done to whole recordings, by what the report calls it."""


def _spectrum_of(
    waveform: Waveform, rate_hz: int, starts: NDArray[np.int64], frame: int
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return what white noise of variance 1 is weighted with, from Hz, to have the mean spectrum of these frames."""
    window = np.hanning(frame + 2)[1:-1]
    spectra = [np.abs(np.fft.rfft(waveform[start : start + frame] * window)) ** 2 for start in starts]
    power = np.mean(spectra, axis=0) / np.square(window).sum()
    known_hz = np.fft.rfftfreq(frame, 1 / rate_hz)
    return lambda hertz: np.sqrt(np.interp(hertz, known_hz, power))


def _noise(n_samples: int) -> Waveform:
    return np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)


def _join(pieces: list[Waveform], rate_hz: int) -> Waveform:
    """Return the pieces one after the other, each fading into the next over 5 ms."""
    joined = pieces[0]
    for piece in pieces[1:]:
        fade = min(round(_FADE_SECONDS * rate_hz), len(joined), len(piece))
        rising = (np.arange(fade) + 0.5) / max(fade, 1)
        mixed = joined[len(joined) - fade :] * (1 - rising) + piece[:fade] * rising
        joined = np.concatenate([joined[: len(joined) - fade], mixed.astype(np.float32), piece[fade:]])
    return joined
