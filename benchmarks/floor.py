"""The bare floor: one forward of an encoder over each recording by itself, no padding, no gradient, no file read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Wav2Vec2FeatureExtractor, WavLMModel

from benchmarks.corpus import Corpus
from benchmarks.timing import measure
from lalia.data.voice import RATE_HZ
from lalia.model.encoders.load import load_encoder


@dataclass(frozen=True)
class Floor:
    """The faster one of two forwards.

    Attributes:
        name: whose forward it is.
        forward: takes a waveform, shape (samples,).
        tried: the seconds that each took on the same recordings.
    """

    name: str
    forward: Callable[[Tensor], object]
    tried: dict[str, float]

    def beside(self, corpus: Corpus) -> Callable[[], None]:
        """Return a call that encodes the next recording of a corpus, beginning again after the last."""
        waveforms = cycle(corpus.waveforms)
        return lambda: _encode(self.forward, [next(waveforms)])


def find_floor(folder: Path, corpus: Corpus, *, recordings: int = 6) -> Floor:
    """Try Hugging Face's own forward and lalia's on a few recordings, in turns, and return the faster one.

    Args:
        folder: of a WavLM checkpoint.
        corpus: has the recordings.
        recordings: how many are tried.
    """
    encoder = load_encoder(str(folder))
    model = WavLMModel.from_pretrained(folder).eval()
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)

    def forward_ours(waveform: Tensor) -> object:
        return encoder(waveform[None], torch.tensor([len(waveform)]), ["last"])

    def forward_hugging_face(waveform: Tensor) -> object:
        return model(extractor(waveform.numpy(), sampling_rate=RATE_HZ, return_tensors="pt").input_values)

    forwards = {"lalia": forward_ours, "Hugging Face": forward_hugging_face}
    tried: dict[str, list[float]] = {name: [] for name in forwards}
    for number in range(3):
        for name, forward in forwards.items():
            seconds = measure(partial(_encode, forward, corpus.waveforms[:recordings]))
            if number:  # the first turn warms up
                tried[name].append(seconds.wall)
    best = {name: min(seconds) for name, seconds in tried.items()}
    fastest = min(best, key=best.__getitem__)
    return Floor(fastest, forwards[fastest], best)


def _encode(forward: Callable[[Tensor], object], waveforms: Sequence[NDArray[np.float32]]) -> None:
    with torch.inference_mode():
        for waveform in waveforms:
            forward(torch.from_numpy(waveform))
