"""How well scores and calls tell recordings with a trait from those without.

Everywhere ``is_present`` and ``is_called`` are flags (True, False, 1, 0), one per row and none missing, and ``weights``
has shape (..., rows): how often each row was drawn. Values have the shape of the leading axes.
"""

import numpy as np
from numpy.typing import ArrayLike

from lalia.measures.weighted import Flags, Floats, as_flags, as_numbers, divide, find_ties, over_replicates, same_size


def auc(is_present: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the area under the ROC curve: how often a present row scores above an absent one, ties counting half.

    NaN with one class. Equals ``sklearn.metrics.roc_auc_score``.

    Example:
        >>> float(auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8]))
        0.875
    """
    present, values = same_size(as_flags(is_present), as_numbers(scores))
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

    def compute(block: Floats) -> Floats:
        n_right, n_all = (block @ columns).T
        return divide(n_right, n_all)

    return over_replicates(compute, weights, among.size)
