"""What abstaining gains: how many recordings are decided, and how often the decision is wrong."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit

from lalia.measures.uncertainty import interval, speaker_weights
from lalia.scale import Scale

CURVE_POINTS = 20
_SMALLEST = 1e-7


def judge_abstention(
    predictions: pd.DataFrame,
    scale: Scale,
    thresholds: Mapping[str, float],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return for each part and trait what is decided and how often that is wrong, with intervals over speakers.

    Args:
        predictions: columns part, speaker, trait, rating, probability, abstains; a column threshold takes the place
            of ``thresholds``, row by row.
        scale: of the ratings.
        thresholds: from which probability on a trait is called present.
        replicates: how often the speakers of a part are drawn.
        seed: of the draws.

    Returns:
        ``[part][trait]`` with ``coverage`` (the share of rated recordings that is decided), ``risk`` (the share of
        these that is decided wrongly), ``risk_without`` (where all are decided), each ``{"value", "low", "high",
        "n"}``, and ``curve``: pairs of coverage and risk where the most certain recordings are decided first, certain
        being far from the threshold in log-odds.
    """
    tree: dict[str, Any] = {}
    for key, rows in predictions[predictions["rating"].notna()].groupby(["part", "trait"], sort=False):
        part, trait = map(str, key)
        threshold = rows["threshold"].to_numpy() if "threshold" in rows else np.full(len(rows), thresholds[trait])
        is_wrong = (scale.is_present(rows["rating"].to_numpy(dtype=np.float64)) == 1) != (
            rows["probability"].to_numpy() >= threshold
        )
        is_decided = ~rows["abstains"].to_numpy(dtype=bool)
        weights = speaker_weights(rows["speaker"].astype(str).tolist(), replicates, seed)
        everything = np.ones_like(is_decided)
        tree.setdefault(part, {})[trait] = {
            "coverage": _share(is_decided, everything, weights),
            "risk": _share(is_wrong, is_decided, weights),
            "risk_without": _share(is_wrong, everything, weights),
            "curve": _curve(is_wrong, rows["probability"].to_numpy(dtype=np.float64), threshold),
        }
    return tree


def _share(is_counted: NDArray[np.bool_], among: NDArray[np.bool_], weights: NDArray[np.float32]) -> dict[str, Any]:
    n = int(among.sum())
    if not n:
        return {"value": None, "low": None, "high": None, "n": 0, "reason": "nothing is decided"}
    counted, all_of = weights @ (is_counted & among), weights @ among
    shares = np.divide(counted, all_of, out=np.full(len(all_of), np.nan), where=all_of > 0)
    low, high = (None if np.isnan(bound) else bound for bound in interval(shares))
    return {"value": float((is_counted & among).sum() / n), "low": low, "high": high, "n": n}


def _curve(
    is_wrong: NDArray[np.bool_], probability: NDArray[np.float64], threshold: NDArray[np.float64]
) -> list[list[float]]:
    log_odds, center = (logit(np.clip(values, _SMALLEST, 1 - _SMALLEST)) for values in (probability, threshold))
    order = np.argsort(-np.abs(log_odds - center), kind="stable")
    counts = np.unique(np.linspace(0, len(order), CURVE_POINTS + 1).round().astype(int)[1:])
    risks = np.cumsum(is_wrong[order]) / np.arange(1, len(order) + 1)
    return [[float(count / len(order)), float(risks[count - 1])] for count in counts if count]
