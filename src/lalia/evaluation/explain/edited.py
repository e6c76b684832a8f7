"""How the scores of many recordings move when each is edited in a known way."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalia.data.decoding import Waveform
from lalia.evaluation.explain.edits import EDITS
from lalia.evaluation.explain.occlusion import score_waveforms
from lalia.measures.uncertainty import interval, speaker_weights
from lalia.model.rater import SpeechRater

_REPLICATES = 2000


def compare_edits(
    rater: SpeechRater, waveforms: Sequence[Waveform], speakers: Sequence[str], seed: int
) -> Iterator[dict[str, Any]]:
    """Yield for each edit, and in it each trait, the mean change of the score with its interval over speakers.

    Args:
        rater: in eval mode.
        waveforms: as for ``SpeechRater.score``, at least one.
        speakers: of each.
        seed: of the drawn speakers.

    Yields:
        Rows with edit, trait, change, low and high (None where there is a single speaker) and recordings.
    """
    rate_hz = rater.preprocessing.rate_hz
    weights = speaker_weights(speakers, _REPLICATES, seed)
    before = score_waveforms(rater, waveforms)
    for name, edit in EDITS.items():
        changes = score_waveforms(rater, [edit(waveform, rate_hz) for waveform in waveforms]) - before
        for place, trait in enumerate(rater.traits):
            low, high = _interval_of_mean(changes[:, place], weights)
            yield {
                "edit": name,
                "trait": trait,
                "change": float(changes[:, place].mean()),
                "low": low,
                "high": high,
                "recordings": len(waveforms),
            }


def _interval_of_mean(values: NDArray[np.float64], weights: NDArray[np.float32]) -> tuple[float | None, float | None]:
    counts = weights.sum(axis=1)
    if not counts.any():
        return None, None
    low, high = interval((weights @ values) / counts)
    return low, high
