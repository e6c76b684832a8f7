"""Numbers of all folds: what each reaches, what they reach on average, and the recordings of all of them pooled."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import t

from lalia.evaluation.evaluate import UNITS

LEVEL = 0.95


def pool_folds(folds: Mapping[int, pd.DataFrame], thresholds: Mapping[int, Mapping[str, float]]) -> pd.DataFrame:
    """Return the test predictions of all folds in one table: each recording once, by a rater that did not hear it.

    Args:
        folds: the predictions of each fold, as in predictions.csv.
        thresholds: of each fold and trait.

    Returns:
        The columns of predictions.csv, with the fold and the threshold that decides in it.
    """
    tables = []
    for fold, predictions in folds.items():
        tested = predictions[predictions["part"] == "test"]
        threshold = tested["trait"].map(dict(thresholds[fold])).astype(np.float64)
        tables.append(tested.assign(fold=fold, threshold=threshold))
    return pd.concat(tables, ignore_index=True)


def summarize_folds(trees: Mapping[int, Mapping[Any, Any]]) -> dict[str, Any]:
    """Return each metric's mean over folds, with an interval that holds both what is trained on and what is tested.

    The interval is the corrected one of Nadeau and Bengio (2003, "Inference for the generalization error"): folds share
    most of their training speakers, so that their spread says too little, and the variance of their mean is taken as
    (1 / folds + tested / trained) times that of the folds. No two folds pool their scores here, so that a fold whose
    raters score higher throughout does no harm; pooled recordings show it.

    Args:
        trees: of each fold, ``[unit]["traits"][trait][metric]`` and ``[unit]["macro"][metric]`` of its test part.

    Returns:
        The same tree; a metric has ``value`` (the mean), ``sd``, ``lowest``, ``highest``, ``low``, ``high`` and ``n``,
        the folds in which it is defined, and a reason where that is none.
    """
    summary: dict[str, Any] = {}
    for unit in UNITS:
        branches = [tree[unit] for tree in trees.values()]
        traits = dict.fromkeys(trait for branch in branches for trait in branch["traits"])
        summary[unit] = {
            "traits": {trait: _summarize([each["traits"].get(trait, {}) for each in branches]) for trait in traits},
            "macro": _summarize([branch["macro"] for branch in branches]),
        }
    return summary


def _summarize(found: list[Mapping[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(name for metrics in found for name in metrics if name != "counts")
    return {name: describe_folds([metrics.get(name, {}).get("value") for metrics in found]) for name in names}


def describe_folds(values: ArrayLike) -> dict[str, Any]:
    """Return mean, standard deviation, range and corrected interval of one metric; see ``summarize_folds``.

    Args:
        values: of each fold, None or NaN where it is undefined.

    Example:
        >>> found = describe_folds([0.7, 0.8, 0.9, None])
        >>> round(found["value"], 2), round(found["sd"], 2), found["n"]
        (0.8, 0.1, 3)
    """
    given = np.asarray(values, dtype=np.float64)
    defined = given[~np.isnan(given)]
    keys = ("value", "sd", "lowest", "highest", "low", "high")
    if not defined.size:
        return {**dict.fromkeys(keys), "n": 0, "reason": "undefined in every fold"}
    mean = float(defined.mean())
    known: dict[str, Any] = {**dict.fromkeys(keys), "value": mean}
    known |= {"lowest": float(defined.min()), "highest": float(defined.max()), "n": int(defined.size)}
    if defined.size > 1:
        sd, folds = float(defined.std(ddof=1)), given.size
        half = float(t.ppf((1 + LEVEL) / 2, defined.size - 1)) * sd * np.sqrt(1 / defined.size + 1 / (folds - 1))
        known |= {"sd": sd, "low": mean - half, "high": mean + half}
    return known
