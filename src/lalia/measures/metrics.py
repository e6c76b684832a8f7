"""The metrics of lalia in one table, over the judged recordings of one trait.

A metric is undefined where it would be the same whatever the scores, such as an AUC with one class or a kappa whose
ratings are all at one level. Then its value is NaN, never 0, and ``Metric.reason`` says why.

``weights`` says how often each row was drawn, shape (..., rows). Under integer weights a value is that of the sample
with its rows repeated so often; 2,000 bootstrap replicates cost one call.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lalia.measures.agreement import mae, pearson, qwk, spearman
from lalia.measures.discrimination import (
    accuracy,
    auc,
    average_precision,
    balanced_accuracy,
    best_threshold,
    sensitivity,
    specificity,
)
from lalia.measures.weighted import Flags, Floats
from lalia.scale import Scale

__all__ = [
    "METRICS",
    "Judged",
    "Metric",
    "accuracy",
    "auc",
    "average_precision",
    "balanced_accuracy",
    "best_threshold",
    "judge",
    "mae",
    "pearson",
    "qwk",
    "sensitivity",
    "spearman",
    "specificity",
]


@dataclass(frozen=True)
class Judged:
    """The rated recordings (or speakers) of one trait, and what was said of each.

    Args:
        ratings: what people gave, without NaN, shape (rows,).
        level_index: the position of each rating's level on the scale, from 0.
        is_present: whether the rating's level counts as present.
        n_levels: the length of the scale.
        scores: the scores, in units of the scale unless a binary head gave them; None if there are none.
        probability: what presence is ranked by, rising; None if there is nothing.
        predicted_index: the position of each predicted level; None from a binary head, which gives no levels.
        is_called: whether the probability reaches the threshold; None without a threshold.
        unit: what a row is.

    Raises:
        ValueError: if the arrays differ in length.
    """

    ratings: Floats
    level_index: NDArray[np.integer]
    is_present: Flags
    n_levels: int
    scores: Floats | None = None
    probability: Floats | None = None
    predicted_index: NDArray[np.integer] | None = None
    is_called: Flags | None = None
    unit: Literal["recording", "speaker"] = "recording"

    def __post_init__(self) -> None:
        optional = (self.scores, self.probability, self.predicted_index, self.is_called)
        arrays = (self.ratings, self.level_index, self.is_present, *(array for array in optional if array is not None))
        if len({np.shape(array) for array in arrays}) > 1:
            raise ValueError(f"there must be one value per rating, got {[np.shape(array) for array in arrays]}")

    @property
    def rows(self) -> str:
        """The rows in words, such as "12 rated recordings"."""
        return f"{len(self.ratings)} rated {self.unit}{'' if len(self.ratings) == 1 else 's'}"


def judge(
    ratings: ArrayLike,
    scale: Scale,
    *,
    scores: ArrayLike,
    levels: ArrayLike,
    probability: ArrayLike,
    threshold: float | None,
    unit: Literal["recording", "speaker"] = "recording",
) -> Judged:
    """Put ratings and what was said of them on the scale.

    Args:
        ratings: without NaN, shape (rows,).
        scale: of the ratings and levels.
        scores: one per rating; a column with NaN counts as not given, as for the next two.
        levels: predicted levels, such as NaN from a binary head.
        probability: of presence.
        threshold: the probability from which on a row is called present, None where there is no decision.
        unit: what a row is.
    """
    known = np.asarray(ratings, dtype=np.float64)
    score, level, chance = (_complete(values) for values in (scores, levels, probability))
    return Judged(
        ratings=known,
        level_index=scale.level_index(known),
        is_present=scale.is_present(known) == 1,
        n_levels=len(scale.levels),
        scores=score,
        probability=chance,
        predicted_index=None if level is None else scale.level_index(level),
        is_called=None if chance is None or threshold is None else chance >= threshold,
        unit=unit,
    )


def _complete(values: ArrayLike) -> Floats | None:
    array = np.asarray(values, dtype=np.float64)
    return None if np.isnan(array).any() else array


@dataclass(frozen=True)
class Metric:
    """A metric: its names, its direction, and how it is computed from judged rows.

    Args:
        name: the key in ``metrics.json``.
        title: the name in a report.
        better: which way is better.
        function: the metric; takes the inputs and ``weights``.
        inputs: the fields of ``Judged`` that the function takes, in its order.
        undefined: why the metric is undefined for these rows, or None.
    """

    name: str
    title: str
    better: Literal["higher", "lower"]
    function: Callable[..., Floats]
    inputs: tuple[str, ...]
    undefined: Callable[[Judged], str | None]

    def reason(self, judged: Judged) -> str | None:
        """Say why the metric is undefined for these rows, or return None where it is defined."""
        if not len(judged.ratings):
            return f"no rated {judged.unit}s"
        for name in self.inputs:
            if getattr(judged, name) is None:
                return _MISSING[name]
        return self.undefined(judged)

    def compute(self, judged: Judged, weights: ArrayLike | None = None) -> Floats:
        """Return the value, of the shape of the weights' leading axes, NaN where it is undefined."""
        if self.reason(judged) is not None:
            return np.full(() if weights is None else np.shape(weights)[:-1], np.nan)
        return self.function(*(getattr(judged, name) for name in self.inputs), weights=weights)


