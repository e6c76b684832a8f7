"""From regressions to what they say of recordings: scores and levels, the probability of presence and its threshold."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lalia.data.table import RecordingTable
from lalia.evaluation.link import fit_link
from lalia.evaluation.ridge import Floats
from lalia.measures.metrics import best_threshold
from lalia.scale import Scale


@dataclass(frozen=True, eq=False)
class Rated:
    """What people said.

    Args:
        ratings: NaN where missing, shape (recordings, traits).
        level_index: the positions of the ratings' levels, -1 where missing, likewise.
        scale: of the ratings.
        traits: their names.
        speakers: of each recording.
    """

    ratings: Floats
    level_index: NDArray[np.int64]
    scale: Scale
    traits: tuple[str, ...]
    speakers: NDArray[np.str_]

    @classmethod
    def of(cls, table: RecordingTable) -> "Rated":
        """Take the ratings of a table."""
        ratings = table.ratings.to_numpy(dtype=np.float64)
        speakers = table.recordings["speaker"].to_numpy(dtype=str)
        return cls(ratings, table.scale.level_index(ratings), table.scale, table.traits, speakers)

    @property
    def targets(self) -> Floats:
        """The ratings and, behind them, presence as 0 and 1, NaN where missing, shape (recordings, 2 traits)."""
        return np.concatenate([self.ratings, self.scale.is_present(self.ratings)], axis=1)


@dataclass(frozen=True, eq=False)
class Said:
    """What probes say of recordings, NaN where there was nothing to learn from.

    Args:
        score: the expected level, shape (..., recordings, traits).
        level: likewise.
        probability: of presence, likewise.
        threshold: from which probability on a trait is called present, shape (..., traits).
    """

    score: Floats
    level: Floats
    probability: Floats
    threshold: Floats

    @classmethod
    def nothing(cls, rows: int, recordings: int, folds: int, traits: int) -> "Said":
        """Return room for some rows of the table: recordings of all folds, a threshold for each fold."""
        score, level, probability = np.full((3, rows, recordings, traits), np.nan)
        return cls(score, level, probability, np.full((rows, folds, traits), np.nan))

    def put(self, row: int, recordings: NDArray[np.bool_], fold: int, said: "Said") -> None:
        """Keep what was said of the recordings of a fold."""
        self.score[row, recordings], self.level[row, recordings] = said.score, said.level
        self.probability[row, recordings], self.threshold[row, fold] = said.probability, said.threshold

    def gather(self, row: int, recordings: NDArray[np.bool_], fold: int, chosen: NDArray[np.int64]) -> None:
        """Give a row each trait from another one, scores and levels apart from the probability of presence.

        Args:
            row: to fill.
            recordings: of the fold.
            fold: in which the rows were chosen.
            chosen: rows for the severity of each trait and, behind them, for presence, shape (2 traits,).
        """
        severity, presence = np.split(chosen, 2)
        trait, places = np.arange(len(severity)), np.flatnonzero(recordings)[:, np.newaxis]
        for mine in (self.score, self.level):
            mine[row, places, trait] = mine[severity, places, trait]
        self.probability[row, places, trait] = self.probability[presence, places, trait]
        self.threshold[row, fold] = self.threshold[presence, fold, trait]


def calibrate(held_out: Floats, predicted: Floats, level_index: NDArray[np.int64], scale: Scale) -> Said:
    """Turn predictions of ratings and presence into what they say, by links learned on left-out rows.

    Args:
        held_out: predictions of the training rows by regressions without them, shape (rows, 2 traits).
        predicted: of the rows to speak of, likewise.
        level_index: the levels of the training rows, -1 where missing, shape (rows, traits).
        scale: of the ratings.
    """
    n_traits = level_index.shape[1]
    severity, presence = held_out[:, :n_traits], held_out[:, n_traits:]
    to_level = fit_link(severity, level_index, np.arange(1, len(scale.levels)))
    to_presence = fit_link(presence, level_index, np.array([scale.present_index]))
    reach = to_level.reach(predicted[:, :n_traits])
    levels = np.asarray(scale.levels, dtype=np.float64)
    return Said(
        score=levels[0] + reach @ np.diff(levels),
        level=np.where(np.isnan(predicted[:, :n_traits]), np.nan, levels[(reach > 0.5).sum(axis=2)]),
        probability=to_presence.reach(predicted[:, n_traits:])[..., 0],
        threshold=_choose_thresholds(to_presence.reach(presence)[..., 0], level_index, scale),
    )


def _choose_thresholds(probability: Floats, level_index: NDArray[np.int64], scale: Scale) -> Floats:
    """Return the best threshold of each trait, 0.5 with one class, NaN where there is no probability."""
    thresholds = np.full(probability.shape[1], np.nan)
    for trait, chances in enumerate(probability.T):
        is_rated = ~np.isnan(chances)
        if is_rated.any():
            found = best_threshold(level_index[is_rated, trait] >= scale.present_index, chances[is_rated])
            thresholds[trait] = 0.5 if np.isnan(found) else found
    return thresholds
