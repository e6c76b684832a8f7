"""What a metric would be if ratings had nothing to do with scores: ratings dealt out anew to whole speakers.

Everywhere there is one row per speaker: recordings of one speaker belong together and cannot be dealt out one by one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from lalia.measures.weighted import Floats, as_flags, as_numbers, same_size


@dataclass(frozen=True)
class Chance:
    """A metric beside what chance gives it.

    Args:
        value: of the metric.
        permuted: its value for each way in which ratings were dealt out.
        n: the number of speakers.
    """

    value: float
    permuted: Floats
    n: int

    @property
    def p(self) -> float:
        """The share of dealings with a value as high, the one that was observed counted (Phipson and Smyth 2010)."""
        # a hair of room for rounding
        return float((1 + (self.permuted >= self.value - 1e-9).sum()) / (1 + len(self.permuted)))

    def to_json(self) -> dict[str, Any]:
        """Return the value, between which values 95 % of the dealings lie, and p."""
        low, high = np.quantile(self.permuted, [0.025, 0.975])
        return {"value": self.value, "low": float(low), "high": float(high), "p": self.p, "n": self.n}


def auc_by_chance(is_present: ArrayLike, probability: ArrayLike, *, permutations: int, seed: int) -> Chance | None:
    """Return the AUC beside that of permuted presence; None with one class.

    Args:
        is_present: of each speaker.
        probability: likewise.
        permutations: how often presence is dealt out.
        seed: of the dealings.
    """
    present, given = same_size(as_flags(is_present), as_numbers(probability))
    n_present = int(present.sum())
    if n_present in (0, present.size):
        return None
    ranks = rankdata(given)
    lowest, pairs = n_present * (n_present + 1) / 2, n_present * (present.size - n_present)

    def auc(rows: NDArray[np.bool_]) -> Floats:
        found: Floats = (rows @ ranks - lowest) / pairs
        return found

    return Chance(float(auc(present)), auc(_deal(present, permutations, seed)), present.size)


def spearman_by_chance(ratings: ArrayLike, scores: ArrayLike, *, permutations: int, seed: int) -> Chance | None:
    """Return Spearman's correlation beside that of permuted ratings; None where it is undefined; see ``spearman``.

    Args:
        ratings: of each speaker.
        scores: likewise.
        permutations: how often ratings are dealt out.
        seed: of the dealings.
    """
    x, y = same_size(as_numbers(ratings), as_numbers(scores))
    if x.size < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    x, y = (_standard(rankdata(each)) for each in (x, y))
    return Chance(float(x @ y), _deal(x, permutations, seed) @ y, x.size)


def _standard(values: Floats) -> Floats:
    centred = values - values.mean()
    found: Floats = centred / np.sqrt(centred @ centred)
    return found


def _deal(values: NDArray[Any], permutations: int, seed: int) -> NDArray[Any]:
    return np.random.default_rng(seed).permuted(np.tile(values, (permutations, 1)), axis=1)
