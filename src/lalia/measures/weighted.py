"""Sums over rows under replicate weights: how often each row was drawn, for many bootstrap replicates in one call."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_First = TypeVar("_First", bound=np.generic)
_Second = TypeVar("_Second", bound=np.generic)

# 4 MB of float64: a block and the few arrays made from it stay in the processor's cache
_BLOCK_NUMBERS = 1 << 19
# above this many numbers in a quadratic form for each row, sorting the rows of each replicate is sooner done
_MOST_PAIRS_PER_ROW = 300
# whole and half numbers below 2^23 are exact in float32
_EXACT_SINGLE = 1 << 23


@dataclass(frozen=True, eq=False)
class SpeakerWeights:
    """Weights that all rows of a speaker share: an array of shape (replicates, rows) kept as one of speakers.

    Sums over rows are then sums over speakers, which are far fewer.

    Args:
        counts: how often each speaker was drawn, shape (replicates, speakers).
        speaker: the speaker of each row, as a column of ``counts``, shape (rows,).

    Example:
        >>> weights = SpeakerWeights(np.array([[2.0, 0.0]]), np.array([0, 1, 0]))
        >>> np.asarray(weights)
        array([[2., 0., 2.]])
    """

    counts: NDArray[Any]
    speaker: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of replicates and rows."""
        return len(self.counts), len(self.speaker)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.take(self.counts, self.speaker, axis=1).astype(dtype or self.counts.dtype)

    def sum(self, columns: NDArray[Any]) -> Floats:
        """Sum columns over the drawn rows: shape (rows, columns) -> (replicates, columns)."""
        return self.counts.astype(np.float64) @ self.sum_speakers(columns)

    def is_worth_pairing(self, groups: int) -> bool:
        """Say whether quadratic forms of the draws, one for each group of rows, cost less than sorting."""
        return bool(groups * self.counts.shape[1] ** 2 <= _MOST_PAIRS_PER_ROW * len(self.speaker))

    def sum_ranks(self, scores: Floats, groups: Sequence[Flags]) -> list[Floats]:
        """Return the sum of the ranks of each group's rows, from 1/2 on, ties sharing theirs, each (replicates,).

        A sum over pairs of rows, such as how often one scores above another, is a quadratic form w'Qw in the draws w of
        the speakers, and all replicates are one product of matrices. Ranks are halves of whole numbers: every sum is
        exact, in whichever order.
        """
        n_speakers = self.counts.shape[1]
        most = float((self.counts @ np.bincount(self.speaker, minlength=n_speakers)).max(initial=0.0))
        kind: Any = np.float32 if most * most < _EXACT_SINGLE else np.float64
        counts = self.counts.astype(kind)
        is_of = (self.speaker[:, np.newaxis] == np.arange(n_speakers)).astype(kind)
        order = np.argsort(scores)
        ranked = scores[order]
        # rows of each speaker below each row, ties counting half, shape (rows, speakers)
        below = np.zeros((len(scores) + 1, n_speakers), dtype=kind)
        np.cumsum(is_of[order], axis=0, out=below[1:])
        rank = (below[np.searchsorted(ranked, scores)] + below[np.searchsorted(ranked, scores, side="right")]) / 2
        forms = [is_of[group].T @ rank[group] for group in groups]
        return [np.einsum("rs,rs->r", counts @ form, counts).astype(np.float64) for form in forms]

    def sum_speakers(self, columns: NDArray[Any]) -> Floats:
        """Sum the rows of each speaker: shape (rows, columns) -> (speakers, columns)."""
        total = np.zeros((self.counts.shape[1], columns.shape[1]))
        np.add.at(total, self.speaker, columns)
        return total


