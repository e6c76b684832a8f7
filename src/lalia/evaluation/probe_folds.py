"""The outer folds of probes: which speakers they train on, and what a linear probe says of the others."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lalia.data.stratify import level_presence, part_sizes, stratify
from lalia.data.table import RecordingTable
from lalia.errors import SplitError
from lalia.evaluation.calibrate import Rated, Said, calibrate
from lalia.evaluation.ridge import Floats
from lalia.evaluation.ridge_fit import RidgeFit, fit_ridge

INNER_FOLDS: Final = 4
PENALTIES: Final = tuple(10.0**power for power in range(-3, 5))
"""As scikit-learn's alpha, for one training row of standardised features: times the number of rows."""
FEW_RECORDINGS: Final = 300
"""So few are Python more than linear algebra."""


def deal_speakers(table: RecordingTable, folds: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Deal the speakers into folds, stratified over the levels of all traits, and return each recording's fold.

    Raises:
        SplitError: if there are fewer speakers than folds.
    """
    presence = level_presence(table)
    if len(presence) < folds:
        raise SplitError(f"Too few speakers to probe: {len(presence)} for {folds} folds. Lower probe.folds.")
    dealt = stratify(presence.to_numpy(), part_sizes(len(presence), [1 / folds] * folds), generator)
    return dealt[presence.index.get_indexer(pd.Index(table.recordings["speaker"]))]


@dataclass(frozen=True, eq=False)
class FoldRows:
    """Which recordings an outer fold trains on, which it scores, and the inner folds of the first."""

    training: NDArray[np.bool_]
    test: NDArray[np.bool_]
    inner: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        table: RecordingTable,
        is_test: NDArray[np.bool_],
        generator: np.random.Generator,
        is_training: NDArray[np.bool_] | None = None,
    ) -> "FoldRows":
        """Deal the inner folds of an outer one, which trains on all that it does not test, or on some of it."""
        is_training = ~is_test if is_training is None else is_training
        training = table.select(is_training)
        return cls(is_training, is_test, deal_speakers(training, min(INNER_FOLDS, training.speakers), generator))

    @property
    def penalties(self) -> list[float]:
        """The penalties to choose from, as scikit-learn's alpha."""
        return [penalty * int(self.training.sum()) for penalty in PENALTIES]

    def standardize(self, vectors: NDArray[np.floating]) -> Floats:
        """Give each column zero mean and unit variance over the training rows; constant ones become 0."""
        given = vectors.astype(np.float64)
        training = given[self.training]
        spread = training.std(axis=0)
        standard: Floats = (given - training.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        return standard


class Found(NamedTuple):
    """What the probes of a row of the table say of an outer fold, their inner losses, and the weights of a sum."""

    said: Said
    losses: Floats
    weights: Floats


def probe_features(vectors: NDArray[np.floating], rated: Rated, rows: FoldRows) -> Found:
    """Learn the ratings and their presence from features in the training rows, and say them of the test rows."""
    features = rows.standardize(vectors)
    fit = fit_ridge(features[rows.training], rated.targets[rows.training], rows.inner, rows.penalties)
    return say_held_out(fit, features, rated, rows, np.empty(0))


def say_held_out(fit: RidgeFit, features: Floats, rated: Rated, rows: FoldRows, weights: Floats) -> Found:
    """Return what regressions say of the test rows, with links that their held-out predictions teach."""
    predicted = fit.predict(features[rows.test])
    said = calibrate(fit.held_out, predicted, rated.level_index[rows.training], rated.scale)
    return Found(said, fit.losses, weights)
