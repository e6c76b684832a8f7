"""How far a number would move with other speakers: the cluster bootstrap, percentile and BCa."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri


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
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
    low, high = np.quantile(defined, ndtr(bias + ends / (1 - acceleration * ends)))
    return float(low), float(high)
