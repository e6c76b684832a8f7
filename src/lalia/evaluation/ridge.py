"""Ridge regression for many targets and penalties from one singular value decomposition.

Notation: X has n rows and is centred, X = U S V'. A ridge regression with penalty a has fitted values H y with
H = 1/n + U S^2 / (S^2 + a) U'.

Decompositions and systems go through NumPy alone: SciPy brings threads of its own, and two sets of them wait for each
other on the same cores.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

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

    def kept(self, penalties: Floats) -> Floats:
        """Return the share of each direction that regressions keep, S^2 / (S^2 + a), shape (penalties, rank)."""
        return self.squares / (self.squares + penalties[:, np.newaxis])

    def hats(self, rows: NDArray[np.intp], penalties: Floats) -> Floats:
        """Return H on some rows for each penalty, shape (penalties, rows, rows)."""
        halves = self.left[rows] * np.sqrt(self.kept(penalties))[:, np.newaxis]
        # one after the other: NumPy halves the work of a matrix times its own transpose
        hats = np.stack([half @ half.T for half in halves])
        hats += 1 / len(self.left)
        return hats


def decompose(features: Floats) -> Ridge:
    """Return the decomposition of features, shape (rows, width), around their mean.

    It comes from the smaller of X'X and XX': its small singular values lose digits, which no penalty worth trying sees.
    """
    center = features.mean(axis=0)
    centred = features - center
    is_tall = centred.shape[0] >= centred.shape[1]
    squares, vectors = np.linalg.eigh(centred.T @ centred if is_tall else centred @ centred.T)
    is_kept = squares > _RANK_FLOOR * max(float(squares[-1]), np.finfo(np.float64).tiny)
    squares, vectors = squares[is_kept], vectors[:, is_kept]
    other = (centred if is_tall else centred.T) @ vectors / np.sqrt(squares)
    return Ridge(center, other, squares, vectors) if is_tall else Ridge(center, vectors, squares, other)
