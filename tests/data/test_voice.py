"""Each trait is measured in the audio, in the ways that phoneticians measure it."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import butter, hilbert, sosfiltfilt
from scipy.stats import spearmanr

from lalia.data.voice import RATE_HZ, TRAITS, Style, Voice, speak

Array = NDArray[np.float64]

NONE = dict.fromkeys(TRAITS, 0.0)
HOP = RATE_HZ // 100


def cut_frames(signal: Array, n_samples: int) -> Array:
    return np.lib.stride_tricks.sliding_window_view(signal, n_samples)[::HOP]


def to_db(power: Array) -> Array:
    return 10 * np.log10(power + 1e-9)


def correlate_with_itself(signal: Array) -> Array:
    """The autocorrelation of 50 ms frames at lags of up to 25 ms, corrected for the window (Boersma 1993)."""
    window = np.hanning(800)
    frames = cut_frames(signal, 800)
    spectra = np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * window, 2048)
    found = np.fft.irfft(np.abs(spectra) ** 2)[:, :400]
    of_window = np.fft.irfft(np.abs(np.fft.rfft(window, 2048)) ** 2)[:400]
    return found / (found[:, :1] + 1e-9) / (of_window / of_window[0])


def measure(waveform: Array, f0_hz: float) -> dict[str, float]:
    """Return a measure of each trait that rises with its severity."""
    power_db = to_db(np.mean(cut_frames(waveform, 800) ** 2, axis=1))
    shortest, longest = int(RATE_HZ / f0_hz / 1.8), int(RATE_HZ / f0_hz * 1.6)
    correlation = correlate_with_itself(waveform)
    period = correlation[:, shortest:longest].argmax(axis=1) + shortest
    frames = np.arange(len(period))
    voiced = (correlation[frames, period] > 0.6) & (power_db > power_db.max() - 20)

    high = sosfiltfilt(butter(4, (1500, 4500), btype="bandpass", fs=RATE_HZ, output="sos"), waveform)
    pulsation = correlate_with_itself(np.abs(hilbert(high)))[frames, period]

    fine_db = to_db(np.mean(cut_frames(waveform, HOP) ** 2, axis=1))
    flutter_db = np.abs(np.diff(fine_db, 2))[fine_db[1:-1] > fine_db.max() - 15]

    spectra = np.abs(np.fft.rfft(cut_frames(waveform, 512) * np.hanning(512))) ** 2
    total_db = to_db(spectra.sum(axis=1))
    loud = total_db > total_db.max() - 20
    edges = np.round(300 * 1.3 ** np.arange(10) * 512 / RATE_HZ).astype(int)
    bands_db = to_db(np.add.reduceat(spectra, edges, axis=1)[:, :-1])
    shape_db = bands_db - bands_db.mean(axis=1, keepdims=True)
    spread_db = np.sqrt((bands_db[loud] - bands_db[loud].mean(axis=0)).var())
    change_db = np.median(np.abs(bands_db[12:] - bands_db[:-12])[loud[12:] & loud[:-12]])

    silent = power_db < power_db.max() - 25
    within = silent[np.argmin(silent) : len(silent) - np.argmin(silent[::-1])]
    return {
        # the level flutters from one period to the next: shimmer
        "hoarse_harsh": float(np.median(flutter_db)),
        # the upper formants no longer pulsate with the voice: steady noise fills them
        "breathy": -float(np.median(pulsation[voiced])),
        # little changes in 120 ms, beside what changes at all
        "slow_rate": -float(change_db / spread_db),
        "monopitch_monoloudness": -float(np.log2(period[voiced]).std()),
        "inappropriate_silences_or_prolonged_intervals": float(within.mean()),
        # all sounds have about the same spectrum
        "sound_distortions": -float(np.sqrt(shape_db[loud].var(axis=0).mean())),
    }


@pytest.fixture(scope="module")
def severities_and_measures() -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    severities = rng.uniform(0.5, 3, (60, len(TRAITS))) * (rng.random((60, len(TRAITS))) < 0.5)
    measures = []
    for number, severity in enumerate(severities):
        voice = Voice(120, 1.0, 0.19) if number % 2 else Voice(200, 1.15, 0.19)
        style = Style(seconds=(2.4, 3.4), pauses=number // 2 % 2, accent_every=3)
        waveform = speak(voice, dict(zip(TRAITS, severity, strict=True)), style, rng)
        measured = measure(waveform + rng.normal(0, 0.01, len(waveform)), voice.f0_hz)
        measures.append([measured[trait] for trait in TRAITS])
    return severities, np.array(measures)


@pytest.mark.parametrize("trait", TRAITS)
def test_each_trait_is_heard_in_its_own_measure(trait: str, severities_and_measures: tuple[Array, Array]) -> None:
    severities, measures = severities_and_measures
    column = TRAITS.index(trait)
    correlations = [spearmanr(severities[:, other], measures[:, column]).statistic for other in range(len(TRAITS))]
    assert correlations[column] > 0.6
    assert np.abs(np.delete(correlations, column)).max() < 0.45
