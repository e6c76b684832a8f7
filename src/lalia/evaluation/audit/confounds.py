"""What nuisance variables alone predict of each trait: a linear probe of each, on folds of speakers."""

from collections.abc import Mapping
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lalia.data.table import RecordingTable
from lalia.evaluation.audit.nuisances import Nuisances
from lalia.evaluation.calibrate import Rated, Said
from lalia.evaluation.probe_estimates import Tree, estimate_all
from lalia.evaluation.probe_folds import FEW_RECORDINGS, FoldRows, deal_speakers, probe_features
from lalia.evaluation.threads import run_side_by_side
from lalia.measures.uncertainty import speaker_weights


def probe_confounds(
    table: RecordingTable,
    nuisances: Nuisances,
    *,
    covariates: tuple[str, ...] = (),
    folds: int = 5,
    seed: int = 0,
    replicates: int = 1000,
) -> dict[str, Tree]:
    """Learn each trait from each nuisance variable alone, and from all together, and score speakers left out.

    The probes are those of ``lalia probe`` (ridge regressions on rating and presence, penalties from inner folds of
    speakers, metrics within each fold, intervals that resample speakers), with nuisance variables for vectors.

    Args:
        table: the recordings; those without a rating are left out.
        nuisances: of the same rows.
        covariates: the variables that are also joined as ``demographics``, where they are two or more.
        folds: of speakers; as many as there are speakers, where they are fewer.
        seed: of the folds and of the drawn speakers.
        replicates: how often the speakers are drawn.

    Returns:
        ``[variable][trait][metric]``, with the variable ``all`` and the trait ``macro``; nothing where there is no
        variable.
    """
    features = dict(nuisances.features)
    known = [name for name in covariates if name in features]
    joined = {"demographics": nuisances.join(known) if len(known) > 1 else None}
    joined["all"] = nuisances.join() if len(features) > 1 else None
    features |= {name: values for name, values in joined.items() if values is not None}
    return probe_each(features, table, folds=folds, seed=seed, replicates=replicates)


def probe_each(
    features: Mapping[str, NDArray[np.floating]],
    table: RecordingTable,
    *,
    folds: int = 5,
    seed: int = 0,
    replicates: int = 1000,
) -> dict[str, Tree]:
    """Probe sets of features of the same recordings; see ``probe_confounds``.

    Args:
        features: each of shape (recordings, columns).
        table: the recordings.
        folds: and all that follow as there.
    """
    is_rated = table.ratings.notna().any(axis=1).to_numpy()
    table = table.select(is_rated)
    if not features or table.speakers < 3:
        return {}
    folds = min(folds, table.speakers)
    rated = Rated.of(table)
    fold_of = deal_speakers(table, folds, np.random.default_rng([seed, 0]))
    rows = [FoldRows.of(table, fold_of == fold, np.random.default_rng([seed, 1 + fold])) for fold in range(folds)]
    tasks = [
        partial(probe_features, values[is_rated], rated, of_fold) for values in features.values() for of_fold in rows
    ]
    is_small = len(table.recordings) < FEW_RECORDINGS
    said = Said.nothing(len(features), len(table.recordings), folds, len(table.traits))
    for (row, fold), found in zip(
        product(range(len(features)), range(folds)), run_side_by_side(tasks, alone=is_small), strict=True
    ):
        said.put(row, rows[fold].test, fold, found.said)
    weights = speaker_weights(list(rated.speakers), replicates, seed)
    return estimate_all(list(features), said, rated, fold_of, weights, alone=is_small, differences={})


def tabulate(trees: Mapping[str, Tree], first: str = "variable") -> pd.DataFrame:
    """Return a row per variable, trait and metric: value, low, high, n, and the reason where there is no value."""
    rows = [
        {first: name, "trait": trait, "metric": metric, **estimate.to_json()}
        for name, tree in trees.items()
        for trait, found in tree.items()
        for metric, estimate in found.items()
    ]
    return pd.DataFrame(rows, columns=[first, "trait", "metric", "value", "low", "high", "n", "reason"])
