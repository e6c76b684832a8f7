"""The voice of the demo corpus: source-filter speech whose traits are set by number.

A glottal source (Rosenberg's pulse, Rosenberg 1971, doi 10.1121/1.1912389, with jitter, shimmer and aspiration) drives
a cascade of formant resonators (Klatt 1980, doi 10.1121/1.383940) that move through consonants and vowels. The words
are babble; what counts is that each trait changes what clinicians hear it by, and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

RATE_HZ = 16_000
TRAITS = (
    "hoarse_harsh",
    "breathy",
    "slow_rate",
    "monopitch_monoloudness",
    "inappropriate_silences_or_prolonged_intervals",
    "sound_distortions",
)

Array = NDArray[np.float64]

_STEP = 80  # samples from one set of filter coefficients to the next: 5 ms, as in Klatt's synthesiser
_STEPS_PER_SECOND = RATE_HZ // _STEP
_RESPONSE = 640  # samples in which a piece of the source and its resonance have died away: 40 ms
_NEUTRAL_HZ = np.array([500.0, 1500.0, 2500.0])  # the formants of a uniform tube 17 cm long: schwa
_BANDWIDTHS_HZ = np.array([70.0, 90.0, 140.0])
_UPPER_HZ = ((3500.0, 220.0), (4500.0, 320.0))  # the formants that stay, with their bandwidths

# formants of a long vocal tract, after Peterson and Barney 1952 (men)
_VOWELS_HZ = np.array(
    [[280, 2280, 3000], [430, 2020, 2600], [660, 1720, 2410], [740, 1120, 2440], [500, 870, 2410], [310, 850, 2240]],
    dtype=np.float64,
)


class _Segment(NamedTuple):
    """A stretch of sound with one articulatory target."""

    seconds: float
    formants_hz: Array
    voicing: float
    noise: tuple[float, float, float]  # in the bands of _NOISE_BANDS
    syllable: int


# where turbulence is heard: at the lips, the soft palate, the teeth
_NOISE_BANDS = [
    butter(4, band_hz, btype="bandpass", fs=RATE_HZ, output="sos")
    for band_hz in ((400.0, 1400.0), (1500.0, 3500.0), (4000.0, 7500.0))
]


@dataclass(frozen=True)
class _Consonant:
    seconds: float
    formants_hz: tuple[float, float, float]
    voicing: float
    noise: tuple[float, float, float] = (0.0, 0.0, 0.0)
    burst: tuple[float, float, float] = (0.0, 0.0, 0.0)


_CONSONANTS = (
    _Consonant(0.075, (250, 900, 2300), 0.0, burst=(0.35, 0.1, 0.1)),  # p
    _Consonant(0.070, (250, 1750, 2700), 0.0, burst=(0.0, 0.15, 0.5)),  # t
    _Consonant(0.075, (250, 2000, 2300), 0.0, burst=(0.1, 0.5, 0.1)),  # k
    _Consonant(0.060, (220, 900, 2300), 0.1, burst=(0.2, 0.0, 0.0)),  # b
    _Consonant(0.055, (220, 1750, 2700), 0.1, burst=(0.0, 0.05, 0.3)),  # d
    _Consonant(0.100, (300, 1600, 2600), 0.0, noise=(0.0, 0.03, 0.45)),  # s
    _Consonant(0.100, (300, 1800, 2400), 0.0, noise=(0.0, 0.45, 0.15)),  # sh
    _Consonant(0.065, (270, 1000, 2200), 0.4),  # m
    _Consonant(0.060, (270, 1650, 2500), 0.4),  # n
    _Consonant(0.060, (330, 1100, 2700), 0.6),  # l
)


@dataclass(frozen=True)
class Voice:
    """What a speaker is born with.

    Args:
        f0_hz: the middle of the pitch range.
        formant_factor: 1 for a vocal tract of 17 cm, more for a shorter one.
        syllable_seconds: the usual length of a syllable.
    """

    f0_hz: float
    formant_factor: float
    syllable_seconds: float


@dataclass(frozen=True)
class Style:
    """How a task makes people speak.

    Args:
        seconds: about the shortest and longest recording, give or take half a syllable.
        pauses: how many short pauses are usual.
        accent_every: syllables from one accent to the next.
    """

    seconds: tuple[float, float]
    pauses: int
    accent_every: int


def speak(voice: Voice, severity: Mapping[str, float], style: Style, rng: np.random.Generator) -> Array:
    """Return an utterance of babble as a waveform at 16 kHz, with an RMS of 1.

    Args:
        voice: the speaker.
        severity: per trait 0 (absent) to 3 (severe); any number in between.
        style: the task.
        rng: gives the words and every accident.
    """
    segments = _plan(voice, severity, style, rng)
    steps = np.array([max(1, round(segment.seconds * _STEPS_PER_SECOND)) for segment in segments])
    pace = 1 + 0.8 * severity["slow_rate"]
    formants_hz = _smooth(np.repeat([s.formants_hz for s in segments], steps, axis=0).T, seconds=0.05 * pace)
    voicing = _smooth(np.repeat([s.voicing for s in segments], steps)[None], seconds=0.03 * pace)[0]
    noise = _smooth(np.repeat([s.noise for s in segments], steps, axis=0).T, seconds=0.01)
    semitones, level_db = _melody(np.repeat([s.syllable for s in segments], steps), severity, style, rng)
    f0_hz = voice.f0_hz * 2 ** (semitones / 12)
    loudness = 10 ** (level_db / 20)

    source = _glottis(f0_hz, voicing * loudness, severity, rng)
    bandwidths_hz = _BANDWIDTHS_HZ * np.array([1 + 0.5 * severity["breathy"], 1, 1])
    mouth = _resonate(source, formants_hz * voice.formant_factor, bandwidths_hz)
    for upper_hz, bandwidth_hz in _UPPER_HZ:
        gain, a1, a2 = _resonator(upper_hz * voice.formant_factor, bandwidth_hz)
        mouth = lfilter([gain], [1.0, a1, a2], mouth)
    # how loud a vowel is follows from the melody, not from its formants
    mouth *= _to_samples(np.sqrt(_power(source) / _power(mouth)))
    speech: Array = mouth / _rms(mouth) + _hiss(noise * loudness / _rms(loudness), rng)
    return speech / _rms(speech)


# --- what is said -----------------------------------------------------------------------------------------------------


def _plan(voice: Voice, severity: Mapping[str, float], style: Style, rng: np.random.Generator) -> list[_Segment]:
    """Return the segments of an utterance whose length does not tell how fast it is spoken."""
    silences = severity["inappropriate_silences_or_prolonged_intervals"]
    stretch = 1 + 0.65 * severity["slow_rate"]
    seconds = rng.uniform(*style.seconds)
    edges = rng.uniform(0.08, 0.16, 2)
    n_pauses = style.pauses + round(silences)
    paused = style.pauses * rng.uniform(0.08, 0.16) + round(silences) * (rng.uniform(0.2, 0.35) + 0.08 * silences)
    paused = min(paused, 0.45 * seconds)
    syllables: list[list[_Segment]] = []
    left = seconds - edges.sum() - paused
    while True:
        prolonged = 1 + rng.uniform(0.5, 1.0) * silences * (rng.random() < 0.12)
        syllable = _syllable(len(syllables), voice.syllable_seconds * stretch, prolonged, severity, rng)
        length = sum(segment.seconds for segment in syllable)
        if length / 2 > left and len(syllables) > 1:
            break
        syllables.append(syllable)
        left -= length
    places = rng.permutation(np.arange(1, len(syllables)))[:n_pauses]
    shares = rng.uniform(0.7, 1.3, len(places))
    pauses = dict(zip(places.tolist(), paused * shares / shares.sum(), strict=True))
    segments = [_silence(edges[0], 0)]
    for number, syllable in enumerate(syllables):
        segments += [_silence(pauses[number], number)] if number in pauses else []
        segments += syllable
    return [*segments, _silence(edges[1], len(syllables) - 1)]


def _silence(seconds: float, syllable: int) -> _Segment:
    return _Segment(seconds, _NEUTRAL_HZ, 0.0, (0.0, 0.0, 0.0), syllable)


def _syllable(
    number: int, seconds: float, prolonged: float, severity: Mapping[str, float], rng: np.random.Generator
) -> list[_Segment]:
    """Return a consonant and a vowel; distorted ones miss their targets and close loosely."""
    missed = min(0.27 * severity["sound_distortions"], 0.9)
    consonant = _CONSONANTS[rng.integers(len(_CONSONANTS))]
    vowel = _VOWELS_HZ[rng.integers(len(_VOWELS_HZ))] * rng.normal(1, 0.03, 3)
    pace = seconds / 0.2
    vowel_seconds = min((0.2 - consonant.seconds) * pace * rng.uniform(0.8, 1.2) * prolonged, 0.7)

    def reach(target_hz: Array) -> Array:
        return target_hz + missed * (_NEUTRAL_HZ - target_hz)

    def loosen(noise: tuple[float, float, float]) -> tuple[float, float, float]:
        low, middle, high = noise
        # the tongue leaks: less turbulence, and further back
        return (low * (1 - missed), (middle + 0.4 * missed * high) * (1 - 0.7 * missed), high * (1 - missed))

    closed = _Segment(
        consonant.seconds * pace**0.5,
        reach(np.array(consonant.formants_hz)),
        consonant.voicing + missed * (0.6 - consonant.voicing),
        loosen(consonant.noise),
        number,
    )
    burst = _Segment(0.015, closed.formants_hz, 0.3 * missed, loosen(consonant.burst), number)
    opened = _Segment(vowel_seconds, reach(vowel), 1.0, (0.0, 0.0, 0.0), number)
    return [closed, burst, opened] if any(consonant.burst) else [closed, opened]


def _melody(
    syllable: NDArray[np.int64], severity: Mapping[str, float], style: Style, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return pitch in semitones and level in dB for each step: accents on a falling line, flat where monotonous."""
    n_syllables = int(syllable[-1]) + 1
    accented = (np.arange(n_syllables) + rng.integers(style.accent_every)) % style.accent_every == 0
    height = np.where(accented, rng.uniform(7.0, 12.0, n_syllables), rng.uniform(-1.5, 1.5, n_syllables))
    loudness = np.where(accented, rng.uniform(2.0, 5.0, n_syllables), rng.uniform(-12.0, -5.0, n_syllables))
    falling = np.linspace(1, -1, len(syllable))
    liveliness = np.exp(-1.6 * severity["monopitch_monoloudness"])
    drift = _smooth(rng.normal(0, 1, (1, len(syllable))), seconds=0.3)[0] * 1.5
    semitones = (height[syllable] - height.mean() + 3.0 * falling) * liveliness
    level_db = (loudness[syllable] + 4.0 * falling) * liveliness
    return _smooth(semitones[None], seconds=0.12)[0] + drift, _smooth(level_db[None], seconds=0.06)[0]


