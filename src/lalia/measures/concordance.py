"""How well scores agree with ratings in value, not in order alone: concordance, ICC, bias, limits of agreement.

Everywhere there is one rating and one score per row, both in units of the scale and none missing, and ``weights`` has
shape (..., rows): how often each row was drawn. Values have the shape of the leading axes.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from lalia.measures.weighted import Flags, Floats, as_numbers, divide, over_sums, same_size

IccForm = Literal["1,1", "A,1", "C,1", "1,k", "A,k", "C,k"]

# below this share of the mean square, a variance is rounding error
_VARIANCE_FLOOR = 1e-12
# half the width of 95 % of a normal distribution
_NORMAL_95 = 1.96


def ccc(ratings: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return Lin's concordance correlation: how near the rows lie to the line where score and rating are equal.

    2 cov / (var + var + squared difference of the means), with variances over n (Lin, Biometrics 45, 1989). NaN with
    fewer than 3 rows, or if all ratings are equal: then it is 0 whatever the scores.

    Example:
        >>> round(float(ccc([1, 2, 3], [2, 3, 4])), 4)
        0.5714
    """
    x, y = same_size(as_numbers(ratings), as_numbers(scores))

    def compute(sums: Floats) -> Floats:
        n, x_mean, y_mean, xx, yy, xy = _moments(sums)
        return divide(2 * xy, np.where(_varies(n, x_mean, xx), xx + yy + (x_mean - y_mean) ** 2, 0))

    return over_sums(compute, _columns(x, y), weights)


def icc_of_two(ratings: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return ICC(A,1) of ratings and scores as two raters: two-way, absolute agreement, a single rater.

    McGraw and Wong's name (1996) for Shrout and Fleiss's ICC(2,1); equals :func:`icc` of the two columns. NaN with
    fewer than 3 rows, or if all ratings are equal: then it is 0 whatever the scores.

    Example:
        >>> round(float(icc_of_two([1, 2, 3], [2, 3, 4])), 4)
        0.6667
    """
    x, y = same_size(as_numbers(ratings), as_numbers(scores))

    def compute(sums: Floats) -> Floats:
        n, x_mean, y_mean, xx, yy, xy = _moments(sums)
        # with two raters, MSR - MSE is 2 cov and MSR + MSE is var + var, over n - 1
        unbiased = divide(n, n - 1)
        error = (xx + yy - 2 * xy) * unbiased
        spread = (xx + yy) * unbiased + (x_mean - y_mean) ** 2 - divide(error, n)
        return divide(2 * xy * unbiased, np.where(_varies(n, x_mean, xx), spread, 0))

    return over_sums(compute, _columns(x, y), weights)


def bias(ratings: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the mean of score minus rating, in units of the scale; NaN without rows."""
    x, y = same_size(as_numbers(ratings), as_numbers(scores))
    columns = np.column_stack([y - x, np.ones_like(x)])
    return over_sums(lambda sums: divide(sums[:, 0], sums[:, 1]), columns, weights)


def lower_limit(ratings: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the lower limit of agreement: bias - 1.96 standard deviations of the differences.

    Between the limits lie about 95 % of the differences of score and rating, if they are normal (Bland and Altman,
    Lancet 327, 1986). NaN with fewer than 2 rows. The repeated recordings of a speaker are taken as they are.
    """
    return _limit(ratings, scores, weights, -_NORMAL_95)


def upper_limit(ratings: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the upper limit of agreement, as :func:`lower_limit` the lower one."""
    return _limit(ratings, scores, weights, _NORMAL_95)


def icc(ratings: ArrayLike, form: IccForm = "A,1", weights: ArrayLike | None = None) -> Floats:
    """Return an intraclass correlation of several raters who all rated every recording.

    Forms by McGraw and Wong (1996), with the names of Shrout and Fleiss (1979): one-way "1,1" ICC(1,1) and "1,k"
    ICC(1,k); two-way, absolute agreement "A,1" ICC(2,1) and "A,k" ICC(2,k); two-way, consistency "C,1" ICC(3,1) and
    "C,k" ICC(3,k). The ",1" forms are of a single rater, the ",k" forms of the mean of all.

    Args:
        ratings: none missing, shape (recordings, raters).
        form: of the coefficient.
        weights: shape (..., recordings).

    Returns:
        NaN with fewer than 2 recordings or raters, or where the denominator is not above 0.

    Raises:
        ValueError: if a rating is missing.

    Example:
        >>> round(float(icc([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])), 3)
        0.29
    """
    given = np.asarray(ratings, dtype=np.float64)
    if given.ndim != 2 or not np.isfinite(given).all():
        raise ValueError("ratings must have shape (recordings, raters), and none may be missing")
    k = given.shape[1]
    given = given - (given.mean() if given.size else 0.0)
    sums_of_rows = given.sum(axis=1)
    columns = np.column_stack([np.ones(len(given)), sums_of_rows**2, (given**2).sum(axis=1), given])

    def compute(sums: Floats) -> Floats:
        n, squared_rows, squares, of_raters = sums[:, 0], sums[:, 1], sums[:, 2], sums[:, 3:]
        mean = divide(of_raters.sum(axis=1) ** 2, n * k)
        rows = squared_rows / k - mean
        columns_ = divide((of_raters**2).sum(axis=1), n) - mean
        all_ = squares - mean
        msr, msc = divide(rows, n - 1), columns_ / (k - 1)
        mse, msw = divide(all_ - rows - columns_, (n - 1) * (k - 1)), divide(all_ - rows, n * (k - 1))
        between = divide(msc - mse, n) if form.startswith("A") else np.zeros_like(n)
        error = msw if form.startswith("1") else mse
        if form.endswith("1"):
            return divide(msr - error, msr + (k - 1) * error + k * between)
        return divide(msr - error, msr + between)

    if k < 2:
        return over_sums(lambda sums: np.full(len(sums), np.nan), columns, weights)
    return over_sums(compute, columns, weights)


def _limit(ratings: ArrayLike, scores: ArrayLike, weights: ArrayLike | None, deviations: float) -> Floats:
    x, y = same_size(as_numbers(ratings), as_numbers(scores))
    difference = y - x
    columns = np.column_stack([np.ones_like(x), difference, difference**2])

    def compute(sums: Floats) -> Floats:
        n, total, squares = sums.T
        mean = divide(total, n)
        variance = divide(np.maximum(squares - total * mean, 0), n - 1)
        return mean + deviations * np.sqrt(variance)

    return over_sums(compute, columns, weights)


def _columns(x: Floats, y: Floats) -> Floats:
    # around one centre for both sides, so that their means stay apart
    centre = x.mean() if x.size else 0.0
    x, y = x - centre, y - centre
    return np.column_stack([np.ones_like(x), x, y, x * x, y * y, x * y])


def _moments(sums: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Return n, both means, both variances and the covariance, over n; NaN with fewer than 3 rows."""
    n = np.where(sums[:, 0] >= 3, sums[:, 0], 0)
    x_mean, y_mean, xx, yy, xy = divide(sums[:, 1:], n[:, np.newaxis]).T
    return n, x_mean, y_mean, xx - x_mean**2, yy - y_mean**2, xy - x_mean * y_mean


def _varies(n: Floats, mean: Floats, variance: Floats) -> Flags:
    return np.asarray((n >= 3) & (variance > _VARIANCE_FLOOR * (variance + mean**2)))
