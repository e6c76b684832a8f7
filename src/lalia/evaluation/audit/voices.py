"""Speakers who sound alike: perhaps one person under two ids."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MOST_PAIRS: Final = 20
_COLUMNS = ("speaker", "other", "similarity", "more_alike_than_own")
_BLOCK = 1024


def find_like_voices(vectors: NDArray[np.floating], speakers: Sequence[str], most: int = MOST_PAIRS) -> pd.DataFrame:
    """List the pairs of speakers whose voices are most alike, with how alike one speaker's own recordings are.

    The vectors are whitened by how they vary within speakers (shrunk towards its diagonal), so that what changes from
    recording to recording counts less than what a speaker keeps. The similarity is the cosine between the mean vectors
    of two speakers around the mean of all. Each speaker with two recordings or more gives the yardstick: the cosine
    between the means of the two halves of their recordings. Nothing is decided: brothers and bad microphones are alike
    too.

    Args:
        vectors: of the recordings, shape (recordings, width).
        speakers: of the recordings.
        most: how many pairs to list.

    Returns:
        A row per pair, the most alike first: speaker, other, similarity, more_alike_than_own (the share of speakers
        whose own halves are less alike). Empty with fewer than three speakers, or nobody who has two recordings.
    """
    names, owner = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)
    counts = np.bincount(owner)
    nothing = pd.DataFrame(columns=list(_COLUMNS))
    if len(names) < 3 or counts.max() < 2:
        return nothing
    given = vectors.astype(np.float64)
    given = given - given.mean(axis=0)
    means = _average(given, owner, len(names))
    within = given - means[owner]
    white = _whiten(within, max(1, len(given) - len(names)))
    means = _normalize(means @ white)
    # alternately a first and a second half of each speaker's recordings
    turn = np.empty(len(owner), dtype=np.int64)
    order = np.argsort(owner, kind="stable")
    turn[order] = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    halves = [
        _normalize(_average(given[turn % 2 == half], owner[turn % 2 == half], len(names)) @ white) for half in (0, 1)
    ]
    own = np.sort((halves[0] * halves[1]).sum(axis=1)[counts >= 2])
    found = []
    for start in range(0, len(names), _BLOCK):
        alike = means[start : start + _BLOCK] @ means.T
        alike[np.arange(len(names)) <= np.arange(start, start + len(alike))[:, np.newaxis]] = -np.inf
        best = np.argpartition(-alike, min(most, alike.size - 1), axis=None)[:most]
        first, second = np.unravel_index(best, alike.shape)
        found += [
            (names[start + one], names[other], alike[one, other]) for one, other in zip(first, second, strict=True)
        ]
    rows = [
        (one, other, float(alike), float(np.searchsorted(own, alike) / len(own)))
        for one, other, alike in sorted(found, key=lambda pair: -pair[2])[:most]
        if np.isfinite(alike)
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _average(values: NDArray[np.float64], owner: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, owner, values)
    return sums / np.maximum(np.bincount(owner, minlength=count), 1)[:, np.newaxis]


def _normalize(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def _whiten(within: NDArray[np.float64], freedom: int) -> NDArray[np.float64]:
    """Return the inverse square root of the covariance within speakers, half of it its diagonal."""
    covariance = within.T @ within / freedom
    shrunk = (covariance + np.diag(np.diag(covariance))) / 2
    values, directions = np.linalg.eigh(shrunk)
    floor = max(float(values[-1]) * 1e-6, np.finfo(np.float64).tiny)
    white: NDArray[np.float64] = directions / np.sqrt(np.maximum(values, floor))
    return white
