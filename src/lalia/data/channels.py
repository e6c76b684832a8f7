"""Distortions on the way from the mouth to the file: a missing band, a room, a telephone, a codec.

Each takes a waveform, shape (samples,), its rate and a random generator, and returns a new waveform of the same length
in which everything is where it was; ranges are drawn from uniformly.
"""

import io
from collections.abc import Callable, Sequence

import numpy as np
import scipy
import soundfile
import soxr
from numpy.random import Generator
from numpy.typing import NDArray

from lalia.data.decoding import Waveform
from lalia.data.distortions import Range, limit_peak, mean_power

TELEPHONE_BAND_HZ = (300.0, 3400.0)
"""The band of a telephone line (ITU-T G.712)."""
TELEPHONE_RATE_HZ = 8_000

_EDGE_HZ = 50.0  # how wide the edges of a band are
_FILTER_PAD_SECONDS = 0.05  # what rings beyond the ends must not come in at the other end
_FIRST_ECHO_SECONDS = 0.002
# libsndfile's Vorbis encoder puts a whole call's samples on the stack: minutes of them at once end the process
_ENCODED_AT_ONCE = 4_096
_LATEST_DECODED_SECONDS = 0.00025  # Opus at low rates comes back up to 3 samples of 48 kHz late
_FORMATS = {"mp3": ("MP3", "MPEG_LAYER_III"), "vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}
_RATES_HZ = {
    "mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "vorbis": (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000),
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
}


def mask_frequencies(waveform: Waveform, rate_hz: int, rng: Generator, *, width_hz: Range) -> Waveform:
    """Return the waveform without a band of frequencies, which lies anywhere below half the rate.

    Args:
        waveform: shape (samples,).
        rate_hz: of the waveform.
        rng: draws the band.
        width_hz: range of its width, at most a quarter of the rate; its edges are 50 Hz wide and lie outside.
    """
    width = min(rng.uniform(*width_hz), rate_hz / 4)
    low = rng.uniform(0.0, rate_hz / 2 - width)
    edges = (low - _EDGE_HZ, low, low + width, low + width + _EDGE_HZ)
    return filter_spectrum(waveform, rate_hz, lambda hertz: np.interp(hertz, edges, (1.0, 0.0, 0.0, 1.0)))


def telephone(waveform: Waveform, rate_hz: int, rng: Generator) -> Waveform:
    """Return the waveform as a telephone passes it on: 300 to 3,400 Hz, at 8 kHz in between.

    The gain falls to nothing from 300 to 200 Hz and from 3,400 to 4,000 Hz. A line's companding is not imitated.
    """
    low, high = TELEPHONE_BAND_HZ
    edges = (low - 2 * _EDGE_HZ, low, high, TELEPHONE_RATE_HZ / 2)
    band = filter_spectrum(waveform, rate_hz, lambda hertz: np.interp(hertz, edges, (0.0, 1.0, 1.0, 0.0)))
    return _at_rate(band, rate_hz, TELEPHONE_RATE_HZ, lambda narrow: narrow)


def reverberate(waveform: Waveform, rate_hz: int, rng: Generator, *, rt60_seconds: Range, direct_db: Range) -> Waveform:
    """Return the waveform as in a room, with the direct sound where it was and the mean power as it was.

    The room is a synthetic impulse response: one sample of direct sound, and from 2 ms on Gaussian noise that decays
    exponentially (Polack 1988). Echoes after the end are lost.

    Args:
        waveform: shape (samples,).
        rate_hz: of the waveform.
        rng: draws the room.
        rt60_seconds: range of the time in which the echoes fall by 60 dB.
        direct_db: range of the ratio of the direct sound's energy to that of all echoes.
    """
    rt60, ratio_db = rng.uniform(*rt60_seconds), rng.uniform(*direct_db)
    first = max(1, round(_FIRST_ECHO_SECONDS * rate_hz))
    times = np.arange(first, max(first + 1, round(rt60 * rate_hz))) / rate_hz
    echoes = rng.standard_normal(len(times)) * 10 ** (-3 * times / rt60)
    echoes *= 10 ** (-ratio_db / 20) / np.sqrt(np.square(echoes).sum())
    response = np.concatenate([[1.0], np.zeros(first - 1), echoes])
    wet: NDArray[np.float64] = scipy.signal.oaconvolve(waveform.astype(np.float64), response)[: len(waveform)]
    power = mean_power(wet)
    return (wet * (float(np.sqrt(mean_power(waveform) / power)) if power else 1.0)).astype(np.float32)


def compress(
    waveform: Waveform, rate_hz: int, rng: Generator, *, codecs: Sequence[str], compression: Range
) -> Waveform:
    """Return what a lossy codec leaves of the waveform, in memory and back.

    A codec that lacks the rate gets the next higher one it has, or its highest. The level is lowered to full scale
    before encoding where it lies above, and raised again afterwards. What is decoded late is moved back.

    Args:
        waveform: shape (samples,).
        rate_hz: of the waveform.
        rng: draws codec and compression.
        codecs: of mp3, vorbis and opus, of which one is drawn.
        compression: range of libsndfile's level, 0 to below 1; more is smaller and worse.
    """
    codec = codecs[int(rng.integers(len(codecs)))]
    level = rng.uniform(*compression)
    scaled = limit_peak(waveform, 1.0)
    rates = _RATES_HZ[codec]
    rate = next((each for each in rates if each >= rate_hz), rates[-1])
    decoded = _at_rate(scaled, rate_hz, rate, lambda samples: _round_trip(samples, rate, codec, level))
    if scaled is not waveform:
        decoded = decoded * np.float32(np.abs(waveform).max())
    return _undo_delay(decoded, waveform, round(_LATEST_DECODED_SECONDS * rate_hz))


def fit_length(waveform: Waveform, n_samples: int) -> Waveform:
    """Return the waveform cut or filled up with zeros at its end."""
    return np.pad(waveform[:n_samples], (0, max(0, n_samples - len(waveform))))


def filter_spectrum(
    waveform: Waveform, rate_hz: int, gain_at: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> Waveform:
    """Weight the whole waveform's spectrum, without a delay at any frequency.

    Args:
        waveform: shape (samples,).
        rate_hz: of the waveform.
        gain_at: from frequencies in Hz to factors.
    """
    size = scipy.fft.next_fast_len(len(waveform) + round(_FILTER_PAD_SECONDS * rate_hz), real=True)
    spectrum = scipy.fft.rfft(waveform.astype(np.float64), size) * gain_at(scipy.fft.rfftfreq(size, 1 / rate_hz))
    filtered: NDArray[np.float64] = scipy.fft.irfft(spectrum, size)[: len(waveform)]
    return filtered.astype(np.float32)


def _at_rate(waveform: Waveform, rate_hz: int, other_hz: int, change: Callable[[Waveform], Waveform]) -> Waveform:
    """Change the waveform while it is at another rate; its length stays."""
    if rate_hz == other_hz:
        return fit_length(change(waveform), len(waveform))
    changed = change(soxr.resample(waveform, rate_hz, other_hz, quality="HQ"))
    return fit_length(soxr.resample(changed, other_hz, rate_hz, quality="HQ"), len(waveform))


def _round_trip(waveform: Waveform, rate_hz: int, codec: str, level: float) -> Waveform:
    container, subtype = _FORMATS[codec]
    memory = io.BytesIO()
    with soundfile.SoundFile(
        memory, "w", rate_hz, 1, format=container, subtype=subtype, compression_level=level
    ) as file:
        for start in range(0, len(waveform), _ENCODED_AT_ONCE):
            file.write(waveform[start : start + _ENCODED_AT_ONCE])
    memory.seek(0)
    decoded: Waveform = soundfile.read(memory, dtype="float32")[0]
    return fit_length(decoded, len(waveform))


def _undo_delay(decoded: Waveform, original: Waveform, most: int) -> Waveform:
    """Move the decoded waveform by up to ``most`` samples to where it correlates best with the original."""
    # no shift comes first, so that it wins among equals
    shifts = sorted(range(-most, most + 1), key=abs)
    padded = np.pad(decoded, most)
    best = max(shifts, key=lambda shift: float(padded[most + shift : most + shift + len(original)] @ original))
    return padded[most + best : most + best + len(original)].copy()
