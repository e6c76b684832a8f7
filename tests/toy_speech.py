"""Synthetic speech, and copies of it as they come about: codecs, rates, gain, a shift."""

import io

import numpy as np
import soundfile
import soxr

from lalia.data.synth import STYLES
from lalia.data.voice import RATE_HZ, TRAITS, Voice, speak


def say(seed, f0_hz=120.0, level=0.05):
    """Return an utterance of about 3 s at 16 kHz, with a little noise."""
    voice = Voice(f0_hz=f0_hz, formant_factor=1.0, syllable_seconds=0.2)
    rng = np.random.default_rng(seed)
    speech = speak(voice, dict.fromkeys(TRAITS, 0.0), STYLES["sentence_repetition"], rng)
    return (level * (speech + 0.01 * rng.normal(size=len(speech)))).astype(np.float32)


def encode(waveform, kind, subtype, rate_hz=RATE_HZ, **how):
    """Return the samples and the rate of a file in memory."""
    file = io.BytesIO()
    soundfile.write(file, soxr.resample(waveform, RATE_HZ, rate_hz), rate_hz, format=kind, subtype=subtype, **how)
    file.seek(0)
    return soundfile.read(file, dtype="float32")


CHANGES = {
    "gain": lambda w: (0.1 * w, RATE_HZ),
    "a shift of 7 ms": lambda w: (w[112:], RATE_HZ),
    "MP3": lambda w: encode(w, "MP3", "MPEG_LAYER_III"),
    "low MP3": lambda w: encode(w, "MP3", "MPEG_LAYER_III", compression_level=0.99),
    "Vorbis": lambda w: encode(w, "OGG", "VORBIS", compression_level=0.9),
    "Opus": lambda w: encode(w, "OGG", "OPUS"),
    "8 kHz": lambda w: encode(w, "WAV", "PCM_16", 8_000),
    "44.1 kHz": lambda w: encode(w, "WAV", "PCM_16", 44_100),
    "telephone": lambda w: encode(w, "WAV", "ULAW", 8_000),
}
