"""How far a probability of presence can be taken at its word.

Everywhere ``is_present`` are flags and ``probability`` numbers from 0 to 1, one per row and none missing, and
``weights`` has shape (..., rows): how often each row was drawn. Values have the shape of the leading axes.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logit

from lalia.measures.weighted import Flags, Floats, as_flags, as_numbers, divide, over_replicates, over_sums, same_size

# probabilities of 0 and 1 have no logit
_CLIP = 1e-6
_MOST_STEPS = 60
# the largest step in units of a standard deviation of the logits
_LONGEST_STEP = 3.0
# the next Newton step would be about the square of it
_TOLERANCE = 1e-5


def brier_score(is_present: ArrayLike, probability: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the mean squared difference of probability and presence (Brier 1950); NaN without rows.

    Equals ``sklearn.metrics.brier_score_loss``. Giving everybody the prevalence p reaches p (1 - p).
    """
    present, given = _check(is_present, probability)
    columns = np.column_stack([(given - present) ** 2, np.ones_like(given)])
    return over_sums(lambda sums: divide(sums[:, 0], sums[:, 1]), columns, weights)


def calibration_error(
    is_present: ArrayLike, probability: ArrayLike, weights: ArrayLike | None = None, *, bins: int = 10
) -> Floats:
    """Return the expected calibration error: the mean gap of probability and presence over bins of equal width.

    A bin weighs its share of the rows (Naeini, Cooper and Hauskrecht, 2015). It is biased upwards on few rows, and
    depends on the bins. NaN without rows.

    Example:
        >>> round(float(calibration_error([0, 1], [0.2, 0.7])), 3)
        0.25
    """
    present, given = _check(is_present, probability)
    in_bin = np.minimum((given * bins).astype(int), bins - 1)[:, np.newaxis] == np.arange(bins)
    columns = np.column_stack([in_bin * (given - present)[:, np.newaxis], np.ones_like(given)])
    return over_sums(lambda sums: divide(np.abs(sums[:, :-1]).sum(axis=1), sums[:, -1]), columns, weights)


