"""What settings reach on the validation part: each with its interval, seeds and folds together."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lalia.evaluation.evaluate import judge_rows
from lalia.measures.metrics import METRICS, Metric
from lalia.measures.uncertainty import interval, speaker_weights
from lalia.measures.weighted import SpeakerWeights
from lalia.scale import Scale
from lalia.sweep.trials import Outcome

REPEATS: Final = ("seed", "split.fold")
"""Keys that repeat settings rather than change them."""
REPLICATES: Final = 2000


@dataclass(frozen=True)
class Standing:
    """What settings reach, over their seeds and folds.

    Attributes:
        varied: the settings, without those that repeat them.
        outcomes: of their trials that were trained to the end.
        scores: of each, the mean over traits on its validation part.
        mean: over the trials.
        low: of its 95 % interval, NaN where there is none.
        high: likewise.
    """

    varied: Mapping[str, Any]
    outcomes: tuple[Outcome, ...]
    scores: tuple[float, ...]
    mean: float
    low: float
    high: float


def find_metric(name: str) -> Metric:
    """Return one of the metrics by its name."""
    return next(metric for metric in METRICS if metric.name == name)


def score_trial(outcome: Outcome, scale: Scale, metric: Metric) -> float:
    """Return the mean over traits of a metric on a trial's validation part, NaN where it is undefined in all."""
    return float(_mean_over_traits(outcome.validation(), scale, metric, None))


def rank_settings(
    outcomes: Sequence[Outcome], scale: Scale, metric: Metric, *, replicates: int = REPLICATES, seed: int = 0
) -> list[Standing]:
    """Return the settings of finished trials, the best first.

    Trials that differ in seed or fold alone are one entry with the mean of their scores. In each replicate of its
    interval as many trials are drawn as there are, with replacement, and the speakers of their validation parts; the
    interval so holds chance in training and chance in who was recorded. It is that of a part that chose among
    settings: the best one's number flatters, the more so the more were tried.

    Args:
        outcomes: those that failed are left out.
        scale: of the ratings.
        metric: by which they are ranked.
        replicates: how often trials and speakers are drawn.
        seed: of the draws.
    """
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.is_done:
            groups.setdefault(json.dumps(without_repeats(outcome.varied), sort_keys=True), []).append(outcome)
    found = [_stand(group, scale, metric, replicates, seed) for group in groups.values()]
    sign = 1 if metric.better == "lower" else -1
    # what is undefined comes last, and equals stay in the order in which they were tried
    return sorted(found, key=lambda one: (np.isnan(one.mean), sign * one.mean if not np.isnan(one.mean) else 0.0))


def without_repeats(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without seed and fold."""
    return {key: value for key, value in values.items() if key not in REPEATS}


def best_trial(standing: Standing, metric: Metric) -> Outcome:
    """Return the trial of some settings with the best score, the first of equals."""
    scores = np.asarray(standing.scores)
    worst = np.inf if metric.better == "lower" else -np.inf
    known = np.where(np.isnan(scores), worst, scores)
    return standing.outcomes[int(np.argmin(known) if metric.better == "lower" else np.argmax(known))]


def _stand(outcomes: Sequence[Outcome], scale: Scale, metric: Metric, replicates: int, seed: int) -> Standing:
    tables = [outcome.validation() for outcome in outcomes]
    scores = tuple(float(_mean_over_traits(table, scale, metric, None)) for table in tables)
    speakers = sorted({str(speaker) for table in tables for speaker in table["speaker"]})
    drawn = speaker_weights(speakers, replicates, seed)
    of_trials = np.stack([_mean_over_traits(table, scale, metric, (speakers, drawn)) for table in tables])
    chosen = np.random.default_rng([seed, 3]).integers(0, len(tables), size=(len(tables), replicates))
    low, high = interval(_nan_mean(of_trials[chosen, np.arange(replicates)]))
    defined = [score for score in scores if not np.isnan(score)]
    mean = float(np.mean(defined)) if defined else float("nan")
    return Standing(without_repeats(outcomes[0].varied), tuple(outcomes), scores, mean, low, high)


def _mean_over_traits(
    table: pd.DataFrame,
    scale: Scale,
    metric: Metric,
    drawn: tuple[Sequence[str], NDArray[np.float32]] | None,
) -> NDArray[np.float64]:
    rated = table[table["rating"].notna()]
    values = []
    for _, rows in rated.groupby("trait", sort=False):
        judged = judge_rows(rows, scale, None, "recording")
        weights = None
        if drawn is not None:
            places = np.searchsorted(np.asarray(drawn[0]), rows["speaker"].to_numpy(dtype=str))
            weights = SpeakerWeights(drawn[1], places)
        values.append(np.asarray(metric.compute(judged, weights), dtype=np.float64))
    shape = () if drawn is None else drawn[1].shape[:1]
    return _nan_mean(np.stack(values)) if values else np.full(shape, np.nan)


def _nan_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean along the first axis of what is defined, NaN where nothing is."""
    counts = (~np.isnan(values)).sum(axis=0)
    sums = np.nansum(values, axis=0)
    return np.asarray(np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0))


