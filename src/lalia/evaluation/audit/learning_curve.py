"""What more speakers would bring: probes that learn from some of them."""

from functools import partial
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lalia.data.table import RecordingTable
from lalia.evaluation.calibrate import Rated, Said
from lalia.evaluation.evaluate import Estimate, average_estimates
from lalia.evaluation.probe_estimates import Tree, estimate_all
from lalia.evaluation.probe_folds import FoldRows, deal_speakers, probe_features
from lalia.evaluation.threads import run_side_by_side
from lalia.measures.uncertainty import speaker_weights

FEWEST_SPEAKERS: Final = 8
# of wider vectors so many principal components are probed: the cost of some sixty probes goes with their square
MOST_COLUMNS: Final = 128
_SHARES = (0.125, 0.25, 0.5, 0.75, 1.0)


def learning_curve(
    vectors: NDArray[np.floating],
    table: RecordingTable,
    *,
    folds: int = 5,
    draws: int = 3,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[int, Tree]:
    """Probe vectors with an eighth, a quarter, a half, three quarters and all of the training speakers.

    The folds are those of the other probes; of the training speakers of each fold, growing sets are drawn, ``draws``
    times, and the metrics averaged over the draws.

    Args:
        vectors: of the recordings, shape (recordings, width); of more than 128 columns, ``compress`` keeps so many.
        table: the recordings; those without a rating are left out.
        folds: of speakers.
        draws: of the training speakers.
        replicates: how often the tested speakers are drawn for the intervals.
        seed: of all that is drawn.

    Returns:
        ``[speakers][trait][metric]``, with the trait ``macro``; sizes under 8 speakers are left out.
    """
    is_rated = table.ratings.notna().any(axis=1).to_numpy()
    table, vectors = table.select(is_rated), vectors[is_rated]
    if table.speakers < 2 * FEWEST_SPEAKERS:
        return {}
    vectors = compress(vectors, seed)
    folds = min(folds, table.speakers)
    rated = Rated.of(table)
    owner = pd.factorize(table.recordings["speaker"])[0]
    fold_of = deal_speakers(table, folds, np.random.default_rng([seed, 0]))
    most = min(len(np.unique(owner[fold_of != fold])) for fold in range(folds))
    sizes = sorted({size for share in _SHARES if (size := round(share * most)) >= FEWEST_SPEAKERS})
    names = [(size, draw) for size in sizes for draw in range(draws if size < most else 1)]
    places, tasks, rows = [], [], []
    for fold in range(folds):
        training = np.unique(owner[fold_of != fold])
        orders = [np.random.default_rng([seed, 1, fold, draw]).permutation(training) for draw in range(draws)]
        for row, (size, draw) in enumerate(names):
            is_training = np.isin(owner, orders[draw][:size])
            random = np.random.default_rng([seed, 2, fold, row])
            rows.append(FoldRows.of(table, fold_of == fold, random, is_training))
            tasks.append(partial(probe_features, vectors, rated, rows[-1]))
            places.append((row, fold))
    said = Said.nothing(len(names), len(table.recordings), folds, len(table.traits))
    for (row, fold), of_fold, found in zip(places, rows, run_side_by_side(tasks), strict=True):
        said.put(row, of_fold.test, fold, found.said)
    weights = speaker_weights(list(rated.speakers), replicates, seed)
    trees = estimate_all([f"{size}/{draw}" for size, draw in names], said, rated, fold_of, weights, differences={})
    return {size: _average([trees[f"{size}/{draw}"] for of, draw in names if of == size]) for size in sizes}


def compress(vectors: NDArray[np.floating], seed: int = 0) -> NDArray[np.float64]:
    """Return standardised vectors in their first 128 principal components, rotated at random; narrow ones unchanged.

    No rating is looked at. Without the rotation, standardising the components again would make the smallest as large
    as the first; after it every column holds as much of each.
    """
    given = np.asarray(vectors, dtype=np.float64)
    if given.shape[1] <= MOST_COLUMNS:
        return given
    spread = given.std(axis=0)
    standard = (given - given.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    _, directions = np.linalg.eigh(standard.T @ standard)
    random = np.random.default_rng([seed, 3]).normal(size=(MOST_COLUMNS, MOST_COLUMNS))
    compressed: NDArray[np.float64] = standard @ (directions[:, -MOST_COLUMNS:] @ np.linalg.qr(random).Q)
    return compressed


def _average(trees: list[Tree]) -> Tree:
    def average(trait: str, metric: str) -> Estimate:
        estimates = [tree[trait][metric] for tree in trees]
        mean = average_estimates(estimates)
        reason = estimates[0].reason if np.isnan(mean.value) else None
        return Estimate(mean.value, mean.replicates, max(one.n for one in estimates), reason)

    return {trait: {metric: average(trait, metric) for metric in found} for trait, found in trees[0].items()}
