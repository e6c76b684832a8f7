"""Made-up recordings of real length with ratings, and full-size encoders with random weights."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray
from transformers import (
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
    WavLMForSequenceClassification,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
)

from lalia.data.voice import RATE_HZ, TRAITS, Style, Voice, speak

N_TRAITS = 36
N_LEVELS = 4
RECORDINGS_PER_SPEAKER = 2
# LayerDrop is off on both sides: all blocks are computed, and weighted layers need every depth
WAVLM_BASE = {"layerdrop": 0.0}
WHISPER_BASE = {
    "d_model": 512,
    "encoder_layers": 6,
    "encoder_attention_heads": 8,
    "encoder_ffn_dim": 2048,
    "decoder_layers": 1,
    "decoder_attention_heads": 8,
    "decoder_ffn_dim": 2048,
    "num_hidden_layers": 6,
}


@dataclass(frozen=True)
class Corpus:
    """Recordings in a folder, with a table of ratings.

    Args:
        folder: holds ``<id>.wav`` and ``metadata.csv``.
    """

    folder: Path

    @cached_property
    def table(self) -> pd.DataFrame:
        """The metadata: id, speaker, and a column per trait."""
        return pd.read_csv(self.folder / "metadata.csv")

    @cached_property
    def paths(self) -> list[Path]:
        """Each recording's file."""
        return [self.folder / f"{name}.wav" for name in self.table["id"]]

    @cached_property
    def waveforms(self) -> list[NDArray[np.float32]]:
        """Each recording's samples, decoded once."""
        return [soundfile.read(path, dtype="float32")[0] for path in self.paths]

    @property
    def traits(self) -> list[str]:
        """The names of the traits."""
        return [str(column) for column in self.table if column not in ("id", "speaker")]

    @property
    def levels(self) -> list[int]:
        """The first trait's levels, from 0, as a classifier takes them."""
        return (self.table[self.traits[0]] - 1).tolist()

    @property
    def seconds(self) -> float:
        """The length of all recordings together."""
        return sum(len(waveform) for waveform in self.waveforms) / RATE_HZ


def write_corpus(
    folder: Path, recordings: int, *, shortest: float = 2.0, longest: float = 15.0, seed: int = 0
) -> Corpus:
    """Write babble of the demo corpus's voice, lengths spread evenly from the shortest to the longest, in seconds."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    lengths = random.permutation(np.linspace(shortest, longest, recordings)) if recordings > 1 else np.array([longest])
    voice = Voice(f0_hz=150.0, formant_factor=1.0, syllable_seconds=0.19)
    names = [f"r{number:04d}" for number in range(recordings)]
    for name, seconds in zip(names, lengths, strict=True):
        n_samples = round(seconds * RATE_HZ)
        style = Style(seconds=(seconds, seconds), pauses=round(seconds / 4), accent_every=4)
        speech = speak(voice, dict.fromkeys(TRAITS, 0.5), style, random)[:n_samples]
        noisy = 0.05 * np.pad(speech, (0, n_samples - len(speech))) + random.normal(0, 0.001, n_samples)
        soundfile.write(folder / f"{name}.wav", noisy.clip(-1, 1), RATE_HZ, subtype="PCM_16")
    _write_table(folder, names, random)
    return Corpus(folder)


def write_noise(folder: Path, recordings: int, *, seconds: float, seed: int = 0) -> Corpus:
    """Write short noise, fast to make, with ratings."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    names = [f"r{number:04d}" for number in range(recordings)]
    for name in names:
        samples = random.normal(0, 0.05, round(seconds * RATE_HZ)).clip(-1, 1)
        soundfile.write(folder / f"{name}.wav", samples, RATE_HZ, subtype="PCM_16")
    _write_table(folder, names, random)
    return Corpus(folder)


def _write_table(folder: Path, names: list[str], random: np.random.Generator) -> None:
    speakers = np.arange(len(names)) // RECORDINGS_PER_SPEAKER
    # severities of speakers, a little different in each recording
    severity = random.normal(size=(speakers[-1] + 1, N_TRAITS))[speakers] + random.normal(
        0, 0.3, (len(names), N_TRAITS)
    )
    levels = 1 + np.digitize(severity, [-0.3, 0.5, 1.2])
    ratings = pd.DataFrame(levels, columns=[f"trait_{number:02d}" for number in range(1, N_TRAITS + 1)])
    rows = pd.DataFrame({"id": names, "speaker": [f"s{speaker:03d}" for speaker in speakers]})
    pd.concat([rows, ratings], axis=1).to_csv(folder / "metadata.csv", index=False)


def write_wavlm(folder: Path, **config: Any) -> Path:
    """Write a WavLM with random weights, base size unless ``config`` says otherwise, as a Hugging Face folder."""
    WavLMForSequenceClassification(WavLMConfig(num_labels=N_LEVELS, **WAVLM_BASE, **config)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return folder


def write_whisper(folder: Path) -> Path:
    """Write a Whisper encoder of base size with random weights as a Hugging Face folder."""
    WhisperForAudioClassification(WhisperConfig(num_labels=N_LEVELS, **WHISPER_BASE)).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder
