"""Curves over a threshold and the bands that drawn speakers leave around them: pure functions on numpy."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from lalia.measures.uncertainty import speaker_weights

Floats = NDArray[np.float64]

_REPLICATES = 500
_MOST_VALUES = 4_000_000
_SMALLEST = 1e-7


@dataclass(frozen=True, eq=False)
class Band:
    """Where 95 % of the curves of drawn speakers lie: at each x between low and high, NaN where that is not known."""

    x: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, eq=False)
class Bins:
    """Recordings in groups of like probability: the mean probability, the share with the trait and its interval.

    Attributes:
        probability: the mean of each group.
        share: how many of the group have the trait.
        low: the lower end of its interval, NaN without one.
        high: the upper end.
        count: the recordings of each group.
    """

    probability: Floats
    share: Floats
    low: Floats
    high: Floats
    count: NDArray[np.int64]


def roc_band(is_present: ArrayLike, probability: ArrayLike, speakers: ArrayLike, *, seed: int = 0) -> Band:
    """Return the band of sensitivity over 1 - specificity.

    Args:
        is_present: 1 where the raters found the trait, shape (recordings,).
        probability: of presence, likewise.
        speakers: of each recording; they are drawn whole.
        seed: of the draws.
    """
    present = np.asarray(is_present, dtype=bool)
    grid = np.linspace(0.0, 1.0, 101)

    def curves(hits: Floats, false: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            sensitivity, false_positive = hits / hits[:, -1:], false / false[:, -1:]
        return np.array([np.interp(grid, x, y) for x, y in zip(false_positive, sensitivity, strict=True)])

    order, ends = _rank(probability)
    columns = (present[order], ~present[order])
    return _band(grid, speakers, order, lambda weights: curves(*_sums(weights, columns, ends)), seed)


def precision_band(is_present: ArrayLike, probability: ArrayLike, speakers: ArrayLike, *, seed: int = 0) -> Band:
    """Return the band of precision over sensitivity; the arguments are those of ``roc_band``.

    At each sensitivity counts the strictest threshold that reaches it, so nothing is drawn between two thresholds.
    """
    present = np.asarray(is_present, dtype=bool)
    grid = np.linspace(0.0, 1.0, 51)[1:]

    def curves(hits: Floats, false: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            recall, precision = hits / hits[:, -1:], hits / (hits + false)
        # a hair lower, so that rounding does not ask for the next threshold
        places = [np.searchsorted(row, grid - 1e-9) for row in np.nan_to_num(recall)]
        found = [row[np.minimum(place, len(row) - 1)] for row, place in zip(precision, places, strict=True)]
        return np.where(np.isnan(recall[:, -1:]), np.nan, np.array(found))

    order, ends = _rank(probability)
    columns = (present[order], ~present[order])
    return _band(grid, speakers, order, lambda weights: curves(*_sums(weights, columns, ends)), seed)


def coverage_curve(
    is_wrong: ArrayLike, probability: ArrayLike, threshold: float, speakers: ArrayLike, *, seed: int = 0
) -> tuple[Floats, Floats, Band]:
    """Return coverage, risk and the band of risk where the most certain recordings are decided first.

    Certain is what is far from the threshold in log-odds. Coverage is the share that is decided, risk how much of it is
    decided wrongly.

    Args:
        is_wrong: whether the decision is, shape (recordings,).
        probability: of presence, likewise.
        threshold: from which on a recording is called present.
        speakers: of each recording.
        seed: of the draws.
    """
    wrong = np.asarray(is_wrong, dtype=bool)
    log_odds = logit(np.clip([*np.asarray(probability, dtype=np.float64), threshold], _SMALLEST, 1 - _SMALLEST))
    # 0.1 and 0.9 are as far from 0.5, whatever their last digits
    order, ends = _rank(np.abs(log_odds[:-1] - log_odds[-1]).round(9))
    columns = (wrong[order], np.ones_like(wrong))
    grid = np.linspace(0.05, 1.0, 20)

    def curves(errors: Floats, decided: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            coverage, risk = decided / decided[:, -1:], errors / decided
        first = np.argmax(decided > 0, axis=1)
        # who is drawn first stands for all before, for whom there is no risk
        rows = zip(coverage, risk, first, strict=True)
        return np.array([np.interp(grid, x[place:], y[place:]) for x, y, place in rows])

    errors, decided = _sums(np.ones((1, len(wrong))), columns, ends)
    band = _band(grid, speakers, order, lambda weights: curves(*_sums(weights, columns, ends)), seed)
    return decided[0, 1:] / len(wrong), errors[0, 1:] / decided[0, 1:], band


def bin_probabilities(
    is_present: ArrayLike, probability: ArrayLike, speakers: ArrayLike, *, bins: int = 10, seed: int = 0
) -> Bins:
    """Return how often the trait is there among recordings of like probability, in groups of about equal size.

    Args:
        is_present: 1 where the raters found the trait, shape (recordings,).
        probability: of presence, likewise; equal ones stay together.
        speakers: of each recording.
        bins: the most groups; there are fewer where they would hold less than ten recordings each, but never under 3.
        seed: of the draws.
    """
    present, given = np.asarray(is_present, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    groups = int(np.clip(len(given) // 10, 3, bins))
    edges = np.unique(np.quantile(given, np.linspace(0, 1, groups + 1)[1:-1]))
    place = np.searchsorted(edges, given, side="right")
    in_group = place[:, np.newaxis] == np.unique(place)
    weights = speaker_weights(list(map(str, np.asarray(speakers))), _REPLICATES, seed)
    with np.errstate(invalid="ignore"):
        shares = (weights @ (in_group * present[:, np.newaxis])) / (weights @ in_group)
    count = in_group.sum(axis=0)
    low, high = _quantiles(shares)
    means = [(column * in_group.T).sum(axis=1) / count for column in (given, present)]
    return Bins(means[0], means[1], low, high, count)


def _rank(values: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order from the highest value down, and in that order the last place of each run of equal values."""
    given = np.asarray(values, dtype=np.float64)
    order = np.argsort(-given, kind="stable")
    falls = np.flatnonzero(np.diff(given[order]))
    return order, np.append(falls, len(given) - 1)


