"""What each depth of a frozen encoder knows of each trait: linear and ordinal probes on pooled vectors.

After Wiepert et al. 2024 ("Speech foundation models on clinical speech", arXiv 2402.01796): every depth beside the last
one, the best one and a learned weighted sum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lalia.data.audio import Preprocessing
from lalia.data.stratify import level_presence, part_sizes, stratify
from lalia.data.table import RecordingTable
from lalia.errors import SplitError
from lalia.evaluation.evaluate import Estimate, average_estimates
from lalia.evaluation.link import fit_link
from lalia.evaluation.mix import learn_mix, mix_depths
from lalia.evaluation.ridge import RidgeFit, fit_ridge
from lalia.measures.metrics import METRICS, best_threshold, judge
from lalia.measures.uncertainty import speaker_weights
from lalia.model.encoders.base import Depth, SpeechEncoder
from lalia.model.pooling import Statistic
from lalia.progress import Progress
from lalia.scale import Scale
from lalia.training.cache import ActivationStore
from lalia.training.pooled import pooled_depths

PROBE_METRICS: Final = ("auc", "balanced_accuracy", "spearman", "qwk")
INNER_FOLDS: Final = 4
PENALTIES: Final = tuple(10.0**power for power in range(-3, 5))
"""As scikit-learn's alpha, for one training row of standardised features: times the number of rows."""

