"""How well scores and calls tell recordings with a trait from those without.

Everywhere ``is_present`` and ``is_called`` are flags (True, False, 1, 0), one per row and none missing, and ``weights``
has shape (..., rows): how often each row was drawn. Values have the shape of the leading axes.
"""

import numpy as np
from numpy.typing import ArrayLike

from lalia.measures.weighted import (
    Flags,
    Floats,
    SpeakerWeights,
    as_flags,
    as_numbers,
    divide,
    find_ties,
    over_replicates,
    over_sums,
    same_size,
)


def auc(is_present: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the area under the ROC curve: how often a present row scores above an absent one, ties counting half.

    NaN with one class. Equals ``sklearn.metrics.roc_auc_score``.

    Example:
        >>> float(auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8]))
        0.875
    """
    present, values = same_size(as_flags(is_present), as_numbers(scores))
    if isinstance(weights, SpeakerWeights) and present.size and weights.is_worth_pairing(1):
        n_positive, n_negative = weights.sum(np.stack([present, ~present], axis=1)).T
        # the ranks of the present rows, less those among themselves (Mann and Whitney 1947)
        above = weights.sum_ranks(values, [present])[0] - n_positive * n_positive / 2
        return divide(above, n_positive * n_negative)
    ties = find_ties(values)

    def compute(block: Floats) -> Floats:
        positive = ties.sum(block * present)
        negative = ties.sum(block) - positive
        below = np.cumsum(negative, axis=1) - negative / 2
        return divide((positive * below).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))

    return over_replicates(compute, weights, present.size)


def average_precision(is_present: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the mean precision over the cuts at each distinct score, weighted by the gain in recall.

    NaN with one class: if all are present, it is 1 whatever the scores. Else equals
    ``sklearn.metrics.average_precision_score``.

    Example:
        >>> round(float(average_precision([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.8])), 4)
        0.8333
    """
    present, values = same_size(as_flags(is_present), as_numbers(scores))
    ties = find_ties(-values)

    def compute(block: Floats) -> Floats:
        positive, called = ties.sum(block * present), np.cumsum(ties.sum(block), axis=1)
        precision = np.cumsum(positive, axis=1) / np.maximum(called, np.finfo(np.float64).tiny)
        n_positive = positive.sum(axis=1)
        value = divide((positive * precision).sum(axis=1), n_positive)
        return np.where(n_positive < called[:, -1], value, np.nan)

    return over_replicates(compute, weights, present.size)


def sensitivity(is_present: ArrayLike, is_called: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the share of present rows that are called; NaN if none is present."""
    present, called = same_size(as_flags(is_present), as_flags(is_called))
    return _share(called, present, weights)


def specificity(is_present: ArrayLike, is_called: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the share of absent rows that are not called; NaN if all are present."""
    present, called = same_size(as_flags(is_present), as_flags(is_called))
    return _share(~called, ~present, weights)


def balanced_accuracy(is_present: ArrayLike, is_called: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the mean of sensitivity and specificity; NaN with one class."""
    return (sensitivity(is_present, is_called, weights) + specificity(is_present, is_called, weights)) / 2


def accuracy(is_present: ArrayLike, is_called: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the share of rows called if and only if present; NaN without rows."""
    present, called = same_size(as_flags(is_present), as_flags(is_called))
    return _share(called == present, np.ones_like(present), weights)


def positive_predictive_value(is_present: ArrayLike, is_called: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the share of called rows that are present (precision); NaN if none is called."""
    present, called = same_size(as_flags(is_present), as_flags(is_called))
    return _share(present, called, weights)


def negative_predictive_value(is_present: ArrayLike, is_called: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the share of rows that are not called that are absent; NaN if all are called."""
    present, called = same_size(as_flags(is_present), as_flags(is_called))
    return _share(~present, ~called, weights)


def f1(is_present: ArrayLike, is_called: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the harmonic mean of sensitivity and positive predictive value.

    0 if no present row is called; NaN if none is present: then it is 0 whatever the calls.
    """
    present, called = same_size(as_flags(is_present), as_flags(is_called))
    columns = np.column_stack([present & called, present, called]).astype(np.float64)

    def compute(sums: Floats) -> Floats:
        hits, n_present, n_called = sums.T
        return divide(2 * hits, np.where(n_present > 0, n_present + n_called, 0))

    return over_sums(compute, columns, weights)


def prevalence(is_present: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the share of rows that are present: what an average precision is held against; NaN without rows."""
    present = as_flags(is_present)
    return _share(present, np.ones_like(present), weights)


def sensitivity_at_specificity(
    is_present: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None, *, specificity: float = 0.9
) -> Floats:
    """Return the highest sensitivity of a cut on the scores that keeps a specificity; NaN with one class.

    The cut is chosen anew in each replicate, on the rows that it is judged on: a point of the ROC curve, not what a
    threshold fixed beforehand would reach.

    Args:
        is_present: flags.
        scores: what presence is ranked by, rising.
        weights: as everywhere.
        specificity: the least that the cut must have.

    Example:
        >>> float(sensitivity_at_specificity([0, 0, 1, 1], [0.1, 0.7, 0.4, 0.8], specificity=1.0))
        0.5
    """
    present, values = same_size(as_flags(is_present), as_numbers(scores))
    ties = find_ties(-values)

    def compute(block: Floats) -> Floats:
        positive = ties.sum(block * present)
        negative = ties.sum(block) - positive
        n_positive, n_negative = positive.sum(axis=1), negative.sum(axis=1)
        # a hair above, so that 1 false alarm of 10 keeps a specificity of 0.9
        allowed = (1 - specificity) * n_negative * (1 + 1e-9)
        kept = np.cumsum(negative, axis=1) <= allowed[:, np.newaxis]
        return divide((positive * kept).sum(axis=1), np.where(n_negative > 0, n_positive, 0))

    return over_replicates(compute, weights, present.size)


def best_threshold(is_present: ArrayLike, probability: ArrayLike) -> float:
    """Return the cut on the probability with the highest balanced accuracy; ``probability >= cut`` is called.

    Youden's index (Cancer 3, 1950). Cuts lie midway between neighbouring distinct probabilities; of equally good ones
    the nearest to 0.5 is taken, and 0.5 if all probabilities are equal. NaN with one class.

    Example:
        >>> best_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9])
        0.4
    """
    present, values = same_size(as_flags(is_present), as_numbers(probability))
    if present.all() or not present.any():
        return float("nan")
    distinct = np.unique(values)
    if distinct.size == 1:
        return 0.5
    low, high = distinct[:-1], distinct[1:]
    cuts = low + (high - low) / 2
    cuts = np.where(cuts > low, cuts, high)  # between neighbouring floats there is no midpoint
    hits = present.sum() - np.searchsorted(np.sort(values[present]), cuts)
    rejections = np.searchsorted(np.sort(values[~present]), cuts)
    gain = hits * (~present).sum() + rejections * present.sum()  # in integers, so that ties are exact
    best = cuts[gain == gain.max()]
    return float(best[np.argmin(np.abs(best - 0.5))])


def _share(is_right: Flags, among: Flags, weights: ArrayLike | None) -> Floats:
    columns = np.column_stack([among & is_right, among]).astype(np.float64)
    return over_sums(lambda sums: divide(sums[:, 0], sums[:, 1]), columns, weights)
