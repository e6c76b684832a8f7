"""Each rater's own ratings by position: which levels they gave a recording."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lalia.data.table import RecordingTable
from lalia.scale import Scale


@dataclass(frozen=True, eq=False)
class SingleRatings:
    """The ratings before they are combined, as arrays of the same length.

    Args:
        recordings: the row of the rated recording, shape (ratings,).
        traits: the column of the trait, shape (ratings,).
        raters: the position in ``names``, shape (ratings,).
        ratings: in units of the scale, shape (ratings,).
        names: the raters, sorted.
        shape: the numbers of recordings and traits.
        scale: what the ratings mean.
    """

    recordings: NDArray[np.intp]
    traits: NDArray[np.intp]
    raters: NDArray[np.intp]
    ratings: NDArray[np.float32]
    names: tuple[str, ...]
    shape: tuple[int, int]
    scale: Scale

    def level_shares(self) -> NDArray[np.float32]:
        """Return which share of its raters gave a recording each level, shape (recordings, traits, levels).

        The shares of a recording's trait add up to 1; they are NaN where nobody rated it.
        """
        counts = np.zeros((*self.shape, len(self.scale.levels)))
        np.add.at(counts, (self.recordings, self.traits, self.scale.level_index(self.ratings)), 1)
        totals = counts.sum(axis=-1, keepdims=True)
        shares: NDArray[np.float32] = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
        return shares.astype(np.float32)

    def of_raters(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Return what some raters gave, shape (recordings, raters, traits), NaN where a rater gave nothing."""
        found = np.full((self.shape[0], len(names), self.shape[1]), np.nan, dtype=np.float32)
        places = pd.Index(list(names)).get_indexer(pd.Index(self.names, dtype=object))[self.raters]
        known = places >= 0
        found[self.recordings[known], places[known], self.traits[known]] = self.ratings[known]
        return found


def single_ratings(table: RecordingTable) -> SingleRatings:
    """Return the ratings that each rater gave the recordings of a table."""
    given = table.rater_ratings
    raters, names = pd.factorize(given["rater"].astype(str), sort=True)
    return SingleRatings(
        pd.Index(table.recordings["recording"]).get_indexer(pd.Index(given["recording"])),
        pd.Index(table.traits).get_indexer(pd.Index(given["trait"])),
        raters,
        given["rating"].to_numpy(dtype=np.float32),
        tuple(names),
        (len(table.recordings), len(table.traits)),
        table.scale,
    )
