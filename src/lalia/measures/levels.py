"""How well predicted levels hit the rated ones.

Everywhere a level is its position on the scale, from 0, one per row and none missing, and ``weights`` has shape
(..., rows): how often each row was drawn. Values have the shape of the leading axes.
"""

import numpy as np
from numpy.typing import ArrayLike

from lalia.measures.agreement import check_index
from lalia.measures.weighted import Floats, as_numbers, divide, over_sums, same_size


def linear_kappa(
    level_index: ArrayLike, predicted_index: ArrayLike, n_levels: int, weights: ArrayLike | None = None
) -> Floats:
    """Return Cohen's kappa with linear weights over the full scale (Cohen 1968), used levels or not.

    A miss counts by how many levels it is off. NaN if all true levels are equal. Else equals
    ``sklearn.metrics.cohen_kappa_score(..., labels=range(n_levels), weights="linear")``.

    Raises:
        ValueError: if an index lies outside 0 to ``n_levels`` - 1.

    Example:
        >>> round(float(linear_kappa([0, 1, 3, 3], [0, 3, 3, 1], n_levels=4)), 3)
        0.273
    """
    true, predicted = same_size(as_numbers(level_index), as_numbers(predicted_index))
    check_index(true, predicted, n_levels)
    levels = np.arange(n_levels)
    distance = np.abs(levels[:, np.newaxis] - levels).astype(np.float64)
    columns = np.column_stack(
        [true[:, np.newaxis] == levels, predicted[:, np.newaxis] == levels, np.abs(true - predicted)]
    )

    def compute(sums: Floats) -> Floats:
        at_true, at_predicted, disagreement = sums[:, :n_levels], sums[:, n_levels:-1], sums[:, -1]
        total = at_true.sum(axis=1)
        expected = ((at_true @ distance) * at_predicted).sum(axis=1)
        varies = at_true.max(axis=1) < total
        return 1 - divide(total * disagreement, np.where(varies, expected, 0))

    return over_sums(compute, columns, weights)


def exact_agreement(level_index: ArrayLike, predicted_index: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the share of rows whose predicted level is the rated one; NaN without rows."""
    return _share_within(level_index, predicted_index, 0, weights)


def within_one(level_index: ArrayLike, predicted_index: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the share of rows whose predicted level is the rated one or a neighbour of it; NaN without rows."""
    return _share_within(level_index, predicted_index, 1, weights)


def macro_mae(
    ratings: ArrayLike, scores: ArrayLike, level_index: ArrayLike, weights: ArrayLike | None = None
) -> Floats:
    """Return the mean absolute difference at each rated level, averaged over the levels that occur; NaN without rows.

    A rare level counts as much as a frequent one (Baccianella, Esuli and Sebastiani, Evaluation measures for ordinal
    regression, 2009).

    Example:
        >>> float(macro_mae([1, 1, 1, 4], [1, 1, 1, 2], [0, 0, 0, 3]))
        1.0
    """
    x, y = same_size(as_numbers(ratings), as_numbers(scores))
    x, index = same_size(x, as_numbers(level_index))
    is_at = index[:, np.newaxis] == np.unique(index)
    columns = np.column_stack([is_at * np.abs(x - y)[:, np.newaxis], is_at])

    def compute(sums: Floats) -> Floats:
        difference, n_rows = np.split(sums, 2, axis=1)
        means = divide(difference, n_rows)
        is_there = n_rows > 0
        return divide(np.where(is_there, means, 0).sum(axis=1), is_there.sum(axis=1).astype(np.float64))

    return over_sums(compute, columns, weights)


def _share_within(level_index: ArrayLike, predicted_index: ArrayLike, most: int, weights: ArrayLike | None) -> Floats:
    true, predicted = same_size(as_numbers(level_index), as_numbers(predicted_index))
    columns = np.column_stack([np.abs(true - predicted) <= most, np.ones_like(true)])
    return over_sums(lambda sums: divide(sums[:, 0], sums[:, 1]), columns, weights)