_NO_LEVELS = "a binary head gives no levels"
_MISSING = {
    "scores": "no scores",
    "probability": "no probability of presence",
    "predicted_index": _NO_LEVELS,
    "is_called": "no decision threshold",
}


def _never(judged: Judged) -> None:
    return None


def _without_levels(judged: Judged) -> str | None:
    # a binary head's score is a probability, so its distance from a rating means nothing
    return _NO_LEVELS if judged.predicted_index is None else None


def _one_class(judged: Judged) -> str | None:
    return None if 0 < judged.is_present.sum() < judged.is_present.size else f"only one class among the {judged.rows}"


def _none_present(judged: Judged) -> str | None:
    return None if judged.is_present.any() else f"the trait is absent in all of the {judged.rows}"


def _none_absent(judged: Judged) -> str | None:
    return f"the trait is present in all of the {judged.rows}" if judged.is_present.all() else None


def _one_level(judged: Judged) -> str | None:
    return f"only one level among the {judged.rows}" if np.ptp(judged.level_index) == 0 else None


def _no_order(judged: Judged) -> str | None:
    if len(judged.ratings) < 3:
        return f"fewer than 3 rated {judged.unit}s"
    if np.ptp(judged.ratings) == 0:
        return f"all ratings of the {judged.rows} are equal"
    if judged.scores is not None and np.ptp(judged.scores) == 0:
        return f"all scores of the {judged.rows} are equal"
    return None


_PRESENCE = ("is_present", "probability")
_CALLS = ("is_present", "is_called")
_SEVERITY = ("ratings", "scores")
_LEVELS = ("level_index", "predicted_index", "n_levels")

METRICS: tuple[Metric, ...] = (
    Metric("auc", "AUC", "higher", auc, _PRESENCE, _one_class),
    Metric("average_precision", "Average precision", "higher", average_precision, _PRESENCE, _one_class),
    Metric("balanced_accuracy", "Balanced accuracy", "higher", balanced_accuracy, _CALLS, _one_class),
    Metric("accuracy", "Accuracy", "higher", accuracy, _CALLS, _never),
    Metric("sensitivity", "Sensitivity", "higher", sensitivity, _CALLS, _none_present),
    Metric("specificity", "Specificity", "higher", specificity, _CALLS, _none_absent),
    Metric("spearman", "Spearman", "higher", spearman, _SEVERITY, _no_order),
    Metric("pearson", "Pearson", "higher", pearson, _SEVERITY, _no_order),
    Metric("mae", "Mean absolute error", "lower", mae, _SEVERITY, _without_levels),
    Metric("qwk", "Quadratic kappa", "higher", qwk, _LEVELS, _one_level),
)
"""All metrics, in the order of a report."""
