"""At which preferences acting on a model's probability is better than acting on everybody or on nobody."""

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lalia.evaluation.evaluate import REPLICATES, Estimate, judge_rows
from lalia.measures.net_benefit import decision_curve
from lalia.measures.uncertainty import speaker_weights
from lalia.measures.weighted import SpeakerWeights
from lalia.scale import Scale

CURVE_THRESHOLDS: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def judge_net_benefit(
    predictions: pd.DataFrame, scale: Scale, *, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, Any]:
    """Return the decision curve of each part and trait, with intervals over speakers.

    Args:
        predictions: as for ``evaluate``.
        scale: of the ratings.
        replicates: how often the speakers of a part are drawn.
        seed: of the draws.

    Returns:
        ``[part][trait][threshold]`` with the net benefit of the ``model`` and of acting on ``all`` recordings, each as
        ``Estimate.to_json`` gives it, for the thresholds 0.05 to 0.9; null with a reason where there is no probability
        or no rated recording.
    """
    tree: dict[str, Any] = {}
    for part, rows in predictions.groupby("part", sort=False):
        speakers = np.unique(rows["speaker"].to_numpy(dtype=str))
        draws = speaker_weights(list(speakers), replicates, seed)
        tree[str(part)] = {
            str(trait): _judge_trait(of_trait[of_trait["rating"].notna()], scale, speakers, draws)
            for trait, of_trait in rows.groupby("trait", sort=False)
        }
    return tree


def _judge_trait(
    rated: pd.DataFrame, scale: Scale, speakers: NDArray[np.str_], draws: NDArray[np.float32]
) -> dict[str, Any]:
    judged = judge_rows(rated, scale, None, "recording")
    places = np.searchsorted(speakers, rated["speaker"].to_numpy(dtype=str))
    n_speakers = len(np.unique(places))
    weights = SpeakerWeights(draws if n_speakers > 1 else np.zeros_like(draws), places)
    found: dict[str, Any] = {f"{threshold:g}": {} for threshold in CURVE_THRESHOLDS}
    for name, probability in (("model", judged.probability), ("all", np.ones(len(rated)))):
        if not len(rated) or probability is None:
            reason = "no probability of presence" if len(rated) else "no rated recordings"
            for each in found.values():
                each[name] = Estimate(float("nan"), np.empty(0), len(rated), reason).to_json()
            continue
        values = decision_curve(judged.is_present, probability, CURVE_THRESHOLDS)
        replicates = decision_curve(judged.is_present, probability, CURVE_THRESHOLDS, weights)
        for each, value, drawn in zip(found.values(), values, replicates, strict=True):
            each[name] = Estimate(float(value), drawn, len(rated), None).to_json()
    return found
