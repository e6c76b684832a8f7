"""From a linear score to the probability of reaching each level, fitted for many traits at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Floats = NDArray[np.float64]

_STEPS = 30
_LARGEST_STEP = 3.0
# a slope below this would reverse the order of the scores, or leave none
_SMALLEST_SLOPE = 1e-3


@dataclass(frozen=True, eq=False)
class OrdinalLink:
    """``P(level >= k) = expit(slope * (score - center) / spread - threshold_k)`` for several traits.

    Args:
        center: shape (traits,).
        spread: shape (traits,).
        slope: above 0, shape (traits,).
        thresholds: rising, shape (traits, boundaries).
    """

    center: Floats
    spread: Floats
    slope: Floats
    thresholds: Floats

    def reach(self, scores: Floats) -> Floats:
        """Return the probability of reaching each boundary, never rising, shape (rows, traits, boundaries)."""
        place = (scores - self.center) / self.spread * self.slope
        reached: Floats = expit(place[..., np.newaxis] - self.thresholds)
        return np.minimum.accumulate(reached, axis=-1)


def fit_link(scores: Floats, level_index: NDArray[np.integer], boundaries: NDArray[np.integer]) -> OrdinalLink:
    """Fit one slope and a threshold per boundary for each trait.

    The loss is the cross-entropy of all boundaries (all-threshold loss, Rennie and Srebro 2005, "Loss functions for
    preference levels"), minimised by Newton's method. The shares of each boundary are smoothed by one recording on
    either side (Platt 1999, "Probabilistic outputs for support vector machines", section 2.2), so that a boundary that
    nobody reaches, or that the scores separate, gets a finite threshold. A slope that is not positive becomes nearly 0:
    scores that say nothing keep their order and give everybody the same probability.

    Args:
        scores: best on recordings that the scores were not learned from, shape (rows, traits).
        level_index: the position of each rating's level, -1 where missing, shape (rows, traits).
        boundaries: the positions that are to be reached, rising, shape (boundaries,).

    Example:
        >>> link = fit_link(np.arange(6.0)[:, None], np.array([[0, 1, 0, 1, 2, 2]]).T, np.array([1, 2]))
        >>> link.reach(np.array([[0.0], [5.0]])).round(1).tolist()
        [[[0.3, 0.1]], [[0.9, 0.7]]]
    """
    is_rated = (level_index >= 0) & np.isfinite(scores)
    weight = is_rated[..., np.newaxis].astype(np.float64)
    reaches = (level_index[..., np.newaxis] >= boundaries) * weight
    center, spread = _measure(scores, is_rated)
    place = np.where(is_rated, (scores - center) / spread, 0.0)[..., np.newaxis]

    above, total = reaches.sum(axis=0), weight.sum(axis=0)
    high, low = (above + 1) / (above + 2), 1 / (total - above + 2)
    wanted = np.where(reaches > 0, high, low)
    slope = np.zeros(scores.shape[1])
    start = -logit((wanted * weight).sum(axis=0) / np.maximum(total, 1)) if len(scores) else np.zeros_like(above)
    start = np.where(total > 0, start, 0.0)
    thresholds = start
    for _ in range(_STEPS):
        reached = expit(place * slope[:, np.newaxis] - thresholds)
        error = (reached - wanted) * weight
        curve = reached * (1 - reached) * weight
        # the Hessian is an arrow: thresholds meet only the slope
        at_threshold = curve.sum(axis=0) + 1e-9
        crossed = -(curve * place).sum(axis=0)
        gradient_slope = (error * place).sum(axis=(0, 2))
        gradient_threshold = -error.sum(axis=0)
        at_slope = (curve * place**2).sum(axis=(0, 2)) + 1e-9
        corner = at_slope - (crossed**2 / at_threshold).sum(axis=1)
        step = (gradient_slope - (crossed * gradient_threshold / at_threshold).sum(axis=1)) / np.maximum(corner, 1e-9)
        step = np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
        move = (gradient_threshold - crossed * step[:, np.newaxis]) / at_threshold
        move = np.clip(move, -_LARGEST_STEP, _LARGEST_STEP)
        slope, thresholds = slope - step, thresholds - move
        if max(np.abs(step).max(initial=0.0), np.abs(move).max(initial=0.0)) < 1e-6:
            break
    is_flat = slope < _SMALLEST_SLOPE
    slope = np.where(is_flat, _SMALLEST_SLOPE, slope)
    thresholds = np.where(is_flat[:, np.newaxis], start, thresholds)
    return OrdinalLink(center, spread, slope, thresholds)


def _measure(scores: Floats, is_rated: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of the rated scores, 0 and 1 where there are none or all are equal."""
    count = np.maximum(is_rated.sum(axis=0), 1)
    center = np.where(is_rated, scores, 0.0).sum(axis=0) / count
    spread = np.sqrt(np.square(np.where(is_rated, scores - center, 0.0)).sum(axis=0) / count)
    return center, np.where(spread > 0, spread, 1.0)