def calibration_intercept(is_present: ArrayLike, probability: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return calibration in the large: what has to be added to the logit so that the mean probability is right.

    The intercept of a logistic regression of presence with the logit of the probability as offset (its slope fixed at
    1). Above 0 the probabilities are too low, below 0 too high. Probabilities are kept within 1e-6 of 0 and 1. NaN with
    one class.
    """
    present, given = _check(is_present, probability)
    x = _to_logit(given)
    # replicates lie about the sample itself
    start = 0.0
    if 0 < present.sum() < present.size:
        start = float(_fit_intercept(x, np.array([float(present.sum())]), np.ones((1, x.size)), 0.0)[0])

    def compute(block: Floats) -> Floats:
        n_present, total = block @ present, block.sum(axis=1)
        has_both = (n_present > 0) & (n_present < total)
        found = np.full(len(block), np.nan)
        found[has_both] = _fit_intercept(x, n_present[has_both], block[has_both], start)
        return found

    return over_replicates(compute, weights, x.size)


def calibration_slope(is_present: ArrayLike, probability: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the slope of a logistic regression of presence on the logit of the probability (Cox 1958).

    1 is right, below 1 the probabilities are too extreme, as after overfitting, above 1 too timid, below 0 upside
    down. Probabilities are kept within 1e-6 of 0 and 1. NaN where the regression has no solution: with one class, or
    where a cut on the probability parts the classes.
    """
    present, given = _check(is_present, probability)
    x = _to_logit(given)
    centre, spread = (x.mean(), x.std() or 1.0) if x.size else (0.0, 1.0)
    standard = (x - centre) / spread
    # replicates lie about the sample itself
    start = np.zeros(2)
    whole = np.ones((1, x.size))
    if x.size and _overlaps(present, x, whole)[0]:
        start = _fit_line(standard, present, whole, start)[0]

    def compute(block: Floats) -> Floats:
        found = np.full(len(block), np.nan)
        is_solvable = _overlaps(present, x, block)
        found[is_solvable] = _fit_line(standard, present, block[is_solvable], start)[:, 1] / spread
        return found

    return over_replicates(compute, weights, x.size)


def has_slope(is_present: ArrayLike, probability: ArrayLike) -> bool:
    """Say whether no cut on the probability parts the classes, so that there is a calibration slope."""
    present, given = _check(is_present, probability)
    return bool(given.size and _overlaps(present, _to_logit(given), np.ones((1, given.size)))[0])


def _overlaps(present: Flags, x: Floats, weights: Floats) -> Flags:
    """Say for each replicate whether the classes overlap in x: a logistic regression has a solution only then."""
    order = np.argsort(x, kind="stable")
    ordered = x[order]

    def ends(rows: Flags) -> tuple[Floats, Floats]:
        drawn = (weights[:, order] > 0) & rows[order]
        first, last = drawn.argmax(axis=1), len(x) - 1 - drawn[:, ::-1].argmax(axis=1)
        is_there = drawn.any(axis=1)
        return np.where(is_there, ordered[first], np.nan), np.where(is_there, ordered[last], np.nan)

    (low, high), (low_absent, high_absent) = ends(present), ends(~present)
    return np.asarray((low < high_absent) & (low_absent < high))


def _to_logit(probability: Floats) -> Floats:
    return np.asarray(logit(np.clip(probability, _CLIP, 1 - _CLIP)))


def _fit_intercept(x: Floats, n_present: Floats, weights: Floats, start: float) -> Floats:
    """Solve for the sum of expit(x + intercept) = the number of present rows, by bounded Newton steps."""
    intercept = np.full(len(weights), start)
    odds = np.exp(-x)
    for _ in range(_MOST_STEPS):
        chance = 1 / (1 + odds * np.exp(-intercept)[:, np.newaxis])
        expected = weights * chance
        gap = n_present - expected.sum(axis=1)
        expected *= 1 - chance
        step = gap / np.maximum(expected.sum(axis=1), 1e-12)
        step = np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        intercept += step
        if np.abs(step).max(initial=0.0) < _TOLERANCE:
            break
    return intercept


def _fit_line(x: Floats, present: Flags, weights: Floats, start: Floats) -> Floats:
    """Return intercept and slope of logistic regressions on one standardised predictor, by bounded Newton steps."""
    powers = np.column_stack([np.ones_like(x), x, x * x])
    truth = weights @ (powers[:, :2] * present[:, np.newaxis])
    at = np.tile(start, (len(weights), 1))
    for _ in range(_MOST_STEPS):
        # as expit, but with numpy's exponential, which computes several at once
        with np.errstate(over="ignore"):
            chance = 1 / (1 + np.exp(-at[:, :1] - at[:, 1:] * x))
        expected = chance * weights
        gradient = truth - expected @ powers[:, :2]
        expected *= 1 - chance
        h0, h1, h2 = (expected @ powers).T
        determinant = np.maximum(h0 * h2 - h1 * h1, 1e-12)
        step = (
            np.column_stack([h2 * gradient[:, 0] - h1 * gradient[:, 1], h0 * gradient[:, 1] - h1 * gradient[:, 0]])
            / determinant[:, np.newaxis]
        )
        length = np.abs(step).max(axis=1, keepdims=True)
        at += step * np.minimum(1, _LONGEST_STEP / np.maximum(length, 1e-300))
        if length.max(initial=0.0) < _TOLERANCE:
            break
    return np.asarray(at)


def _check(is_present: ArrayLike, probability: ArrayLike) -> tuple[Flags, Floats]:
    present, given = same_size(as_flags(is_present), as_numbers(probability))
    if given.size and not (given.min() >= 0 and given.max() <= 1):
        raise ValueError(f"probabilities must lie between 0 and 1, got {given.min():g} to {given.max():g}")
    return present, given
