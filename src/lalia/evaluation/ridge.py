"""Ridge regression for many targets, penalties and left-out rows from one singular value decomposition.

Notation: X has n rows and is centred, X = U S V'. A ridge regression with penalty a has fitted values H y with
H = 1/n + U S^2 / (S^2 + a) U'. A regression that does not see some rows fits there what one that sees them would fit if
these rows already had the values that it gives them (Yates 1933, "The analysis of replicated experiments when the field
results are incomplete"). So the predictions on left-out rows m from the others o solve (I - H_mm) y_m = H_mo y_o: each
inner fold and each missing rating costs a small system, not a decomposition.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, eigh

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# squared singular values below this share of the largest are rounding error
_RANK_FLOOR = 1e-12


@dataclass(frozen=True, eq=False)
class Ridge:
    """Features in their singular value decomposition, ready for any target and penalty.

    Args:
        center: the mean of each feature, shape (width,).
        left: U, shape (rows, rank).
        squares: the squared singular values, shape (rank,).
        right: V, shape (width, rank).

    Example:
        >>> ridge = decompose(np.array([[0.0], [1.0], [2.0]]))
        >>> weights, intercept = ridge.fit(np.array([[0.0], [1.0], [2.0]]), np.array([2.0]))
        >>> weights.round(3).tolist(), intercept.round(3).tolist()
        ([[0.5]], [0.5])
    """

    center: Floats
    left: Floats
    squares: Floats
    right: Floats

    def fit(self, targets: Floats, penalties: Floats) -> tuple[Floats, Floats]:
        """Return weights and intercepts; equal to ``sklearn.linear_model.Ridge`` with ``alpha=penalty``.

        Args:
            targets: without NaN, shape (rows, targets).
            penalties: one per target, above 0, shape (targets,).

        Returns:
            Weights, shape (width, targets), and intercepts, shape (targets,).
        """
        mean = targets.mean(axis=0)
        singular = np.sqrt(self.squares)[:, np.newaxis]
        shrunk = singular / (self.squares[:, np.newaxis] + penalties) * (self.left.T @ (targets - mean))
        weights = self.right @ shrunk
        return weights, mean - self.center @ weights

    def hat(self, rows: NDArray[np.intp], penalty: float) -> Floats:
        """Return H on some rows, shape (rows, rows)."""
        left = self.left[rows]
        return (left * (self.squares / (self.squares + penalty))) @ left.T + 1 / len(self.left)

    def predict_left_out(self, targets: Floats, left_out: NDArray[np.intp], penalty: float, hat: Floats) -> Floats:
        """Return what regressions on the other rows predict for the left-out ones.

        Args:
            targets: shape (rows, targets); what stands in the left-out rows does not matter, not even NaN.
            left_out: their numbers.
            penalty: of the regressions.
            hat: ``hat(left_out, penalty)``.

        Returns:
            Predictions, shape (left-out rows, targets).
        """
        seen = targets.copy()
        seen[left_out] = 0.0
        kept = self.squares / (self.squares + penalty)
        fitted = self.left[left_out] @ (kept[:, np.newaxis] * (self.left.T @ seen)) + seen.mean(axis=0)
        factor = cho_factor(np.eye(len(left_out)) - hat, overwrite_a=True, check_finite=False)
        predicted: Floats = cho_solve(factor, fitted, check_finite=False)
        return predicted


def decompose(features: Floats) -> Ridge:
    """Return the decomposition of features, shape (rows, width), around their mean.

    It comes from the smaller of X'X and XX': its small singular values lose digits, which no penalty worth trying sees.
    """
    center = features.mean(axis=0)
    centred = features - center
    is_tall = centred.shape[0] >= centred.shape[1]
    squares, vectors = eigh(centred.T @ centred if is_tall else centred @ centred.T, driver="evd", check_finite=False)
    is_kept = squares > _RANK_FLOOR * max(float(squares[-1]), np.finfo(np.float64).tiny)
    squares, vectors = squares[is_kept], vectors[:, is_kept]
    other = (centred if is_tall else centred.T) @ vectors / np.sqrt(squares)
    return Ridge(center, other, squares, vectors) if is_tall else Ridge(center, vectors, squares, other)


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

    Targets that are missing in the same rows are fitted together. Those missing in up to a quarter of the rows share
    the decomposition of all rows, the others get their own.

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
    patterns, pattern_of = np.unique(is_given, axis=1, return_inverse=True)
    shared: list[tuple[Flags, NDArray[np.intp]]] = []
    for number, rated in enumerate(patterns.T):
        members = np.flatnonzero(pattern_of.ravel() == number)
        if min((rated & (folds != fold)).sum() for fold in range(n_folds)) < 2:
            continue
        if rated.mean() >= 0.75:
            shared.append((rated, members))
        else:
            ridge = decompose(features[rated])
            _fit_patterns(ridge, targets[rated], folds[rated], penalties, [(rated[rated], members)], fit, rated)
    if shared:
        _fit_patterns(decompose(features), targets, folds, penalties, shared, fit, np.ones(len(targets), dtype=bool))
    return fit


def _fit_patterns(
    ridge: Ridge,
    targets: Floats,
    folds: NDArray[np.integer],
    penalties: Sequence[float],
    patterns: Sequence[tuple[Flags, NDArray[np.intp]]],
    fit: RidgeFit,
    rows: Flags,
) -> None:
    """Fill the columns of a fit for patterns of given targets that share a decomposition.

    Args:
        ridge: of the rows that take part.
        targets: of these rows.
        folds: of these rows.
        penalties: to choose from.
        patterns: which rows have the targets, and their columns.
        fit: what is filled.
        rows: which of the fit's rows take part.
    """
    n_folds = fit.inner_weights.shape[0]
    whole = len(patterns) > 1
    # for each pattern what each inner regression gives in its left-out rows, for all penalties
    filled = [np.tile(np.nan_to_num(targets[:, members]), (len(penalties), n_folds, 1, 1)) for _, members in patterns]
    final = [np.tile(np.nan_to_num(targets[:, members]), (len(penalties), 1, 1)) for _, members in patterns]
    everyone = np.arange(len(targets))
    for place, penalty in enumerate(penalties):
        # with many patterns one product serves all their blocks
        hat = ridge.hat(everyone, penalty) if whole else None
        for (rated, members), inner, outer in zip(patterns, filled, final, strict=True):
            for fold in (*range(n_folds), None):
                left_out = np.flatnonzero(~rated if fold is None else ~rated | (folds == fold))
                if not len(left_out):
                    continue
                block = ridge.hat(left_out, penalty) if hat is None else hat[np.ix_(left_out, left_out)]
                predicted = ridge.predict_left_out(targets[:, members], left_out, penalty, block)
                (outer[place] if fold is None else inner[place, fold])[left_out] = predicted
    for (rated, members), inner, outer in zip(patterns, filled, final, strict=True):
        held_out = inner[:, folds, everyone]  # (penalties, rows, targets)
        errors = np.square(held_out - targets[:, members])[:, rated].mean(axis=1)
        best = errors.argmin(axis=0)
        columns = np.arange(len(members))
        chosen = np.asarray(penalties, dtype=np.float64)[best]
        fit.penalties[members], fit.losses[members] = chosen, errors[best, columns]
        # advanced indices with a slice between them would come first: one column at a time keeps the order plain
        for column, member in enumerate(members):
            values = held_out[best[column], :, column]
            fit.held_out[rows, member] = np.where(rated, values, np.nan)
        own = np.stack([outer[best[column], :, column] for column in columns], axis=1)
        fit.weights[:, members], fit.intercepts[members] = ridge.fit(own, chosen)
        for fold in range(n_folds):
            own = np.stack([inner[best[column], fold, :, column] for column in columns], axis=1)
            fit.inner_weights[fold][:, members], fit.inner_intercepts[fold][members] = ridge.fit(own, chosen)