def _smooth(tracks: Array, seconds: float) -> Array:
    """Return each track under a moving Hann window, its ends held."""
    window = np.hanning(round(seconds * _STEPS_PER_SECOND) + 2)[1:-1]
    before = (len(window) - 1) // 2
    padded = np.pad(tracks, ((0, 0), (before, len(window) - 1 - before)), mode="edge")
    return np.stack([np.convolve(track, window / window.sum(), mode="valid") for track in padded])


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _power(waveform: Array) -> Array:
    """Return the power of each step, smoothed over a syllable."""
    power: Array = _smooth(np.mean(waveform.reshape(1, -1, _STEP) ** 2, axis=2), seconds=0.2)[0]
    return power.clip(1e-6 * power.max())


# --- how it sounds ----------------------------------------------------------------------------------------------------


def _to_samples(track: Array) -> Array:
    middles = (np.arange(len(track)) + 0.5) * _STEP
    samples: Array = np.interp(np.arange(len(track) * _STEP), middles, track)
    return samples


def _glottis(f0_hz: Array, amplitude: Array, severity: Mapping[str, float], rng: np.random.Generator) -> Array:
    """Return the derivative of the glottal flow, with the breath that leaks through."""
    hoarse, breathy = severity["hoarse_harsh"], severity["breathy"]
    amplitude = _to_samples(amplitude)
    cycles = np.cumsum(_to_samples(f0_hz)) / RATE_HZ
    n_cycles = int(cycles[-1]) + 2
    times = np.arange(len(cycles), dtype=np.float64)
    onsets = np.interp(np.arange(n_cycles + 1), cycles, times)
    beyond = np.arange(n_cycles + 1) > cycles[-1]
    onsets[beyond] = times[-1] + np.arange(1, beyond.sum() + 1) * RATE_HZ / f0_hz[-1]
    periods = np.diff(onsets, append=onsets[-1] + RATE_HZ / f0_hz[-1])
    jitter = np.clip(rng.normal(0, 0.003 + 0.025 * hoarse, len(onsets)), -0.15, 0.15)
    shimmer = np.exp(np.clip(rng.normal(0, 0.03 + 0.3 * hoarse, len(onsets)), -1.0, 1.0))
    onsets = onsets + jitter * periods
    onsets[0] = 0.0

    cycle = np.searchsorted(onsets, times, side="right") - 1
    cycle = np.clip(cycle, 0, len(onsets) - 2)
    phase = (times - onsets[cycle]) / (onsets[cycle + 1] - onsets[cycle])
    opened = np.clip(phase / np.clip(0.6 + 0.1 * breathy - 0.08 * hoarse, 0.3, 0.9), 0, 1)
    flow = 6.75 * opened**2 * (1 - opened) * shimmer[cycle]
    # the difference of sampled flow is its derivative averaged over a sample: the closure aliases little
    pulses = np.diff(flow * amplitude, prepend=0.0) * RATE_HZ / np.repeat(f0_hz, _STEP) / 10
    tilt = np.exp(-2 * np.pi * 3500 * (1 + 0.5 * hoarse) / (1 + 0.9 * breathy) / RATE_HZ)
    pulses = lfilter([1 - tilt], [1, -tilt], pulses)
    breath = rng.normal(0, 1, len(times)) * amplitude
    rough = rng.normal(0, 1, len(times)) * amplitude * flow
    result: Array = pulses + breath * (0.004 + 0.11 * breathy) + rough * (0.002 + 0.12 * hoarse)
    return result


