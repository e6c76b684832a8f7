"""The metrics of lalia in one table, over the judged recordings of one trait.

A metric is undefined where it would be the same whatever the scores, such as an AUC with one class or a kappa whose
ratings are all at one level. Then its value is NaN, never 0, and ``Metric.reason`` says why.

``weights`` says how often each row was drawn, shape (..., rows). Under integer weights a value is that of the sample
with its rows repeated so often; 2,000 bootstrap replicates cost one call.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lalia.measures.agreement import kendall, mae, pearson, qwk, spearman
from lalia.measures.calibration import (
    brier_score,
    calibration_error,
    calibration_intercept,
    calibration_slope,
    has_slope,
)
from lalia.measures.concordance import bias, ccc, icc_of_two, lower_limit, upper_limit
from lalia.measures.discrimination import (
    accuracy,
    auc,
    average_precision,
    balanced_accuracy,
    best_threshold,
    f1,
    negative_predictive_value,
    positive_predictive_value,
    prevalence,
    sensitivity,
    sensitivity_at_specificity,
    specificity,
)
from lalia.measures.levels import exact_agreement, linear_kappa, macro_mae, within_one
from lalia.measures.net_benefit import decision_curve, net_benefit, net_benefit_of_all
from lalia.measures.weighted import Flags, Floats
from lalia.scale import Scale

__all__ = [
    "ALL_METRICS",
    "CALIBRATION_METRICS",
    "METRICS",
    "RATER_METRICS",
    "Judged",
    "Metric",
    "accuracy",
    "auc",
    "average_precision",
    "balanced_accuracy",
    "best_threshold",
    "bias",
    "brier_score",
    "calibration_error",
    "calibration_intercept",
    "calibration_slope",
    "ccc",
    "decision_curve",
    "exact_agreement",
    "f1",
    "icc_of_two",
    "judge",
    "kendall",
    "linear_kappa",
    "lower_limit",
    "macro_mae",
    "mae",
    "negative_predictive_value",
    "net_benefit",
    "net_benefit_of_all",
    "pearson",
    "positive_predictive_value",
    "prevalence",
    "qwk",
    "sensitivity",
    "sensitivity_at_specificity",
    "spearman",
    "specificity",
    "upper_limit",
    "within_one",
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
        threshold: the probability from which on a row is called present, one for all or each its own; None where there
            is none.
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
    threshold: float | Floats | None = None
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
    threshold: float | Floats | None,
    unit: Literal["recording", "speaker"] = "recording",
) -> Judged:
    """Put ratings and what was said of them on the scale.

    Args:
        ratings: without NaN, shape (rows,).
        scale: of the ratings and levels.
        scores: one per rating; a column with NaN counts as not given, as for the next two.
        levels: predicted levels, such as NaN from a binary head.
        probability: of presence.
        threshold: the probability from which on a row is called present, one for all or each its own; None where there
            is no decision.
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
        is_called=None if chance is None or threshold is None else chance >= np.asarray(threshold),
        threshold=threshold,
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
        better: which way is better; "neither" where it describes or has a target between.
        function: the metric; takes the inputs and ``weights``.
        inputs: the fields of ``Judged`` that the function takes, in its order.
        undefined: why the metric is undefined for these rows, or None.
    """

    name: str
    title: str
    better: Literal["higher", "lower", "neither"]
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
    "threshold": "no decision threshold",
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


def _none_called(judged: Judged) -> str | None:
    called = judged.is_called
    return None if called is None or called.any() else f"none of the {judged.rows} is called present"


def _all_called(judged: Judged) -> str | None:
    called = judged.is_called
    return f"all of the {judged.rows} are called present" if called is not None and called.all() else None


def _certain_alone(judged: Judged) -> str | None:
    # then a false alarm would cost more than any number of hits is worth
    is_certain = judged.threshold is not None and bool((np.asarray(judged.threshold) >= 1).any())
    return "only what is certain is called present" if is_certain else None


def _no_spread(judged: Judged) -> str | None:
    # of the scores it may be nothing: then agreement in value is 0
    return _without_levels(judged) or _no_order(replace(judged, scores=None))


def _fewer_than_2(judged: Judged) -> str | None:
    return _without_levels(judged) or (f"fewer than 2 rated {judged.unit}s" if len(judged.ratings) < 2 else None)


def _no_regression(judged: Judged) -> str | None:
    found = _one_class(judged)
    if found is None and judged.probability is not None and not has_slope(judged.is_present, judged.probability):
        found = f"a cut on the probability parts the classes of the {judged.rows}"
    return found


_TRUTH = ("is_present",)
_PRESENCE = ("is_present", "probability")
_CALLS = ("is_present", "is_called")
_SEVERITY = ("ratings", "scores")
_LEVELS = ("level_index", "predicted_index")
_KAPPA = (*_LEVELS, "n_levels")

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
    Metric("qwk", "Quadratic kappa", "higher", qwk, _KAPPA, _one_level),
)
"""The metrics that training follows, in the order of a report."""

_OTHERS: tuple[Metric, ...] = (
    Metric("prevalence", "Prevalence", "neither", prevalence, _TRUTH, _never),
    Metric(
        "sensitivity_at_90_specificity",
        "Sensitivity at 90 % specificity",
        "higher",
        sensitivity_at_specificity,
        _PRESENCE,
        _one_class,
    ),
    Metric("ppv", "Positive predictive value", "higher", positive_predictive_value, _CALLS, _none_called),
    Metric("npv", "Negative predictive value", "higher", negative_predictive_value, _CALLS, _all_called),
    Metric("f1", "F1", "higher", f1, _CALLS, _none_present),
    Metric("kendall", "Kendall tau-b", "higher", kendall, _SEVERITY, _no_order),
    Metric("ccc", "Concordance correlation", "higher", ccc, _SEVERITY, _no_spread),
    Metric("icc", "ICC(A,1)", "higher", icc_of_two, _SEVERITY, _no_spread),
    Metric("macro_mae", "MAE, mean over levels", "lower", macro_mae, (*_SEVERITY, "level_index"), _without_levels),
    Metric("bias", "Bias (score − rating)", "neither", bias, _SEVERITY, _without_levels),
    Metric("lower_limit", "Lower limit of agreement", "neither", lower_limit, _SEVERITY, _fewer_than_2),
    Metric("upper_limit", "Upper limit of agreement", "neither", upper_limit, _SEVERITY, _fewer_than_2),
    Metric("linear_kappa", "Linear kappa", "higher", linear_kappa, _KAPPA, _one_level),
    Metric("exact_agreement", "Exact agreement", "higher", exact_agreement, _LEVELS, _never),
    Metric("within_one", "Agreement within one level", "higher", within_one, _LEVELS, _never),
)

CALIBRATION_METRICS: tuple[Metric, ...] = (
    Metric("brier", "Brier score", "lower", brier_score, _PRESENCE, _never),
    Metric(
        "calibration_intercept",
        "Calibration in the large",
        "neither",
        calibration_intercept,
        _PRESENCE,
        _one_class,
    ),
    Metric("calibration_slope", "Calibration slope", "neither", calibration_slope, _PRESENCE, _no_regression),
    Metric("calibration_error", "Expected calibration error", "lower", calibration_error, _PRESENCE, _never),
)
"""Those of a probability, of presence or of reaching a level."""

_BENEFIT: tuple[Metric, ...] = (
    Metric("net_benefit", "Net benefit", "higher", net_benefit, (*_CALLS, "threshold"), _certain_alone),
    Metric(
        "net_benefit_of_all",
        "Net benefit of calling all present",
        "neither",
        net_benefit_of_all,
        (*_TRUTH, "threshold"),
        _certain_alone,
    ),
)

RATER_METRICS: tuple[Metric, ...] = METRICS + _OTHERS
"""Those that a rater's ratings can have in the place of scores: all that need no probability."""

ALL_METRICS: tuple[Metric, ...] = RATER_METRICS + _BENEFIT + CALIBRATION_METRICS
"""All metrics, in the order of ``metrics.json``."""
