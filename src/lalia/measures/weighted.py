"""Sums over rows under replicate weights: how often each row was drawn, for many bootstrap replicates in one call."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_First = TypeVar("_First", bound=np.generic)
_Second = TypeVar("_Second", bound=np.generic)

# 4 MB of float64: a block and the few arrays made from it stay in the processor's cache
_BLOCK_NUMBERS = 1 << 19


def over_replicates(compute: Callable[[Floats], Floats], weights: ArrayLike | None, n_rows: int) -> Floats:
    """Return what ``compute`` gives for each replicate, block by block, so that memory stays bounded.

    Args:
        compute: weights of shape (replicates, n_rows) -> values of shape (replicates,), NaN where undefined.
        weights: shape (..., n_rows), not negative; None takes each row once.
        n_rows: the number of rows; without any, all values are NaN.

    Returns:
        Values of shape (...), the weights' leading axes.
    """
    given = as_weights(weights, n_rows)
    values = np.full(math.prod(given.shape[:-1]), np.nan)
    if n_rows:
        flat = given.reshape(values.size, n_rows)
        step = max(1, _BLOCK_NUMBERS // n_rows)
        for start in range(0, values.size, step):
            values[start : start + step] = compute(flat[start : start + step].astype(np.float64))
    return values.reshape(given.shape[:-1])


def as_weights(weights: ArrayLike | None, n_rows: int) -> NDArray[Any]:
    """Return the weights, 1 per row for None; a last axis not as long as the rows is a ``ValueError``."""
    given = np.ones(n_rows) if weights is None else np.asarray(weights)
    if given.shape[-1:] != (n_rows,):
        raise ValueError(f"weights must have shape (..., {n_rows}), one per row, got {given.shape}")
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
