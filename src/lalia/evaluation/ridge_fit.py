"""Ridge regressions for many targets at once, their penalties chosen on inner folds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lalia.evaluation.left_out import Flags, fill_left_out
from lalia.evaluation.ridge import Floats, decompose

# a hat matrix of all rows takes 200 MB
_MOST_SHARED_ROWS = 5000
_NARROW = 20


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """Ridge regressions whose penalties were chosen on inner folds.

    Attributes:
        weights: shape (width, targets).
        intercepts: shape (targets,).
        held_out: for each row what the regression without its inner fold predicts, NaN where there is no target, shape
            (rows, targets).
        penalties: the chosen ones, shape (targets,).
        losses: mean squared error of ``held_out``, shape (targets,).
        inner_weights: of the regression without each inner fold, shape (folds, width, targets).
        inner_intercepts: shape (folds, targets).
    """

    weights: Floats
    intercepts: Floats
    held_out: Floats
    penalties: Floats
    losses: Floats
    inner_weights: Floats
    inner_intercepts: Floats

    def predict(self, features: Floats) -> Floats:
        """Return predictions for features, shape (rows, targets)."""
        return features @ self.weights + self.intercepts


def fit_ridge(features: Floats, targets: Floats, folds: NDArray[np.integer], penalties: Sequence[float]) -> RidgeFit:
    """Fit each target on the rows that have it, with the penalty of the smallest error on left-out inner folds.

    Targets that are missing in up to half of the rows share the decomposition of all rows. The others get their own,
    one for all targets that are missing in the same rows; so does each such group where the rows are very many, or many
    times the columns.

    Args:
        features: shape (rows, width).
        targets: NaN where missing, shape (rows, targets). A target without two rows outside each fold gets NaN
            throughout.
        folds: the inner fold of each row, from 0; whole speakers.
        penalties: to choose from, above 0, as scikit-learn's alpha.
    """
    n_folds, width = int(folds.max()) + 1, features.shape[1]
    shape = (targets.shape[1],)
    fit = RidgeFit(
        weights=np.full((width, *shape), np.nan),
        intercepts=np.full(shape, np.nan),
        held_out=np.full(targets.shape, np.nan),
        penalties=np.full(shape, np.nan),
        losses=np.full(shape, np.nan),
        inner_weights=np.full((n_folds, width, *shape), np.nan),
        inner_intercepts=np.full((n_folds, *shape), np.nan),
    )
    is_given = ~np.isnan(targets)
    outside = np.stack([is_given[folds != fold].sum(axis=0) for fold in range(n_folds)])
    is_fitted = (outside >= 2).all(axis=0)
    # a decomposition of few columns costs less than systems of rows
    shares = len(targets) <= _MOST_SHARED_ROWS and len(targets) < _NARROW * width
    is_shared = is_fitted & ((is_given.mean(axis=0) >= 0.5) if shares else is_given.all(axis=0))
    everyone = np.ones(len(targets), dtype=bool)
    groups = [(everyone, np.flatnonzero(is_shared))] if is_shared.any() else []
    apart = np.flatnonzero(is_fitted & ~is_shared)
    if len(apart):
        patterns, pattern_of = np.unique(is_given[:, apart], axis=1, return_inverse=True)
        groups += [(pattern, apart[pattern_of.ravel() == number]) for number, pattern in enumerate(patterns.T)]
    for rows, members in groups:
        _fit_group(fit, features, targets, folds, np.asarray(penalties, dtype=np.float64), rows, members)
    return fit


def _fit_group(
    fit: RidgeFit,
    features: Floats,
    targets: Floats,
    folds: NDArray[np.integer],
    penalties: Floats,
    rows: Flags,
    members: NDArray[np.intp],
) -> None:
    """Fill some columns of a fit from one decomposition of some of the rows."""
    ridge, own, inner = decompose(features[rows]), targets[np.ix_(rows, members)], folds[rows]
    filled = fill_left_out(ridge, own, inner, penalties)
    held_out = filled[:, inner, np.arange(len(inner))]  # (penalties, rows, targets)
    is_given = ~np.isnan(own)
    errors = np.square(held_out - np.where(is_given, own, held_out)).sum(axis=1) / is_given.sum(axis=0)
    best = errors.argmin(axis=0)
    columns = np.arange(len(members))
    fit.penalties[members], fit.losses[members] = penalties[best], errors[best, columns]
    fit.held_out[np.ix_(rows, members)] = np.where(is_given, held_out[best, :, columns].T, np.nan)
    # the chosen penalty of each target, shape (targets, folds + 1, rows)
    chosen = filled[best, :, :, columns]
    fit.weights[:, members], fit.intercepts[members] = ridge.fit(chosen[:, -1].T, penalties[best])
    for fold in range(len(fit.inner_weights)):
        found = ridge.fit(chosen[:, fold].T, penalties[best])
        fit.inner_weights[fold][:, members], fit.inner_intercepts[fold][members] = found
