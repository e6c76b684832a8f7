"""Agreement between people: what one rater says of another's ratings, by the same metrics as a model's scores.

Everywhere ``ratings`` has shape (recordings, raters), NaN where a rater did not rate, and ``weights`` has shape
(..., recordings): how often each recording was drawn, as for the metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lalia.errors import list_some
from lalia.measures.metrics import RATER_METRICS, Judged, Metric, judge
from lalia.measures.weighted import Flags, Floats, Ties, as_weights, divide, find_ties, over_replicates
from lalia.scale import Scale

Measurement = Literal["nominal", "ordinal", "interval", "ratio"]


@dataclass(frozen=True)
class Agreement:
    """One metric between people, averaged over comparisons.

    Args:
        value: the mean over the comparisons in which the metric is defined, NaN without any; the shape of the weights'
            leading axes.
        comparisons: the number of pairs of raters (or of raters against the others) in which the metric is defined.
        recordings: the number of recordings in these comparisons.
        reason: why the metric is undefined in all comparisons, or None.
    """

    value: Floats
    comparisons: int
    recordings: int
    reason: str | None


def pairwise_agreement(
    ratings: ArrayLike,
    scale: Scale,
    weights: ArrayLike | None = None,
    metrics: Sequence[Metric] = RATER_METRICS,
) -> dict[str, Agreement]:
    """Return metrics between two raters, averaged over the pairs of raters that share recordings.

    One rater's ratings stand for the truth, the other's for scores, levels and calls, both ways round.

    Example:
        >>> mae = pairwise_agreement([[1, 1], [2, 2], [4, 3], [3, float("nan")]], Scale((1, 2, 3, 4), 2))["mae"]
        >>> round(float(mae.value), 3), mae.comparisons, mae.recordings
        (0.333, 1, 3)
    """
    given = _as_matrix(ratings)
    comparisons = []
    for a, b in permutations(range(given.shape[1]), 2):
        comparisons += _compare(given[:, a], given[:, b], (min(a, b), max(a, b)), scale)
    return _average(comparisons, given.shape[0], weights, metrics)


def leave_one_out_agreement(ratings: ArrayLike, scale: Scale, weights: ArrayLike | None = None) -> dict[str, Agreement]:
    """Return every metric of a rater against the median of the others, averaged over raters: the human ceiling.

    Each rater takes the model's place: the ratings stand for scores, levels and calls.
    """
    given = _as_matrix(ratings)
    comparisons = []
    for rater in range(given.shape[1]):
        others = np.delete(given, rater, axis=1)
        median = np.full(given.shape[0], np.nan)
        is_rated = ~np.isnan(others).all(axis=1)
        median[is_rated] = np.nanmedian(others[is_rated], axis=1)
        comparisons += _compare(median, given[:, rater], (rater,), scale)
    return _average(comparisons, given.shape[0], weights, RATER_METRICS)


def krippendorff_alpha(
    ratings: ArrayLike,
    level: Measurement = "ordinal",
    weights: ArrayLike | None = None,
) -> Floats:
    """Return Krippendorff's alpha: 1 - observed / expected disagreement of two ratings of one recording.

    Any number of raters, missing ratings allowed; recordings with one rating are left out. NaN if no recording has two
    ratings or all ratings are equal. Krippendorff, Computing Krippendorff's alpha-reliability (2011).

    Args:
        ratings: values of a scale, shape (recordings, raters).
        level: of measurement; it says how far apart two values are.
        weights: shape (..., recordings).

    Raises:
        ValueError: if ``level`` is "ratio" and a rating is below 0.

    Example:
        >>> round(float(krippendorff_alpha([[1, 1], [2, 2], [4, 3], [3, float("nan")]])), 3)
        0.949
    """
    given = _as_matrix(ratings)
    is_rated = ~np.isnan(given)
    values = np.unique(given[is_rated])
    if level == "ratio" and (values < 0).any():
        raise ValueError(f"ratings on a ratio scale must be 0 or more, got {values.min():g}")
    raters_of = is_rated.sum(axis=1)
    counts = (given[:, :, np.newaxis] == values).sum(axis=1) * (raters_of > 1)[:, np.newaxis].astype(np.float64)
    low, high = np.triu_indices(values.size, k=1)
    coincidences = counts[:, low] * counts[:, high] / np.maximum(raters_of - 1, 1)[:, np.newaxis]

    def compute(block: Floats) -> Floats:
        totals = block @ counts
        distance = _squared_distance(level, values, totals)
        observed = ((block @ coincidences) * distance).sum(axis=1)
        expected = (totals[:, low] * totals[:, high] * distance).sum(axis=1)
        return 1 - divide((totals.sum(axis=1) - 1) * observed, expected)

    return over_replicates(compute, weights, given.shape[0])


def _as_matrix(ratings: ArrayLike) -> Floats:
    given = np.asarray(ratings, dtype=np.float64)
    if given.ndim != 2 or np.isinf(given).any():
        raise ValueError(f"ratings must have shape (recordings, raters) and be finite or NaN, got shape {given.shape}")
    return given


def _squared_distance(level: Measurement, values: Floats, totals: Floats) -> Floats:
    """Return how far apart each two values are, shape (1 or replicates, pairs of values)."""
    low, high = np.triu_indices(values.size, k=1)
    if level == "nominal":
        return np.ones((1, low.size))
    if level == "ratio":
        return np.square((values[high] - values[low]) / (values[high] + values[low]))[np.newaxis]
    # the ordinal distance of two values is the number of ratings between them: the difference of their mean ranks
    places = np.cumsum(totals, axis=1) - totals / 2 if level == "ordinal" else values[np.newaxis]
    return np.square(places[:, high] - places[:, low])


@dataclass(frozen=True)
class _Comparison:
    """One person's ratings held against another's.

    Args:
        who: the raters concerned.
        is_shared: the recordings that both rated, shape (recordings,).
        judged: these recordings.
        distinct: the different pairs of ratings among them; ratings are few, so there are far fewer pairs than rows.
        ties: which rows have which distinct pair.
    """

    who: tuple[int, ...]
    is_shared: Flags
    judged: Judged
    distinct: Judged
    ties: Ties


def _compare(truth: Floats, other: Floats, who: tuple[int, ...], scale: Scale) -> list[_Comparison]:
    is_shared = ~np.isnan(truth) & ~np.isnan(other)
    if not is_shared.any():
        return []
    pairs = np.column_stack([truth, other])[is_shared]
    distinct, pair = np.unique(pairs, axis=0, return_inverse=True)
    return [_Comparison(who, is_shared, _judge(pairs, scale), _judge(distinct, scale), find_ties(pair))]


def _judge(pairs: Floats, scale: Scale) -> Judged:
    truth, other = pairs.T
    # a rating stands for a probability: it ranks, and presence begins at the boundary between two levels
    return replace(
        judge(truth, scale, scores=other, levels=other, probability=other, threshold=None),
        is_called=scale.is_present(other) == 1,
    )


def _average(
    comparisons: Sequence[_Comparison], n_recordings: int, weights: ArrayLike | None, metrics: Sequence[Metric]
) -> dict[str, Agreement]:
    given = as_weights(weights, n_recordings)
    drawn = [_draw(comparison, given) for comparison in comparisons]
    return {metric.name: _average_metric(metric, comparisons, drawn, given.shape[:-1]) for metric in metrics}


def _draw(comparison: _Comparison, weights: NDArray[Any]) -> Floats:
    """Return how often each distinct pair of ratings was drawn, shape (..., pairs)."""
    shared = weights[..., comparison.is_shared].astype(np.float64)
    drawn = comparison.ties.sum(shared.reshape(-1, shared.shape[-1]))
    return drawn.reshape(*shared.shape[:-1], drawn.shape[-1])


def _average_metric(
    metric: Metric, comparisons: Sequence[_Comparison], drawn: Sequence[Floats], shape: tuple[int, ...]
) -> Agreement:
    reasons = [metric.reason(comparison.judged) for comparison in comparisons]
    used = [place for place, reason in enumerate(reasons) if reason is None]
    if not used:
        found = list_some(sorted({reason for reason in reasons if reason is not None}), most=1)
        return Agreement(np.full(shape, np.nan), 0, 0, found or "no two raters rated the same recording")
    values = []
    for place in used:
        inputs = (getattr(comparisons[place].distinct, name) for name in metric.inputs)
        values.append(metric.function(*inputs, weights=drawn[place]))
    is_defined = ~np.isnan(values)
    return Agreement(
        value=divide(np.nansum(values, axis=0), is_defined.sum(axis=0).astype(np.float64)),
        comparisons=len({comparisons[place].who for place in used}),
        recordings=int(np.any([comparisons[place].is_shared for place in used], axis=0).sum()),
        reason=None,
    )