def over_replicates(compute: Callable[[Floats], Floats], weights: ArrayLike | None, n_rows: int) -> Floats:
    """Return what ``compute`` gives for each replicate, block by block, so that memory stays bounded.

    Args:
        compute: weights of shape (replicates, n_rows) -> values of shape (replicates,), NaN where undefined.
        weights: shape (..., n_rows), not negative; None takes each row once.
        n_rows: the number of rows; without any, all values are NaN.

    Returns:
        Values of shape (...), the weights' leading axes.
    """
    step = max(1, _BLOCK_NUMBERS // max(n_rows, 1))
    if isinstance(weights, SpeakerWeights):
        _check_rows(weights.shape, n_rows)
        found = np.full(len(weights.counts), np.nan)
        for start in range(0, found.size if n_rows else 0, step):
            drawn = weights.counts[start : start + step].astype(np.float64)
            found[start : start + step] = compute(np.take(drawn, weights.speaker, axis=1))
        return found
    given = as_weights(weights, n_rows)
    values = np.full(math.prod(given.shape[:-1]), np.nan)
    if n_rows:
        flat = given.reshape(values.size, n_rows)
        for start in range(0, values.size, step):
            values[start : start + step] = compute(flat[start : start + step].astype(np.float64))
    return values.reshape(given.shape[:-1])


def over_sums(compute: Callable[[Floats], Floats], columns: NDArray[Any], weights: ArrayLike | None) -> Floats:
    """Return what ``compute`` gives for the weighted sums of columns.

    Args:
        compute: sums of shape (replicates, columns) -> values of shape (replicates,), NaN where undefined.
        columns: what is summed, shape (rows, columns).
        weights: as for :func:`over_replicates`.
    """
    if isinstance(weights, SpeakerWeights) and len(columns):
        _check_rows(weights.shape, len(columns))
        return compute(weights.sum(columns))
    return over_replicates(lambda block: compute(block @ columns), weights, len(columns))


def over_pairs(
    compute: Callable[[list[Floats]], Floats],
    count_pairs: Callable[[slice], list[Floats]],
    weights: ArrayLike | None,
    n_rows: int,
) -> Floats:
    """Return what ``compute`` gives for weighted sums over all ordered pairs of rows.

    Args:
        compute: sums, one of shape (replicates,) for each way of counting -> values of shape (replicates,).
        count_pairs: some first rows -> what each way counts for them with every row, each of shape (first rows, rows).
        weights: as for :func:`over_replicates`; a pair weighs the product of its rows' weights.
        n_rows: the number of rows; without any, all values are NaN.
    """
    step = max(1, _BLOCK_NUMBERS // max(n_rows, 1))
    parts = [slice(start, start + step) for start in range(0, n_rows, step)]
    if isinstance(weights, SpeakerWeights) and n_rows:
        _check_rows(weights.shape, n_rows)
        counts = weights.counts.astype(np.float64)
        n_speakers = counts.shape[1]
        is_of = (weights.speaker[:, np.newaxis] == np.arange(n_speakers)).astype(np.float64)
        forms = np.sum([[is_of[part].T @ one @ is_of for one in count_pairs(part)] for part in parts], axis=0)
        return compute([np.einsum("rs,rs->r", counts @ form, counts) for form in forms])

    def sum_pairs(block: Floats) -> Floats:
        of_parts = [
            [np.einsum("rn,rn->r", block[:, part], block @ one.T) for one in count_pairs(part)] for part in parts
        ]
        return compute(list(np.sum(of_parts, axis=0)))

    return over_replicates(sum_pairs, weights, n_rows)


def _check_rows(shape: tuple[int, ...], n_rows: int) -> None:
    if shape[-1:] != (n_rows,):
        raise ValueError(f"weights must have shape (..., {n_rows}), one per row, got {shape}")


def as_weights(weights: ArrayLike | None, n_rows: int) -> NDArray[Any]:
    """Return the weights, 1 per row for None; a last axis not as long as the rows is a ``ValueError``."""
    given = np.ones(n_rows) if weights is None else np.asarray(weights)
    _check_rows(given.shape, n_rows)
    return given


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Divide, with NaN where the denominator is not above 0."""
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    quotient = np.full(shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


class Ties(NamedTuple):
    """Rows grouped by equal value, the groups in rising order.

    Args:
        order: the rows by rising value, shape (rows,).
        starts: where in ``order`` each group starts, shape (groups,).
        group: the group of each row, shape (rows,).
    """

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    group: NDArray[np.intp]

    def sum(self, block: Floats) -> Floats:
        """Sum each group's rows: shape (replicates, rows) -> (replicates, groups)."""
        ordered = np.take(block, self.order, axis=1)
        return ordered if self.starts.size == self.order.size else np.add.reduceat(ordered, self.starts, axis=1)


def find_ties(values: NDArray[np.generic]) -> Ties:
    """Group the rows by equal value.

    Example:
        >>> find_ties(np.array([2.0, 1.0, 2.0])).sum(np.array([[1.0, 10.0, 100.0]]))
        array([[ 10., 101.]])
    """
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return Ties(np.argsort(group, kind="stable"), np.cumsum(counts) - counts, group)


def as_flags(values: ArrayLike) -> Flags:
    """Return flags from True, False, 1 and 0; anything else, NaN too, is a ``ValueError``."""
    given = np.asarray(values)
    flags = given.astype(bool)
    if given.ndim != 1 or not (given == flags).all():
        raise ValueError("flags must be one list of True and False or 1 and 0; leave out the rows without a rating")
    return flags


def as_numbers(values: ArrayLike) -> Floats:
    """Return float64 numbers; NaN and infinity are a ``ValueError``."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise ValueError("ratings and scores must be one list of finite numbers; leave out the rows without a rating")
    return numbers


def same_size(first: NDArray[_First], second: NDArray[_Second]) -> tuple[NDArray[_First], NDArray[_Second]]:
    """Return both, or raise a ``ValueError`` if they are not equally long."""
    if first.size != second.size:
        raise ValueError(f"there must be one value per row on both sides, got {first.size} and {second.size}")
    return first, second
