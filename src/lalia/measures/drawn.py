"""The metrics of many scorings of the same rows under drawn speakers: the same numbers as one at a time, sooner.

A scoring is what one model (such as a probe of one depth) gave to each row. All rows of a speaker are drawn equally
often, so a sum over pairs of rows, such as how often a present one scores above an absent one, is a quadratic form w'Qw
in the draws w of the speakers, and all replicates are one product of matrices. Ranks are halves of whole numbers: every
sum is exact, in whichever order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalia.measures.agreement import spearman
from lalia.measures.discrimination import auc
from lalia.measures.weighted import Flags, Floats, SpeakerWeights, divide, find_ties


@dataclass(frozen=True, eq=False)
class Draws:
    """How often each speaker was drawn.

    Args:
        counts: a replicate per row, the first of which takes each speaker once, shape (1 + replicates, speakers).
        speaker: the speaker of each row of the data, as a column of ``counts``, shape (rows,).

    Example:
        >>> draws = Draws.of(np.array([[2.0, 2.0, 0.0]]), ["a", "a", "b"])
        >>> auc_of_each(np.array([True, False, True]), np.array([[3.0, 2.0, 1.0]]), draws)
        array([[0.5, 1. ]])
    """

    counts: Floats
    speaker: NDArray[np.intp]

    @classmethod
    def of(cls, weights: NDArray[np.floating[Any]], speakers: NDArray[np.str_] | list[str]) -> "Draws":
        """Take the draws from weights of rows, shape (replicates, rows), as ``speaker_weights`` gives them."""
        _, first, speaker = np.unique(np.asarray(speakers, dtype=str), return_index=True, return_inverse=True)
        return cls(np.concatenate([np.ones((1, len(first))), weights[:, first]]), speaker.ravel())

    @property
    def weights(self) -> SpeakerWeights:
        """The draws as weights of the rows."""
        return SpeakerWeights(self.counts, self.speaker)

    @property
    def row_weights(self) -> Floats:
        """How often each row was drawn, shape (1 + replicates, rows)."""
        return np.asarray(self.weights)

    def sum(self, columns: NDArray[Any]) -> Floats:
        """Sum columns over the drawn rows: shape (rows, columns) -> (1 + replicates, columns)."""
        return self.weights.sum(columns)

    def is_worth_pairing(self, groups: int) -> bool:
        """Say whether quadratic forms, one for each group of rows, cost less than sorting."""
        return self.weights.is_worth_pairing(groups)


def auc_of_each(is_present: Flags, scores: Floats, draws: Draws) -> Floats:
    """Return the AUC of each scoring: scores of shape (scorings, rows) -> (scorings, 1 + replicates)."""
    if not draws.is_worth_pairing(1):
        return _one_by_one(auc, is_present, scores, draws)
    positive, negative = draws.sum(np.stack([is_present, ~is_present], axis=1)).T
    # the ranks of the present rows, less those among themselves (Mann and Whitney 1947)
    above = _sum_ranks(scores, [is_present], draws)[0] - positive * positive / 2
    return divide(above, np.broadcast_to(positive * negative, above.shape))


def spearman_of_each(ratings: Floats, scores: Floats, draws: Draws) -> Floats:
    """Return the rank correlation of each scoring with the ratings: (scorings, rows) -> (scorings, 1 + replicates)."""
    values = np.unique(ratings)
    if not draws.is_worth_pairing(len(values)):
        return _one_by_one(spearman, ratings, scores, draws)
    at_value = [ratings == value for value in values]
    weights = draws.sum(np.stack(at_value, axis=1))  # (replicates, values)
    total = weights.sum(axis=1)
    ranks = np.cumsum(weights, axis=1) - weights / 2 - total[:, np.newaxis] / 2
    cubes = np.power(draws.counts, 3)
    most = total * total * total
    x_square = (most - (weights * weights * weights).sum(axis=1)) / 12
    y_square = np.tile((most - cubes @ np.bincount(draws.speaker, minlength=cubes.shape[1])) / 12, (len(scores), 1))
    for one, square in zip(scores, y_square, strict=True):
        if np.unique(one).size < one.size:
            tied = find_ties(one).sum(draws.row_weights)
            square[:] = (most - (tied * tied * tied).sum(axis=1)) / 12
    product = np.zeros_like(y_square)
    for place, sums in enumerate(_sum_ranks(scores, at_value, draws)):
        product += ranks[:, place] * (sums - weights[:, place] * total / 2)
    spread = np.where(total >= 3, np.sqrt(x_square * y_square), 0)
    return np.clip(divide(product, spread), -1, 1)


def balanced_accuracy_of_each(is_present: Flags, is_called: Flags, draws: Draws) -> Floats:
    """Return the balanced accuracy of each scoring: calls (scorings, rows) -> (scorings, 1 + replicates)."""
    positive, negative = draws.sum(np.stack([is_present, ~is_present], axis=1)).T
    hits, rejections = draws.sum((is_called & is_present).T).T, draws.sum((~is_called & ~is_present).T).T
    shares = [
        divide(right, np.broadcast_to(among, right.shape))
        for right, among in ((hits, positive), (rejections, negative))
    ]
    return (shares[0] + shares[1]) / 2


def qwk_of_each(level_index: NDArray[np.integer], predicted_index: NDArray[np.integer], draws: Draws) -> Floats:
    """Return the quadratic kappa of each scoring: levels (scorings, rows) -> (scorings, 1 + replicates)."""
    total, i_sum, ii = draws.sum(np.stack([np.ones_like(level_index), level_index, level_index**2], axis=1)).T
    j_sum, jj, disagreement = (
        draws.sum(columns.T).T
        for columns in (predicted_index, predicted_index**2, (level_index - predicted_index) ** 2)
    )
    expected = total * (ii + jj) - 2 * i_sum * j_sum
    # in whole numbers, so that a level that all share is found exactly
    varies = total * ii - i_sum**2 > 0
    return 1 - divide(total * disagreement, np.where(varies, expected, 0))


def _one_by_one(metric: Callable[..., Floats], known: NDArray[Any], scores: Floats, draws: Draws) -> Floats:
    weights = draws.row_weights
    return np.stack([metric(known, one, weights) for one in scores])


def _sum_ranks(scores: Floats, groups: list[Flags], draws: Draws) -> list[Floats]:
    """Return the sum of the ranks of each group's rows, from 1/2 on, each of shape (scorings, 1 + replicates)."""
    each = [draws.weights.sum_ranks(one, groups) for one in scores]
    return [np.stack(of_group) for of_group in zip(*each, strict=True)]
