"""What ridge regressions predict for rows that they do not see: folds and missing ratings, from one decomposition.

H is the hat matrix of a regression on all rows. One that does not see some rows fits there what one that sees them
would fit if these rows already had the values that it gives them (Yates 1933, "The analysis of replicated experiments
when the field results are incomplete"). So the predictions on left-out rows m from the others o solve
(I - H_mm) y_m = H_mo y_o.

The rows of a fold F are left out of every target, so they are dealt with once: without them the hat matrix is
G = H + H_F' K with K = (I - H_FF)^-1 H_F (the same equation, put into the fitted values of the others). A target with
missing ratings m outside F then costs a system (I - G_mm) of its few missing rows, exact as the first one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lalia.evaluation.ridge import Floats, Ridge

Flags = NDArray[np.bool_]
Rows = NDArray[np.intp]

# 8 MB of float64, as many penalties at once as make arrays of this size: larger ones leave the processor's cache
_CHUNK_NUMBERS = 1 << 20


def fill_left_out(ridge: Ridge, targets: Floats, folds: NDArray[np.integer], penalties: Floats) -> Floats:
    """Return targets whose left-out and missing rows hold the predictions of regressions that do not see them.

    A regression on all rows of such a target is the one on the seen rows alone.

    Args:
        ridge: of all rows.
        targets: NaN where missing, shape (rows, targets).
        folds: the fold of each row, from 0.
        penalties: shape (penalties,).

    Returns:
        Shape (penalties, folds + 1, rows, targets): the regressions without each fold, and at the end the ones that see
        all folds.
    """
    n_folds = int(folds.max()) + 1
    left_out = [np.flatnonzero(folds == fold) for fold in range(n_folds)]
    filled = np.empty((len(penalties), n_folds + 1, *targets.shape))
    is_given = ~np.isnan(targets)
    filled[:] = np.where(is_given, targets, 0.0)
    if is_given.all():
        _fill_folds(ridge, left_out, penalties, filled)
    else:
        _fill_all(ridge, is_given, left_out, penalties, filled)
    return filled


def _fill_folds(ridge: Ridge, left_out: list[Rows], penalties: Floats, filled: Floats) -> None:
    """Fill the folds of targets that are given in all rows."""
    targets = filled[0, -1]
    explained, total = ridge.left.T @ targets, targets.sum(axis=0)
    for fold, rows in enumerate(left_out):
        left, own = ridge.left[rows], targets[rows]
        # U'y and the mean without the fold, which counts as 0 there
        rest, mean = explained - left.T @ own, (total - own.sum(axis=0)) / len(targets)
        fitted = left @ (ridge.kept(penalties)[..., np.newaxis] * rest) + mean
        if left.shape[1] + 1 < len(rows):
            filled[:, fold, rows] = _solve_narrow(ridge, rows, penalties, fitted)
            continue
        for some in _chunks(len(penalties), len(rows) * len(rows)):
            hats = ridge.hats(rows, penalties[some])
            filled[some, fold, rows] = np.linalg.solve(np.eye(len(rows)) - hats, fitted[some])


def _solve_narrow(ridge: Ridge, rows: Rows, penalties: Floats, fitted: Floats) -> Floats:
    """Solve (I - H_FF) y = f where the fold has more rows than directions.

    H_FF is B B' with one column for the mean and one for each direction, so that the inverse is I + B (I - B'B)^-1 B'
    (Woodbury's identity), whose system is as large as the directions are many.
    """
    directions = np.column_stack([np.full(len(rows), 1 / np.sqrt(len(ridge.left))), ridge.left[rows]])
    # B is the directions times these, shape (penalties, directions, 1)
    scale = np.sqrt(np.pad(ridge.kept(penalties), ((0, 0), (1, 0)), constant_values=1.0))[..., np.newaxis]
    products = directions.T @ directions
    across = scale * (directions.T @ fitted)
    solved = np.empty_like(fitted)
    for some in _chunks(len(penalties), products.size):
        inner = np.eye(len(products)) - scale[some] * products * scale[some].swapaxes(1, 2)
        solved[some] = fitted[some] + directions @ (scale[some] * np.linalg.solve(inner, across[some]))
    return solved


def _fill_all(ridge: Ridge, is_given: Flags, left_out: list[Rows], penalties: Floats, filled: Floats) -> None:
    """Fill the folds and the missing rows of targets, each of which has its own."""
    n_rows = len(is_given)
    given = filled[0, -1].copy()
    patterns, pattern_of = np.unique(~is_given, axis=1, return_inverse=True)
    members = [np.flatnonzero(pattern_of.ravel() == number) for number in range(patterns.shape[1])]
    left_out = [*left_out, np.empty(0, dtype=np.intp)]
    missing = [list(_group(patterns, members, rows)) for rows in left_out]
    for some in _chunks(len(penalties), n_rows * n_rows):
        hats = ridge.hats(np.arange(n_rows), penalties[some])
        fitted = hats @ given
        for fold, rows in enumerate(left_out):
            columns = hats[:, rows]
            own = columns[:, :, rows]
            solved = np.linalg.solve(np.eye(len(rows)) - own, columns) if len(rows) else columns
            solved[:, :, rows] = 0.0
            across, back = (np.ascontiguousarray(block.swapaxes(1, 2)) for block in (columns, solved))
            values = filled[some, fold]
            values[:, rows] = 0.0
            # what the regressions without the fold give, where nothing else is missing
            expected = fitted + across @ (solved @ given - given[rows])
            for group in missing[fold]:
                one, other = group.rows[:, :, np.newaxis], group.rows[:, np.newaxis]
                block = hats[:, one, other]
                if len(rows):
                    block += across[:, group.rows] @ back[:, group.rows].swapaxes(2, 3)
                both = group.is_real[:, :, np.newaxis] & group.is_real[:, np.newaxis]
                system = np.eye(group.rows.shape[1]) - np.where(both, block, 0.0)
                found = np.linalg.solve(system, expected[:, one, group.targets[:, np.newaxis]])
                is_real = np.broadcast_to(group.is_real[:, :, np.newaxis], found.shape[1:])
                pattern, row, target = np.nonzero(is_real)
                values[:, group.rows[pattern, row], group.targets[pattern, target]] = found[:, is_real]
            values[:, rows] = solved @ values


@dataclass(frozen=True, eq=False)
class _Missing:
    """Targets that lack about as many rows, so that their systems are solved together.

    Targets that lack the same rows are one pattern. Shorter lists are padded with a row and a target that they have.

    Args:
        rows: shape (patterns, most rows).
        is_real: False on padding, likewise.
        targets: shape (patterns, most targets).
    """

    rows: Rows
    is_real: Flags
    targets: Rows


def _group(patterns: Flags, members: list[Rows], left_out: Rows) -> Iterator[_Missing]:
    """Group patterns of missing rows, apart from rows that are left out anyway.

    Args:
        patterns: which rows are missing, shape (rows, patterns).
        members: the targets of each pattern.
        left_out: numbers of rows.
    """
    is_missing = patterns.copy()
    is_missing[left_out] = False
    counts = is_missing.sum(axis=0)
    order = [number for number in np.argsort(-counts, kind="stable") if counts[number]]
    while order:
        # the cost of a system goes with the cube of its rows: much smaller ones are better apart
        group = [number for number in order if counts[number] > 0.7 * counts[order[0]]]
        order = order[len(group) :]
        rows = [np.flatnonzero(is_missing[:, number]) for number in group]
        real = [np.ones(len(one), dtype=np.intp) for one in rows]
        yield _Missing(_pad(rows), _pad(real, 0) > 0, _pad([members[number] for number in group]))


def _pad(lists: list[Rows], padding: int | None = None) -> Rows:
    """Put lists of numbers under each other; None pads each with its first number."""
    padded = np.empty((len(lists), max(map(len, lists))), dtype=np.intp)
    for row, numbers in zip(padded, lists, strict=True):
        row[:] = numbers[0] if padding is None else padding
        row[: len(numbers)] = numbers
    return padded


def _chunks(count: int, size: int) -> Iterator[slice]:
    """Cut a number of arrays of a size into slices of a moderate size."""
    step = max(1, _CHUNK_NUMBERS // max(1, size))
    return (slice(start, start + step) for start in range(0, count, step))
