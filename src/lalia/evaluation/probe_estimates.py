"""The metrics of probes: each row of their table, trait and metric with its replicates."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lalia.evaluation.calibrate import Rated, Said
from lalia.evaluation.evaluate import Estimate
from lalia.evaluation.ridge import Floats
from lalia.evaluation.threads import run_side_by_side
from lalia.measures.drawn import (
    Draws,
    auc_of_each,
    balanced_accuracy_of_each,
    qwk_of_each,
    spearman_of_each,
)
from lalia.measures.metrics import METRICS, judge

PROBE_METRICS: Final = ("auc", "balanced_accuracy", "spearman", "qwk")

PROBE_DIFFERENCES: Final = {f"{name} minus last": (name, "last") for name in ("best", "weighted")}

Tree = dict[str, dict[str, Estimate]]


def estimate_all(
    names: Sequence[str],
    said: Said,
    rated: Rated,
    fold_of: NDArray[np.int64],
    weights: NDArray[np.float32],
    *,
    alone: bool = False,
    differences: Mapping[str, tuple[str, str]] = PROBE_DIFFERENCES,
) -> dict[str, Tree]:
    """Return each metric of each row of the table and trait: the mean over the folds in which it is defined.

    Args:
        names: of the rows.
        said: of all rows and recordings.
        rated: the ratings.
        fold_of: the fold of each recording.
        weights: how often each recording was drawn, shape (replicates, recordings).
        alone: one trait after the other, as for ``run_side_by_side``.
        differences: further rows: one of the names minus another.

    Returns:
        ``[row][trait][metric]``, with the trait "macro", the mean over the traits in which a metric is defined.
    """
    # values and replicates of shape (traits, rows, metrics, 1 + replicates)
    shape = (len(names), len(PROBE_METRICS), 1 + len(weights))
    values = np.empty((len(rated.traits) + 1, *shape))
    counts = np.zeros((len(rated.traits) + 1, *shape[:-1]), dtype=np.int64)
    reasons: dict[tuple[int, int, int], str] = {}
    tasks = [partial(_measure_trait, said, rated, trait, fold_of, weights) for trait in range(len(rated.traits))]
    for trait, (mean, n_recordings, why) in enumerate(run_side_by_side(tasks, alone=alone)):
        values[trait], counts[trait] = mean, n_recordings
        reasons |= {(trait, *place): f"in every fold: {reason}" for place, reason in why.items()}
    values[-1], is_defined = _average(values[:-1])
    counts[-1] = is_defined.sum(axis=0)

    def tree_of(row: int, minus: int | None = None) -> Tree:
        return {
            name: {
                metric: _estimate(values, counts, reasons, (trait, row, place), minus)
                for place, metric in enumerate(PROBE_METRICS)
            }
            for trait, name in enumerate([*rated.traits, "macro"])
        }

    place = {name: row for row, name in enumerate(names)}
    estimates = {name: tree_of(row) for name, row in place.items()}
    return estimates | {name: tree_of(place[one], place[other]) for name, (one, other) in differences.items()}


def _estimate(
    values: Floats,
    counts: NDArray[np.int64],
    reasons: Mapping[tuple[int, int, int], str],
    place: tuple[int, int, int],
    minus: int | None,
) -> Estimate:
    found, reason = values[place], reasons.get(place)
    if minus is not None:
        other = (place[0], minus, place[2])
        found, reason = found - values[other], reason or reasons.get(other)
    if np.isnan(found[0]):
        return Estimate(float("nan"), np.empty(0), 0, reason or "undefined in every trait")
    return Estimate(float(found[0]), found[1:], int(counts[place]), None)


def _average(values: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Average over the first axis what is defined, and say where the value itself, not a replicate, is defined."""
    is_defined = ~np.isnan(values[..., 0])
    is_counted = ~np.isnan(values) & is_defined[..., np.newaxis]
    count = is_counted.sum(axis=0)
    mean = np.full(count.shape, np.nan)
    np.divide(np.where(is_counted, values, 0.0).sum(axis=0), count, out=mean, where=count > 0)
    return mean, is_defined


def _measure_trait(
    said: Said, rated: Rated, trait: int, fold_of: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[Floats, NDArray[np.int64], dict[tuple[int, int], str]]:
    """Return the metrics of a trait, of how many recordings they are, and why a metric has no value.

    Returns:
        Values and replicates, shape (rows, metrics, 1 + replicates); counts, shape (rows, metrics); the first reason of
        each row and metric that is undefined in every fold.
    """
    n_rows, n_folds = said.threshold.shape[:2]
    found = np.full((n_folds, n_rows, len(PROBE_METRICS), 1 + len(weights)), np.nan)
    is_rated = rated.level_index[:, trait] >= 0
    # one speaker says nothing of how others would differ: no interval
    if np.unique(rated.speakers[is_rated]).size < 2:
        weights = np.zeros_like(weights)
    folds = [np.flatnonzero(is_rated & (fold_of == fold)) for fold in range(n_folds)]
    for fold, recordings in enumerate(folds):
        if len(recordings):
            draws = Draws.of(weights[:, recordings], rated.speakers[recordings])
            _measure_fold(said, rated, trait, fold, recordings, draws, found[fold])
    why = {}
    for row, metric in np.argwhere(np.isnan(found[..., 0]).all(axis=0)):
        given = (_reason(said, rated, trait, fold, recordings, row, metric) for fold, recordings in enumerate(folds))
        why[int(row), int(metric)] = next((reason for reason in given if reason), "undefined")
    mean, is_defined = _average(found)
    n_recordings = np.array([len(recordings) for recordings in folds])
    return mean, np.tensordot(n_recordings, is_defined, axes=1), why


def _measure_fold(
    said: Said, rated: Rated, trait: int, fold: int, recordings: NDArray[np.intp], draws: Draws, found: Floats
) -> None:
    """Put the metrics of a trait in a fold into an array of shape (rows, metrics, 1 + replicates)."""
    ratings, index = rated.ratings[recordings, trait], rated.level_index[recordings, trait]
    is_present = index >= rated.scale.present_index
    score, level, probability = (array[:, recordings, trait] for array in (said.score, said.level, said.probability))
    threshold = said.threshold[:, fold, trait, np.newaxis]

    def measure(metric: str, given: Floats, compute: Any) -> None:
        is_complete = ~np.isnan(given).any(axis=1)
        if is_complete.any():
            found[is_complete, PROBE_METRICS.index(metric)] = compute(is_complete)

    measure("auc", probability, lambda rows: auc_of_each(is_present, probability[rows], draws))
    measure(
        "balanced_accuracy",
        probability + threshold,
        lambda rows: balanced_accuracy_of_each(is_present, probability[rows] >= threshold[rows], draws),
    )
    measure("spearman", score, lambda rows: spearman_of_each(ratings, score[rows], draws))
    measure("qwk", level, lambda rows: qwk_of_each(index, rated.scale.level_index(level[rows]), draws))


def _reason(
    said: Said, rated: Rated, trait: int, fold: int, recordings: NDArray[np.intp], row: int, metric: int
) -> str | None:
    threshold = said.threshold[row, fold, trait]
    judged = judge(
        rated.ratings[recordings, trait],
        rated.scale,
        scores=said.score[row, recordings, trait],
        levels=said.level[row, recordings, trait],
        probability=said.probability[row, recordings, trait],
        threshold=None if np.isnan(threshold) else float(threshold),
    )
    return next(one for one in METRICS if one.name == PROBE_METRICS[metric]).reason(judged)
