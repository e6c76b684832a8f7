"""How far a number would move with other speakers: the cluster bootstrap."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