def main_effects(outcomes: Sequence[Outcome], scores: Sequence[float]) -> pd.DataFrame:
    """Return what each value of each key reaches on average over all trials that have it.

    Args:
        outcomes: finished trials.
        scores: of each.

    Returns:
        Columns key, value (as JSON), trials, mean, sd, lowest, highest; keys with one value are left out.
    """
    rows = []
    keys = dict.fromkeys(key for outcome in outcomes for key in outcome.varied)
    for key in keys:
        of_value: dict[str, list[float]] = {}
        for outcome, score in zip(outcomes, scores, strict=True):
            if not np.isnan(score):
                of_value.setdefault(json.dumps(outcome.varied.get(key)), []).append(score)
        if len(of_value) < 2:
            continue
        for value, found in of_value.items():
            rows.append(
                {
                    "key": key,
                    "value": value,
                    "trials": len(found),
                    "mean": float(np.mean(found)),
                    "sd": float(np.std(found, ddof=1)) if len(found) > 1 else float("nan"),
                    "lowest": min(found),
                    "highest": max(found),
                }
            )
    return pd.DataFrame(rows, columns=["key", "value", "trials", "mean", "sd", "lowest", "highest"])


@dataclass(frozen=True)
class Spread:
    """How much of the differences between trials is that of settings, and how much chance.

    Attributes:
        settings: the standard deviation between settings, chance taken out; NaN without repeats.
        repeats: between trials of the same settings, which differ in seed or fold.
        groups: how many settings were repeated.
    """

    settings: float
    repeats: float
    groups: int


def spread_of(standings: Sequence[Standing]) -> Spread:
    """Part the variance of the scores into that of settings and that of seeds or folds: a one-way analysis of variance.

    Example:
        >>> spread_of([]).groups
        0
    """
    groups = [np.asarray([s for s in one.scores if not np.isnan(s)]) for one in standings]
    repeated = [group for group in groups if len(group) > 1]
    if len(repeated) < 2:
        within = float(np.std(repeated[0], ddof=1)) if repeated else float("nan")
        return Spread(float("nan"), within, len(repeated))
    counts = np.array([len(group) for group in repeated])
    within = sum(float(((group - group.mean()) ** 2).sum()) for group in repeated) / float((counts - 1).sum())
    grand = float(np.concatenate(repeated).mean())
    means = np.array([group.mean() for group in repeated])
    between = float((counts * (means - grand) ** 2).sum()) / (len(repeated) - 1)
    size = (counts.sum() - (counts**2).sum() / counts.sum()) / (len(repeated) - 1)
    return Spread(float(np.sqrt(max(0.0, (between - within) / size))), float(np.sqrt(within)), len(repeated))