def _sums(
    weights: NDArray[np.floating], columns: tuple[NDArray[np.bool_], NDArray[np.bool_]], ends: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return for each column how much weight lies at or above each threshold, after a 0 above all of them."""
    nothing = np.zeros((len(weights), 1))
    first, second = (
        np.hstack([nothing, np.cumsum(weights * column, axis=1, dtype=np.float64)[:, ends]]) for column in columns
    )
    return first, second


def _band(
    grid: Floats,
    speakers: ArrayLike,
    order: NDArray[np.int64],
    curves: Callable[[NDArray[np.floating]], Floats],
    seed: int,
) -> Band:
    """Return the quantiles of the curves of drawn speakers; ``curves`` takes weights in the order of the ranks."""
    weights = speaker_weights([str(name) for name in np.asarray(speakers)], _REPLICATES, seed)[:, order]
    step = max(1, _MOST_VALUES // max(1, weights.shape[1]))
    found = [curves(weights[start : start + step]) for start in range(0, len(weights), step)]
    low, high = _quantiles(np.vstack(found))
    return Band(grid, low, high)


def _quantiles(values: Floats) -> tuple[Floats, Floats]:
    """Return the ends of the middle 95 % of each column; NaN where more than half of its values are."""
    missing = np.isnan(values)
    low, high = (np.full(values.shape[1], np.nan) for _ in range(2))
    for column in np.flatnonzero(missing.mean(axis=0) <= 0.5):
        defined = values[~missing[:, column], column]
        low[column], high[column] = np.quantile(defined, [0.025, 0.975])
    return low, high