def _resonator(formant_hz: Array | float, bandwidth_hz: float) -> tuple[Array, Array, float]:
    """Return the gain and the two coefficients of y[n] = gain x[n] - a1 y[n-1] - a2 y[n-2]."""
    radius = np.exp(-np.pi * bandwidth_hz / RATE_HZ)
    a1 = -2 * radius * np.cos(2 * np.pi * np.asarray(formant_hz) / RATE_HZ)
    return 1 + a1 + radius**2, a1, radius**2


def _resonate(source: Array, formants_hz: Array, bandwidths_hz: Array) -> Array:
    """Return the source after a cascade of resonators that move, (formants, steps).

    The source is cut under overlapping Hann windows that add up to one; each piece gets the response of its step.
    """
    n_steps = formants_hz.shape[1]
    pieces = np.lib.stride_tricks.sliding_window_view(np.pad(source, _STEP), 2 * _STEP)[::_STEP]
    delay = np.exp(-2j * np.pi * np.fft.rfftfreq(_RESPONSE))
    damping: Array | float = 1.0
    for formant_hz, bandwidth_hz in zip(formants_hz, bandwidths_hz, strict=True):
        # piece n is centred on the border of the steps n - 1 and n
        gain, a1, a2 = _resonator(np.append(formant_hz, formant_hz[-1])[:, None], bandwidth_hz)
        damping = damping * ((a1 * delay + (1 + a2 * delay**2)) / gain)
    answers = np.fft.irfft(np.fft.rfft(pieces * np.hanning(2 * _STEP + 1)[:-1], _RESPONSE) / damping)
    heard = np.zeros((n_steps + _RESPONSE // _STEP, _STEP))
    for lag in range(_RESPONSE // _STEP):
        heard[lag : lag + n_steps + 1] += answers[:, lag * _STEP : (lag + 1) * _STEP]
    return heard.ravel()[_STEP : _STEP + len(source)]


def _hiss(amplitudes: Array, rng: np.random.Generator) -> Array:
    """Return bursts and friction: noise in bands under their envelopes, (bands, steps)."""
    result = np.zeros(amplitudes.shape[1] * _STEP)
    for sections, amplitude in zip(_NOISE_BANDS, amplitudes, strict=True):
        white = rng.normal(0, 1, len(result))
        band = sosfilt(sections, white)
        result += band / band.std() * _to_samples(amplitude)
    return result