_STATISTICS: dict[str, tuple[Statistic, ...]] = {
    "mean": ("mean",),
    "max": ("max",),
    "std": ("std",),
    "statistics": ("mean", "std"),
}
_Floats = NDArray[np.float64]
_Tree = dict[str, dict[str, Estimate]]


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

    estimates: dict[str, _Tree]
    best: dict[str, dict[str, list[int]]]
    weights: _Floats
    recordings: int
    speakers: int

    @property
    def table(self) -> pd.DataFrame:
        """A row per depth, trait and metric: depth, trait, metric, value, low, high, n."""
        rows = [
            {"depth": depth, "trait": trait, "metric": metric, **estimate.to_json()}
            for depth, tree in self.estimates.items()
            for trait, found in tree.items()
            for metric, estimate in found.items()
        ]
        return pd.DataFrame(rows, columns=["depth", "trait", "metric", "value", "low", "high", "n"])

    def to_json(self) -> dict[str, Any]:
        """Return ``["depths"][depth][trait][metric]``, the chosen depths, and the weights of the learned sum."""
        return {
            "recordings": self.recordings,
            "speakers": self.speakers,
            "depths": {
                depth: {
                    trait: {metric: estimate.to_json() for metric, estimate in found.items()}
                    for trait, found in tree.items()
                }
                for depth, tree in self.estimates.items()
            },
            "best": self.best,
            "weights": self.weights.tolist(),
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
    fold_of = deal_speakers(table, folds, np.random.default_rng([seed, 0]))
    rated = _Rated.of(table)
    said = {str(depth): _Said.nothing(rated, folds) for depth in [*depths, "last", "best", "weighted"]}
    chosen = np.zeros((folds, 2 * len(table.traits)), dtype=np.int64)
    weights = np.zeros((folds, len(numbered)))
    progress.start("probing", folds * (len(depths) + 1))
    for fold in range(folds):
        is_test = fold_of == fold
        training = table.select(~is_test)
        n_inner = min(INNER_FOLDS, training.speakers)
        inner = deal_speakers(training, n_inner, np.random.default_rng([seed, 1 + fold]))
        rows = _Rows(~is_test, is_test, inner, fold)
        losses = np.full((len(numbered), chosen.shape[1]), np.inf)
        for place, depth in enumerate(depths):
            if depth == "last" and np.array_equal(vectors[:, place], vectors[:, numbered[-1]]):
                said["last"].copy_from(said[str(depths[numbered[-1]])], rows)
            else:
                found = _probe_features(rows.standardize(vectors[:, place]), rated, rows, said[str(depth)])
                if place in numbered:
                    losses[numbered.index(place)] = np.nan_to_num(found.losses, nan=np.inf)
            progress.advance()
        if "last" not in depths:
            said["last"].copy_from(said[str(depths[-1])], rows)
        chosen[fold] = losses.argmin(axis=0)
        said["best"].gather([said[str(depths[place])] for place in numbered], chosen[fold], rows)
        weights[fold] = _probe_mix(vectors[:, numbered], rated, rows, said["weighted"])
        progress.advance()
    estimates = _estimate_all(said, rated, fold_of, speaker_weights(list(rated.speakers), replicates, seed))
    names = [int(depths[place]) for place in numbered]
    return ProbeResult(
        estimates,
        {
            trait: {
                "severity": [names[place] for place in chosen[:, column]],
                "presence": [names[place] for place in chosen[:, len(table.traits) + column]],
            }
            for column, trait in enumerate(table.traits)
        },
        weights,
        len(table.recordings),
        table.speakers,
    )


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
class _Rated:
    """What people said: ratings and their levels' positions (-1 missing), each of shape (recordings, traits)."""

    ratings: _Floats
    level_index: NDArray[np.int64]
    is_present: _Floats
    scale: Scale
    traits: tuple[str, ...]
    speakers: NDArray[np.str_]

    @classmethod
    def of(cls, table: RecordingTable) -> "_Rated":
        ratings = table.ratings.to_numpy(dtype=np.float64)
        scale = table.scale
        speakers = table.recordings["speaker"].to_numpy(dtype=str)
        return cls(ratings, scale.level_index(ratings), scale.is_present(ratings), scale, table.traits, speakers)

    @property
    def targets(self) -> _Floats:
        """The ratings and, behind them, presence as 0 and 1, NaN where missing, shape (recordings, 2 traits)."""
        return np.concatenate([self.ratings, self.is_present], axis=1)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Which recordings an outer fold trains on, which it scores, and the inner folds of the first."""

    training: NDArray[np.bool_]
    test: NDArray[np.bool_]
    inner: NDArray[np.int64]
    fold: int

    def standardize(self, vectors: NDArray[np.float32]) -> _Floats:
        """Give each column zero mean and unit variance over the training rows; constant ones become 0."""
        given = vectors.astype(np.float64)
        training = given[self.training]
        spread = training.std(axis=0)
        standard: _Floats = (given - training.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        return standard


@dataclass(frozen=True, eq=False)
class _Said:
    """What probes said of each recording when it was in the test fold, filled fold by fold.

    Args:
        score: the expected level, shape (recordings, traits).
        level: likewise.
        probability: of presence, likewise.
        threshold: of each fold and trait, shape (folds, traits).
    """

    score: _Floats
    level: _Floats
    probability: _Floats
    threshold: _Floats

    @classmethod
    def nothing(cls, rated: _Rated, folds: int) -> "_Said":
        score, level, probability = np.full((3, *rated.ratings.shape), np.nan)
        return cls(score, level, probability, np.full((folds, len(rated.traits)), np.nan))

    def copy_from(self, other: "_Said", rows: _Rows) -> None:
        for mine, theirs in (
            (self.score, other.score),
            (self.level, other.level),
            (self.probability, other.probability),
        ):
            mine[rows.test] = theirs[rows.test]
        self.threshold[rows.fold] = other.threshold[rows.fold]

    def gather(self, depths: Sequence["_Said"], chosen: NDArray[np.int64], rows: _Rows) -> None:
        """Take each trait from its chosen depth, scores and levels apart from the probability of presence."""
        n_traits = self.score.shape[1]
        for trait in range(n_traits):
            severity, presence = depths[chosen[trait]], depths[chosen[n_traits + trait]]
            self.score[rows.test, trait] = severity.score[rows.test, trait]
            self.level[rows.test, trait] = severity.level[rows.test, trait]
            self.probability[rows.test, trait] = presence.probability[rows.test, trait]
            self.threshold[rows.fold, trait] = presence.threshold[rows.fold, trait]


def _penalties(rows: _Rows) -> list[float]:
    return [penalty * int(rows.training.sum()) for penalty in PENALTIES]


def _probe_features(features: _Floats, rated: _Rated, rows: _Rows, said: _Said) -> RidgeFit:
    """Fit the probes of one outer fold, and put what they say of its test rows into ``said``."""
    fit = fit_ridge(features[rows.training], rated.targets[rows.training], rows.inner, _penalties(rows))
    _say(fit, features, rated, rows, said)
    return fit


def _probe_mix(vectors: NDArray[np.float32], rated: _Rated, rows: _Rows, said: _Said) -> _Floats:
    """Probe the learned weighted sum of the depths, and return its weights."""
    stack = np.stack([rows.standardize(vectors[:, place]) for place in range(vectors.shape[1])], axis=1)
    single: NDArray[np.float32] = stack.astype(np.float32)
    weights, fit = learn_mix(single[rows.training], rated.targets[rows.training], rows.inner, _penalties(rows))
    _say(fit, mix_depths(single, weights), rated, rows, said)
    return weights


def _say(fit: RidgeFit, features: _Floats, rated: _Rated, rows: _Rows, said: _Said) -> None:
    n_traits, scale = len(rated.traits), rated.scale
    index = rated.level_index[rows.training]
    severity, presence = fit.held_out[:, :n_traits], fit.held_out[:, n_traits:]
    raw = fit.predict(features[rows.test])
    to_level = fit_link(severity, index, np.arange(1, len(scale.levels)))
    to_presence = fit_link(presence, index, np.array([scale.present_index]))

    reach = to_level.reach(raw[:, :n_traits])
    levels = np.asarray(scale.levels, dtype=np.float64)
    said.score[rows.test] = levels[0] + reach @ np.diff(levels)
    said.level[rows.test] = np.where(np.isnan(raw[:, :n_traits]), np.nan, levels[(reach > 0.5).sum(axis=2)])
    said.probability[rows.test] = to_presence.reach(raw[:, n_traits:])[..., 0]
    held_out = to_presence.reach(presence)[..., 0]
    for trait in range(n_traits):
        is_rated = ~np.isnan(held_out[:, trait])
        if is_rated.any():
            is_present = index[is_rated, trait] >= scale.present_index
            threshold = best_threshold(is_present, held_out[is_rated, trait])
            said.threshold[rows.fold, trait] = 0.5 if np.isnan(threshold) else threshold


def _estimate_all(
    said: Mapping[str, _Said], rated: _Rated, fold_of: NDArray[np.int64], draws: NDArray[np.float32]
) -> dict[str, _Tree]:
    estimates: dict[str, _Tree] = {}
    for depth, one in said.items():
        tree = {trait: _estimate(one, rated, place, fold_of, draws) for place, trait in enumerate(rated.traits)}
        estimates[depth] = {**tree, "macro": _average(tree)}
    for name in ("best", "weighted"):
        estimates[f"{name} minus last"] = {
            trait: {metric: _subtract(estimate, estimates["last"][trait][metric]) for metric, estimate in found.items()}
            for trait, found in estimates[name].items()
        }
    return estimates


def _average(tree: _Tree) -> dict[str, Estimate]:
    return {metric: average_estimates([found[metric] for found in tree.values()]) for metric in PROBE_METRICS}


def _estimate(
    said: _Said, rated: _Rated, trait: int, fold_of: NDArray[np.int64], draws: NDArray[np.float32]
) -> dict[str, Estimate]:
    """Return each metric of a trait: computed within each fold, and averaged over those where it is defined."""
    found: dict[str, list[Estimate]] = {metric: [] for metric in PROBE_METRICS}
    is_rated = rated.level_index[:, trait] >= 0
    # one speaker says nothing of how others would differ: no interval
    is_alone = np.unique(rated.speakers[is_rated]).size < 2
    for fold in range(len(said.threshold)):
        rows = np.flatnonzero(is_rated & (fold_of == fold))
        threshold = said.threshold[fold, trait]
        judged = judge(
            rated.ratings[rows, trait],
            rated.scale,
            scores=said.score[rows, trait],
            levels=said.level[rows, trait],
            probability=said.probability[rows, trait],
            threshold=None if np.isnan(threshold) else float(threshold),
        )
        weights = draws[:, rows] * (0 if is_alone else 1)
        for metric in METRICS:
            if metric.name in found:
                value = float(metric.compute(judged))
                replicates = metric.compute(judged, weights)
                found[metric.name].append(Estimate(value, replicates, len(rows), metric.reason(judged)))
    return {name: _average_folds(folds) for name, folds in found.items()}


def _average_folds(folds: Sequence[Estimate]) -> Estimate:
    averaged = average_estimates(folds)
    if np.isnan(averaged.value):
        reasons = [one.reason for one in folds if one.reason]
        return replace(averaged, reason=f"in every fold: {reasons[0] if reasons else 'undefined'}")
    return replace(averaged, n=sum(one.n for one in folds if not np.isnan(one.value)))


def _subtract(estimate: Estimate, other: Estimate) -> Estimate:
    if np.isnan(estimate.value) or np.isnan(other.value):
        return Estimate(float("nan"), np.empty(0), 0, estimate.reason or other.reason)
    return Estimate(estimate.value - other.value, estimate.replicates - other.replicates, estimate.n, None)
