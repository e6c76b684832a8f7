"""How far a number would move with other speakers: the cluster bootstrap, percentile and BCa."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import t as student


def speaker_weights(speakers: Sequence[str], replicates: int, seed: int) -> NDArray[np.float32]:
    """Draw as many speakers as there are, with replacement, and return how often each row came along.

    Recordings of one speaker resemble each other, so whole speakers are drawn with all their recordings (Field and
    Welsh, Bootstrapping clustered data, J. R. Stat. Soc. B 69, 2007); intervals from drawn recordings are too narrow.
    A speaker's weights depend on the seed and the set of speakers alone, not on the order or number of rows. Draw once
    per part and take the rated rows of each trait, ``weights[:, has_rating]``, so that traits stay paired.

    Args:
        speakers: the speaker of each row.
        replicates: how many samples to draw.
        seed: of the draws.

    Returns:
        Replicate weights for the metrics, whole numbers, shape (replicates, rows). A single speaker cannot be drawn
        again otherwise: all weights are 0, so that every replicate is undefined and no interval pretends certainty.

    Example:
        >>> speaker_weights(["b", "a", "b"], replicates=3, seed=0)
        array([[1., 1., 1.],
               [1., 1., 1.],
               [2., 0., 2.]], dtype=float32)
    """
    names, speaker_of_row = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)
    if names.size < 2:
        return np.zeros((replicates, speaker_of_row.size), dtype=np.float32)
    draws = np.random.default_rng(seed).multinomial(names.size, np.full(names.size, 1 / names.size), size=replicates)
    return np.take(draws.astype(np.float32), speaker_of_row, axis=1)


def leave_speakers_out(n_speakers: int) -> NDArray[np.float32]:
    """Return weights that leave out each speaker once, shape (speakers, speakers): the jackknife over speakers."""
    return (1 - np.eye(n_speakers)).astype(np.float32)


def interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of a metric's bootstrap replicates.

    Replicates where the metric is undefined (NaN) are left out; if that is more than half of them, or there are none,
    the interval is (NaN, NaN).

    Args:
        values: one value per replicate.
        level: the share of the replicates inside.

    Example:
        >>> interval([0.0, 0.25, 0.5, float("nan")], level=0.5)
        (0.125, 0.375)
    """
    given = np.asarray(values, dtype=np.float64)
    defined = given[~np.isnan(given)]
    if not defined.size or defined.size < given.size / 2:
        return float("nan"), float("nan")
    return _quantiles(defined, (1 - level) / 2, (1 + level) / 2)


def bca_interval(value: float, values: ArrayLike, without_one: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the bias-corrected and accelerated interval of a metric (Efron, J. Am. Stat. Assoc. 82, 1987).

    Its percentiles are moved by the share of replicates below the value (the bias), ties counting half, and by the
    skewness of the values without one speaker each (the acceleration), as ``scipy.stats.bootstrap`` does. Undefined
    replicates are treated as by :func:`interval`.

    Args:
        value: of the sample itself.
        values: one per replicate.
        without_one: the value without each speaker; NaN where it is undefined.
        level: the share of the replicates inside, were they unbiased.

    Returns:
        (NaN, NaN) where the percentile interval is, where fewer than two speakers can be left out, or where the bias
        is without bounds because all replicates lie on one side of the value.
    """
    given, left = np.asarray(values, dtype=np.float64), np.asarray(without_one, dtype=np.float64)
    defined, left = given[~np.isnan(given)], left[~np.isnan(left)]
    if not defined.size or defined.size < given.size / 2 or left.size < 2:
        return float("nan"), float("nan")
    share = ((defined < value).mean() + (defined <= value).mean()) / 2
    if not 0 < share < 1:
        return float("nan"), float("nan")
    bias = ndtri(share)
    difference = left.mean() - left
    squares = (difference**2).sum()
    acceleration = (difference**3).sum() / (6 * squares**1.5) if squares > 0 else 0.0
    ends = bias + ndtri([(1 - level) / 2, (1 + level) / 2])
    low, high = ndtr(bias + ends / (1 - acceleration * ends))
    return _quantiles(defined, float(low), float(high))


def _quantiles(values: NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    """Return two quantiles as ``np.quantile`` does, which looks at its arguments for longer than it sorts."""
    ordered = np.sort(values)

    def find(share: float) -> float:
        place = share * (ordered.size - 1)
        below = int(place)
        above = min(below + 1, ordered.size - 1)
        return float(ordered[below] + (ordered[above] - ordered[below]) * (place - below))

    return find(low), find(high)


def degrees_of_freedom(without_one: ArrayLike, groups: ArrayLike) -> float:
    """Return how many speakers a number rests on, less one, where it rests on some groups of them more than on others.

    Each group's share of the jackknife variance has as many degrees of freedom as the group has speakers, less one
    (Satterthwaite, Biometrics Bull. 2, 1946): with 5 speakers who have a trait and 15 who have not, an AUC has hardly
    more than the 4 of the former.

    Args:
        without_one: the number without each speaker, shape (speakers,).
        groups: of each speaker, such as having the trait or not, shape (speakers,).

    Returns:
        NaN where the number is undefined without one of the speakers: then it rests on that one alone.

    Example:
        >>> degrees_of_freedom([0.7, 0.8, 0.9, 0.75, 0.75, 0.75], [1, 1, 1, 0, 0, 0])
        2.0
    """
    left, group = np.asarray(without_one, dtype=np.float64), np.asarray(groups)
    if left.size < 2 or np.isnan(left).any():
        return float("nan")
    shares, freedom = [], []
    for one in np.unique(group):
        of_group = left[group == one]
        shares.append(of_group.var() * (of_group.size - 1))
        freedom.append(max(of_group.size - 1, 1))
    squares = sum(share**2 / free for share, free in zip(shares, freedom, strict=True))
    return float(sum(shares) ** 2 / squares) if squares > 0 else float(left.size - 1)


def expanded_interval(values: ArrayLike, freedom: float, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of replicates, made wider where few speakers were drawn.

    Percentiles are too narrow on few speakers, as if a variance were divided by n, and a normal distribution taken for
    Student's. Both are mended by percentiles farther out (the expanded percentile interval: Hesterberg, What teachers
    should know about the bootstrap, Am. Stat. 69, 2015).

    Args:
        values: one per replicate, undefined ones treated as by :func:`interval`.
        freedom: the degrees of freedom, see :func:`degrees_of_freedom`; NaN gives (NaN, NaN).
        level: of the interval.

    Example:
        >>> values = ndtri((np.arange(2000) + 0.5) / 2000)
        >>> [round(end, 2) for end in expanded_interval(values, freedom=1000)]
        [-1.96, 1.96]
        >>> [round(end, 2) for end in expanded_interval(values, freedom=4)]
        [-3.04, 3.04]
    """
    if not freedom > 0:
        return float("nan"), float("nan")
    farther = student.ppf((1 + level) / 2, freedom) * np.sqrt((freedom + 1) / freedom)
    return interval(values, float(1 - 2 * ndtr(-farther)))
