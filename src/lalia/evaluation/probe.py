"""What each depth of a frozen encoder knows of each trait: linear and ordinal probes on pooled vectors.

After Wiepert et al. 2024 ("Speech foundation models on clinical speech", arXiv 2402.01796): every depth beside the last
one, the best one and a learned weighted sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lalia.data.audio import Preprocessing
from lalia.data.table import RecordingTable
from lalia.evaluation.calibrate import Rated, Said
from lalia.evaluation.mix import learn_mix, mix_depths
from lalia.evaluation.probe_estimates import PROBE_METRICS, Tree, estimate_all
from lalia.evaluation.probe_folds import (
    FEW_RECORDINGS,
    INNER_FOLDS,
    FoldRows,
    Found,
    deal_speakers,
    probe_features,
    say_held_out,
)
from lalia.evaluation.ridge import Floats
from lalia.evaluation.threads import run_side_by_side
from lalia.measures.uncertainty import speaker_weights
from lalia.model.encoders.base import Depth, SpeechEncoder
from lalia.model.pooling import Statistic
from lalia.progress import Progress
from lalia.training.cache import ActivationStore
from lalia.training.pooled import pooled_depths

__all__ = ["INNER_FOLDS", "PROBE_METRICS", "ProbeResult", "deal_speakers", "probe", "probe_vectors"]

_STATISTICS: dict[str, tuple[Statistic, ...]] = {
    "mean": ("mean",),
    "max": ("max",),
    "std": ("std",),
    "statistics": ("mean", "std"),
}


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """What probes found.

    Attributes:
        estimates: for each row of the table ("0", "1", ..., "last", "best", "weighted", "best minus last", "weighted
            minus last") and trait ("macro" is the mean over traits) the metrics.
        best: for each trait the depth that inner folds chose in each outer fold, for the rating (``severity``) and for
            presence (``presence``).
        weights: of the learned sum in each outer fold, shape (folds, depths).
        recordings: how many were probed.
        speakers: of how many speakers.
    """

    estimates: dict[str, Tree]
    best: dict[str, dict[str, list[int]]]
    weights: Floats
    recordings: int
    speakers: int

    @property
    def table(self) -> pd.DataFrame:
        """A row per depth, trait and metric: depth, trait, metric, value, low, high, n."""
        rows = [
            {"depth": depth, "trait": trait, "metric": metric, **described}
            for depth, tree in self._described.items()
            for trait, found in tree.items()
            for metric, described in found.items()
        ]
        return pd.DataFrame(rows, columns=["depth", "trait", "metric", "value", "low", "high", "n"])

    def to_json(self) -> dict[str, Any]:
        """Return ``["depths"][depth][trait][metric]``, the chosen depths, and the weights of the learned sum."""
        return {
            "recordings": self.recordings,
            "speakers": self.speakers,
            "depths": self._described,
            "best": self.best,
            "weights": self.weights.tolist(),
        }

    @cached_property
    def _described(self) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
        # some thousand intervals, which both the table and the JSON hold
        return {
            depth: {
                trait: {metric: estimate.to_json() for metric, estimate in found.items()}
                for trait, found in tree.items()
            }
            for depth, tree in self.estimates.items()
        }


def probe(
    encoder: SpeechEncoder,
    table: RecordingTable,
    preprocessing: Preprocessing,
    *,
    pooling: Literal["mean", "max", "std", "statistics"] = "mean",
    folds: int = 5,
    store: ActivationStore | None = None,
    seed: int = 0,
    replicates: int = 1000,
    progress: Progress | None = None,
) -> ProbeResult:
    """Probe every depth of an encoder for every trait, from one pass over the recordings.

    Args:
        encoder: used as it is.
        table: the recordings to probe, with the columns of ``scan_recordings``; those without a rating are left out.
        preprocessing: from file to windows.
        pooling: what of the frames the probes get; ``statistics`` is mean and std side by side.
        folds: speaker-disjoint folds; each is scored by probes that were trained on the others.
        store: where pooled vectors are kept.
        seed: of the folds and of the drawn speakers.
        replicates: how often the speakers are drawn for the intervals.
        progress: is told what happens.

    Raises:
        SplitError: if there are fewer speakers than folds.
        AudioError: names a recording that cannot be read.
    """
    if pooling not in _STATISTICS:
        raise ValueError(f"pooling must be one of {', '.join(_STATISTICS)}, got {pooling!r}")
    table = table.select(table.ratings.notna().any(axis=1))
    statistics = _STATISTICS[pooling]
    pooled = pooled_depths(encoder, table, preprocessing, store=store, statistics=statistics, progress=progress)
    vectors = np.concatenate([pooled.vectors[statistic] for statistic in statistics], axis=2)
    return probe_vectors(
        vectors, pooled.depths, table, folds=folds, seed=seed, replicates=replicates, progress=progress
    )


def probe_vectors(
    vectors: NDArray[np.float32],
    depths: Sequence[Depth],
    table: RecordingTable,
    *,
    folds: int = 5,
    seed: int = 0,
    replicates: int = 1000,
    progress: Progress | None = None,
) -> ProbeResult:
    """Probe pooled vectors.

    Two ridge regressions for each depth and trait, on standardised vectors: one on the rating, whose score an ordinal
    link turns into levels and an expected level; one on presence, with a link to its probability. Penalty, links and
    thresholds come from inner folds of the training folds. So does the depth of the row "best", by the squared error of
    each regression: choosing it from the other rows would flatter it. Metrics are computed within each outer fold and
    averaged, since a fold's scores lean on its own training mean, which differs from fold to fold against the truth
    (Forman and Scholz 2010, "Apples-to-apples in cross-validation studies"). Intervals resample speakers.

    Args:
        vectors: shape (recordings, depths, width).
        depths: the numbers from 0, and "last" behind them.
        table: its ratings in the order of the vectors.
        folds: as for ``probe``.
        seed: likewise.
        replicates: likewise.
        progress: likewise.

    Raises:
        SplitError: if there are fewer speakers than folds.
    """
    progress = progress or Progress()
    numbered = [place for place, depth in enumerate(depths) if depth != "last"]
    names = [*dict.fromkeys([*map(str, depths), "last"]), "best", "weighted"]
    # many encoders give their last block's output as their own
    same_as_last = "last" not in depths or np.array_equal(
        vectors[:, list(depths).index("last")], vectors[:, numbered[-1]]
    )
    probed = [place for place, depth in enumerate(depths) if depth != "last" or not same_as_last]
    fold_of = deal_speakers(table, folds, np.random.default_rng([seed, 0]))
    rated = Rated.of(table)
    parts = [FoldRows.of(table, fold_of == fold, np.random.default_rng([seed, 1 + fold])) for fold in range(folds)]
    # the learned sums take longest: they come first
    summed = vectors[:, numbered]
    tasks = [partial(_probe_mix, summed, rated, rows) for rows in parts]
    tasks += [partial(probe_features, vectors[:, place], rated, rows) for rows in parts for place in probed]
    said = Said.nothing(len(names), len(table.recordings), folds, len(table.traits))
    losses = np.full((folds, len(names), 2 * len(table.traits)), np.inf)
    weights = np.zeros((folds, len(numbered)))
    progress.start("probing", len(tasks))
    goes_to = [*product(range(folds), [len(names) - 1]), *product(range(folds), probed)]
    is_small = len(vectors) < FEW_RECORDINGS
    results = run_side_by_side(tasks, alone=is_small)
    for (fold, row), found in zip(goes_to, results, strict=True):
        said.put(row, parts[fold].test, fold, found.said)
        losses[fold, row] = np.nan_to_num(found.losses, nan=np.inf)
        if row == len(names) - 1:
            weights[fold] = found.weights
        progress.advance()
    chosen = np.asarray(numbered)[losses[:, numbered].argmin(axis=1)]
    for fold, rows in enumerate(parts):
        if same_as_last:
            last = np.full(chosen.shape[1], numbered[-1])
            said.gather(names.index("last"), rows.test, fold, last)
        said.gather(names.index("best"), rows.test, fold, chosen[fold])
    draws = speaker_weights(list(rated.speakers), replicates, seed)
    return ProbeResult(
        estimate_all(names, said, rated, fold_of, draws, alone=is_small),
        {
            trait: {
                "severity": [int(depths[place]) for place in chosen[:, column]],
                "presence": [int(depths[place]) for place in chosen[:, len(table.traits) + column]],
            }
            for column, trait in enumerate(table.traits)
        },
        weights,
        len(table.recordings),
        table.speakers,
    )


def _probe_mix(vectors: NDArray[np.float32], rated: Rated, rows: FoldRows) -> Found:
    standard = np.empty_like(vectors)
    for place in range(vectors.shape[1]):
        standard[:, place] = rows.standardize(vectors[:, place])
    weights, fit = learn_mix(standard[rows.training], rated.targets[rows.training], rows.inner, rows.penalties)
    return say_held_out(fit, mix_depths(standard, weights), rated, rows, weights)
