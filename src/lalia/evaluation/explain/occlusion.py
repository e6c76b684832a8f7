"""What happens to scores when a stretch of time, or a band of frequencies, is silenced (Zeiler and Fergus 2014).

A change of the score is the score of the whole recording less that of the rest: positive where what was silenced
raised it. Whatever the length of a recording, the rater runs a bounded number of times.
"""

import itertools
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from lalia.data.decoding import Waveform
from lalia.evaluation.explain.edits import make_background, silence_band, silence_stretch
from lalia.model.inputs import Windows
from lalia.model.rater import SpeechRater

SHORTEST_STRETCH_SECONDS: Final = 0.25
MOST_STRETCHES: Final = 16
"""A longer recording is silenced in longer stretches."""
N_BANDS: Final = 10
_BATCH_SECONDS = 120.0


class Occlusion(NamedTuple):
    """What each part of a recording adds to its scores."""

    bounds: NDArray[np.float64]
    """Where the parts begin and the last one ends, in seconds or in Hz, shape (parts + 1,)."""
    change: NDArray[np.float64]
    """The score of the whole less that without each part, in units of the score, shape (parts, traits)."""


def occlude_time(rater: SpeechRater, waveform: Waveform, score: NDArray[np.float64] | None = None) -> Occlusion:
    """Silence one stretch of a recording after the other.

    Stretches are equal, at least 0.25 s where the recording is that long, and at most 16.

    Args:
        rater: in eval mode.
        waveform: as for ``SpeechRater.score``.
        score: of the whole, shape (traits,); None computes it.
    """
    rate_hz = rater.preprocessing.rate_hz
    count = int(np.clip(len(waveform) / (SHORTEST_STRETCH_SECONDS * rate_hz), 1, MOST_STRETCHES))
    bounds = np.round(np.linspace(0, len(waveform), count + 1)).astype(int)
    background = make_background(waveform, rate_hz)
    parts = [silence_stretch(waveform, rate_hz, start, end, background) for start, end in itertools.pairwise(bounds)]
    return Occlusion(bounds / rate_hz, _compare(rater, waveform, parts, score))


def occlude_bands(rater: SpeechRater, waveform: Waveform, score: NDArray[np.float64] | None = None) -> Occlusion:
    """Silence one of ten bands after the other, which are equally wide on the mel scale; arguments as before."""
    rate_hz = rater.preprocessing.rate_hz
    edges = band_edges(rate_hz)
    background = make_background(waveform, rate_hz)
    parts = [silence_band(waveform, rate_hz, low, high, background) for low, high in itertools.pairwise(edges)]
    return Occlusion(edges, _compare(rater, waveform, parts, score))


def band_edges(rate_hz: int) -> NDArray[np.float64]:
    """Return the edges of ten bands from 0 to half the rate, equally wide on the mel scale, in Hz.

    Example:
        >>> band_edges(16_000).round()[:4]
        array([  0., 201., 459., 791.])
    """
    mels = np.linspace(0.0, 2595 * np.log10(1 + rate_hz / 2 / 700), N_BANDS + 1)
    edges: NDArray[np.float64] = 700 * (10 ** (mels / 2595) - 1)
    return edges


@torch.inference_mode()
def score_waveforms(rater: SpeechRater, waveforms: Sequence[Waveform]) -> NDArray[np.float64]:
    """Return the scores of waveforms as ``SpeechRater.score`` gives them, shape (waveforms, traits).

    Args:
        rater: in eval mode. On a CPU, where batches are no faster, it takes one waveform after the other; elsewhere as
            many as are two minutes long together.
        waveforms: as for ``SpeechRater.score``.
    """
    if _takes_one_by_one(rater):
        return rater.score(waveforms).score.double().numpy()
    scores: list[NDArray[np.float64]] = []
    batch: list[Waveform] = []
    for number, waveform in enumerate(waveforms):
        batch.append(waveform)
        longest = max(map(len, [*batch, *waveforms[number + 1 : number + 2]]))
        if number + 1 == len(waveforms) or longest * (len(batch) + 1) > _BATCH_SECONDS * rater.preprocessing.rate_hz:
            scores.append(rater.decode(rater(_make_windows(rater, batch))).score.double().cpu().numpy())
            batch = []
    return np.concatenate(scores) if scores else np.empty((0, len(rater.traits)))


def _takes_one_by_one(rater: SpeechRater) -> bool:
    return rater.encoder.device.type == "cpu"


def _compare(
    rater: SpeechRater, whole: Waveform, parts: Sequence[Waveform], score: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    return (score_waveforms(rater, [whole])[0] if score is None else score) - score_waveforms(rater, parts)


def _make_windows(rater: SpeechRater, waveforms: Sequence[Waveform]) -> Windows:
    windows = [
        (number, torch.from_numpy(window))
        for number, waveform in enumerate(waveforms)
        for window in rater.preprocessing.windows(waveform)
    ]
    return Windows(
        pad_sequence([window for _, window in windows], batch_first=True),
        torch.tensor([len(window) for _, window in windows]),
        torch.tensor([number for number, _ in windows]),
    ).to(rater.encoder.device)
