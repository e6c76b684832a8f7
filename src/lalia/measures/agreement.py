"""How well scores agree with ratings in order and size.

Everywhere there is one rating and one score per row and none missing, and ``weights`` has shape (..., rows): how often
each row was drawn. Values have the shape of the leading axes.
"""

import numpy as np
from numpy.typing import ArrayLike

from lalia.measures.weighted import (
    Floats,
    SpeakerWeights,
    Ties,
    as_numbers,
    divide,
    find_ties,
    over_pairs,
    over_replicates,
    over_sums,
    same_size,
)

# below this share of the mean square, a variance is rounding error
_VARIANCE_FLOOR = 1e-12


def pearson(ratings: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the linear correlation; NaN with fewer than 3 rows, or if either side is constant."""
    x, y = (_standard(values) for values in same_size(as_numbers(ratings), as_numbers(scores)))
    columns = np.column_stack([np.ones_like(x), x, y, x * x, y * y, x * y])

    def compute(sums: Floats) -> Floats:
        total = sums[:, 0]
        x_mean, y_mean, xx, yy, xy = divide(sums[:, 1:], np.where(total >= 3, total, 0)[:, np.newaxis]).T
        x_variance, y_variance = xx - x_mean**2, yy - y_mean**2
        varies = (x_variance > _VARIANCE_FLOOR * xx) & (y_variance > _VARIANCE_FLOOR * yy)
        spread = np.sqrt(np.where(varies, x_variance * y_variance, 0))
        return np.clip(divide(xy - x_mean * y_mean, spread), -1, 1)

    return over_sums(compute, columns, weights)


def spearman(ratings: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the rank correlation, ties sharing their mean rank; NaN where Pearson's would be.

    Under weights a group of ties that weighs w has its mean rank in the repeated sample, so that the squared ranks
    around their mean sum to (N^3 - sum of w^3) / 12 (Kendall, Rank Correlation Methods, 1948, ch. 3).

    Example:
        >>> round(float(spearman([1, 2, 2, 4], [0.1, 0.5, 0.3, 0.9])), 4)
        0.9487
    """
    x, y = same_size(as_numbers(ratings), as_numbers(scores))
    x_ties, y_ties = find_ties(x), find_ties(y)
    if isinstance(weights, SpeakerWeights) and x.size and weights.is_worth_pairing(x_ties.starts.size):
        return _spearman_by_pairs(x_ties, y_ties, y, weights)

    def compute(block: Floats) -> Floats:
        total = block.sum(axis=1)
        x_rank, x_square = _centred_ranks(x_ties.sum(block), total)
        y_rank, y_square = _centred_ranks(y_ties.sum(block), total)
        product = np.take(x_rank, x_ties.group, axis=1)
        product *= np.take(y_rank, y_ties.group, axis=1)
        product *= block
        spread = np.where(total >= 3, np.sqrt(x_square * y_square), 0)
        return np.clip(divide(product.sum(axis=1), spread), -1, 1)

    return over_replicates(compute, weights, x.size)


def _spearman_by_pairs(x_ties: Ties, y_ties: Ties, y: Floats, weights: SpeakerWeights) -> Floats:
    """Return Spearman's correlation where x has few values: from the sum of the ranks in y of the rows of each."""
    at_value = [x_ties.group == value for value in range(x_ties.starts.size)]
    of_value = weights.sum(np.stack(at_value, axis=1))
    total = of_value.sum(axis=1)
    x_rank, x_square = _centred_ranks(of_value, total)
    # squares of ranks fall short by the cubes of what is tied: a row that is not, of its own weight
    size = np.bincount(y_ties.group)
    is_alone = size[y_ties.group] == 1
    cubes = weights.counts.astype(np.float64) ** 3 @ np.bincount(
        weights.speaker[is_alone], minlength=weights.counts.shape[1]
    )
    tied = weights.sum(y_ties.group[:, np.newaxis] == np.flatnonzero(size > 1))
    y_square = (total * total * total - cubes - (tied * tied * tied).sum(axis=1)) / 12
    ranks = np.stack(weights.sum_ranks(y, at_value), axis=1) - of_value * (total / 2)[:, np.newaxis]
    spread = np.where(total >= 3, np.sqrt(x_square * y_square), 0)
    return np.clip(divide((x_rank * ranks).sum(axis=1), spread), -1, 1)


def kendall(ratings: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return Kendall's tau-b: concordant less discordant pairs, ties taken out on each side; NaN where Pearson's is.

    Equals ``scipy.stats.kendalltau``. All pairs are counted, so time grows with the square of the rows.

    Example:
        >>> round(float(kendall([1, 2, 2, 4], [1, 3, 2, 4])), 4)
        0.9129
    """
    x, y = same_size(as_numbers(ratings), as_numbers(scores))
    total = over_sums(lambda sums: sums[:, 0], np.ones((x.size, 1)), weights)

    def count_pairs(part: slice) -> list[Floats]:
        x_sign, y_sign = (np.sign(values[part, np.newaxis] - values) for values in (x, y))
        return [x_sign * y_sign, np.abs(x_sign), np.abs(y_sign)]

    def compute(sums: list[Floats]) -> Floats:
        balance, x_untied, y_untied = sums
        return np.clip(divide(balance, np.sqrt(x_untied * y_untied)), -1, 1)

    return np.where(total >= 3, over_pairs(compute, count_pairs, weights, x.size), np.nan)


def mae(ratings: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the mean absolute difference in units of the scale; NaN without rows."""
    x, y = same_size(as_numbers(ratings), as_numbers(scores))
    columns = np.column_stack([np.abs(x - y), np.ones_like(x)])
    return over_sums(lambda sums: divide(sums[:, 0], sums[:, 1]), columns, weights)


def qwk(level_index: ArrayLike, predicted_index: ArrayLike, n_levels: int, weights: ArrayLike | None = None) -> Floats:
    """Return Cohen's kappa with quadratic weights over the full scale, used levels or not.

    NaN if all true levels are equal: then it is 0 whatever the prediction. Else equals
    ``sklearn.metrics.cohen_kappa_score(..., labels=range(n_levels), weights="quadratic")``, from moments: the
    disagreement expected by chance is E[i^2] + E[j^2] - 2 E[i] E[j].

    Args:
        level_index: positions of the true levels on the scale, from 0.
        predicted_index: positions of the predicted levels on the scale, from 0.
        n_levels: the length of the scale.

    Raises:
        ValueError: if an index lies outside 0 to ``n_levels`` - 1.

    Example:
        >>> round(float(qwk([0, 1, 3, 3], [0, 3, 3, 1], n_levels=4)), 3)
        0.407
    """
    true, predicted = same_size(as_numbers(level_index), as_numbers(predicted_index))
    check_index(true, predicted, n_levels)
    columns = np.column_stack([np.ones_like(true), true, predicted, true**2, predicted**2, (true - predicted) ** 2])

    def compute(sums: Floats) -> Floats:
        total, i_sum, j_sum, ii, jj, disagreement = sums.T
        expected = total * (ii + jj) - 2 * i_sum * j_sum
        varies = total * ii - i_sum**2 > _VARIANCE_FLOOR * total * ii
        return 1 - divide(total * disagreement, np.where(varies, expected, 0))

    return over_sums(compute, columns, weights)


def check_index(true: Floats, predicted: Floats, n_levels: int) -> None:
    """Raise a ``ValueError`` if the position of a level lies outside 0 to ``n_levels`` - 1."""
    for index in (true, predicted):
        if not np.isin(index, np.arange(n_levels)).all():
            raise ValueError(f"level indices must be whole numbers from 0 to {n_levels - 1}, got {np.unique(index)}")


def _standard(values: Floats) -> Floats:
    """Centre and bring to at most 1, so that no sum of squares loses digits, overflows or underflows."""
    if not values.size:
        return values
    centred: Floats = values - values.mean()
    centred /= np.abs(centred).max() or 1.0
    return centred


def _centred_ranks(group_weights: Floats, total: Floats) -> tuple[Floats, Floats]:
    """Return the rank of each group of ties around the mean rank, and the sum of squares over the rows."""
    ranks = np.cumsum(group_weights, axis=1) - group_weights / 2 - total[:, np.newaxis] / 2
    squares = (total * total * total - (group_weights * group_weights * group_weights).sum(axis=1)) / 12
    return ranks, squares
