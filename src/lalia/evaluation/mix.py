"""A weighted sum of depths learned together with its ridge regressions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax

from lalia.evaluation.ridge_fit import RidgeFit, fit_ridge

Floats = NDArray[np.float64]

_MOST_ROUNDS = 8
# a round that gains less is the last one
_LEAST_GAIN = 1e-3


def learn_mix(
    vectors: NDArray[np.float32], targets: Floats, folds: NDArray[np.integer], penalties: Sequence[float]
) -> tuple[Floats, RidgeFit]:
    """Return softmax weights over depths, the same for all targets as in a rater's mix, and the regressions on the sum.

    From equal weights on, two steps alternate: ridge regressions on the sum, with penalties chosen on inner folds; and
    weights that lessen the squared error on the left-out inner folds, each target in units of its variance, while the
    regressions stay. The round with the smallest error on the left-out folds is kept.

    Args:
        vectors: standardised per depth, shape (rows, depths, width).
        targets: NaN where missing, shape (rows, targets).
        folds: the inner fold of each row, from 0.
        penalties: as for ``fit_ridge``.

    Returns:
        The weights, shape (depths,), and the regressions on the sum.
    """
    weights = np.full(vectors.shape[1], 1 / vectors.shape[1])
    variances = np.array(
        [np.var(target[np.isfinite(target)]) if np.isfinite(target).any() else 0 for target in targets.T]
    )
    scales = np.where(variances > 0, variances, np.inf)
    kept: tuple[float, Floats, RidgeFit] | None = None
    for _ in range(_MOST_ROUNDS):
        mixed = mix_depths(vectors, weights)
        fit = fit_ridge(mixed, targets, folds, penalties)
        is_fitted = np.isfinite(fit.losses)
        loss = float((fit.losses / scales)[is_fitted].mean()) if is_fitted.any() else 0.0
        if kept is not None and loss > kept[0] * (1 - _LEAST_GAIN):
            return (weights, fit) if loss < kept[0] else kept[1:]
        kept = (loss, weights, fit)
        weights = _improve(weights, *_moments(vectors, targets, folds, fit, scales))
    return kept[1:] if kept is not None else (weights, fit)


def mix_depths(vectors: NDArray[np.float32], weights: Floats) -> Floats:
    """Return the weighted sum of the depths: shape (rows, depths, width) -> (rows, width)."""
    mixed: Floats = np.einsum("rdw,d->rw", vectors, weights.astype(np.float32)).astype(np.float64)
    return mixed


def _moments(
    vectors: NDArray[np.float32], targets: Floats, folds: NDArray[np.integer], fit: RidgeFit, scales: Floats
) -> tuple[Floats, Floats]:
    """Return A and b of the error ``w'Aw - 2b'w`` on left-out rows, for weights w of the depths."""
    n_depths = vectors.shape[1]
    square, product = np.zeros((n_depths, n_depths)), np.zeros(n_depths)
    for fold in range(len(fit.inner_weights)):
        rows = folds == fold
        wanted = targets[rows] - fit.inner_intercepts[fold]
        is_given = np.isfinite(wanted)
        share = is_given / np.maximum(np.isfinite(targets).sum(axis=0), 1) / scales
        weights = np.nan_to_num(fit.inner_weights[fold]).astype(np.float32)
        # what each depth alone would add to the prediction, shape (rows, depths, targets)
        parts = (vectors[rows] @ weights).astype(np.float64)
        square += np.einsum("rdt,ret,rt->de", parts, parts, share, optimize=True)
        product += np.einsum("rdt,rt->d", parts, share * np.where(is_given, wanted, 0.0))
    return square, product


def _improve(weights: Floats, square: Floats, product: Floats) -> Floats:
    def error(logits: Floats) -> tuple[float, Floats]:
        mix = softmax(logits)
        gradient = 2 * (square @ mix - product)
        return float(mix @ square @ mix - 2 * product @ mix), mix * (gradient - mix @ gradient)

    found = minimize(error, np.log(np.maximum(weights, 1e-6)), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    improved: Floats = softmax(found.x)
    return improved
