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

    The mean is over the recordings that the edit changes: one without a pause has none to be cut.

    Args:
        rater: in eval mode.
        waveforms: as for ``SpeechRater.score``, at least one.
        speakers: of each.
        seed: of the drawn speakers.

    Yields:
        Rows with edit, trait, recordings (how many it changes), change (None where that is none), low and high (None
        where they are of a single speaker too).
    """
    rate_hz = rater.preprocessing.rate_hz
    weights = speaker_weights(speakers, _REPLICATES, seed)
    before = score_waveforms(rater, waveforms)
    for name, edit in EDITS.items():
        edited = [edit(waveform, rate_hz) for waveform in waveforms]
        is_changed = np.array([not np.array_equal(*pair) for pair in zip(edited, waveforms, strict=True)])
        changed = [each for each, differs in zip(edited, is_changed, strict=True) if differs]
        changes = score_waveforms(rater, changed) - before[is_changed]
        for place, trait in enumerate(rater.traits):
            low, high = _interval_of_mean(changes[:, place], weights[:, is_changed])
            mean = float(changes[:, place].mean()) if len(changed) else None
            yield {"edit": name, "trait": trait, "recordings": len(changed), "change": mean, "low": low, "high": high}


def _interval_of_mean(values: NDArray[np.float64], weights: NDArray[np.float32]) -> tuple[float | None, float | None]:
    counts = weights.sum(axis=1)
    # where all are of one speaker, a replicate has that mean or none
    if not len(values) or len(np.unique(weights, axis=1).T) < 2:
        return None, None
    low, high = interval(np.divide(weights @ values, counts, out=np.full(len(counts), np.nan), where=counts > 0))
    return (None, None) if np.isnan(low) else (low, high)
