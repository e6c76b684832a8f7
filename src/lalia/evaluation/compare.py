"""Two models on the same recordings: paired differences with intervals, and how often chance gives as much."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from lalia.errors import RunError, list_some
from lalia.evaluation.evaluate import REPLICATES, Unit, average_speakers, judge_rows
from lalia.measures.metrics import METRICS, Judged, Metric
from lalia.measures.uncertainty import (
    degrees_of_freedom,
    expanded_interval,
    interval,
    leave_speakers_out,
    speaker_weights,
)
from lalia.measures.weighted import SpeakerWeights
from lalia.scale import Scale

PERMUTATIONS: Final = 2000
# metrics of the order alone: models with scores in other units can be compared by them
_OF_ORDER: Final = {"auc", "average_precision", "spearman"}
_KEYS: Final = ["recording", "trait"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """What a model said of the recordings of a part.

    Attributes:
        name: of the run.
        predictions: columns recording, speaker, trait, rating, score, level, probability.
        thresholds: of each trait, the probability from which on it is called present.
    """

    name: str
    predictions: pd.DataFrame
    thresholds: Mapping[str, float]


def check_comparable(first: Model, second: Model) -> None:
    """Make sure that two models were evaluated on the same recordings with the same ratings.

    Raises:
        RunError: names what is in one only, or rated otherwise.
    """
    one, other = (each.predictions.set_index(_KEYS)[["speaker", "rating"]] for each in (first, second))
    for a, b, where in ((one, other, first.name), (other, one, second.name)):
        alone = sorted(set(a["speaker"]) - set(b["speaker"]))
        if alone:
            raise RunError(
                f"'{first.name}' and '{second.name}' were evaluated on different speakers: {list_some(alone)} only in "
                f"'{where}'. Compare runs with the same split, such as split: {{kind: file, path: split.csv}}."
            )
        missing = a.index.difference(b.index)
        if len(missing):
            names = [f"{recording} ({trait})" for recording, trait in missing[:50]]
            raise RunError(
                f"'{first.name}' and '{second.name}' were evaluated on different recordings or traits: "
                f"{list_some(names)} only in '{where}'."
            )
    other = other.reindex(one.index)
    differs = (one["speaker"] != other["speaker"]) | ~np.isclose(one["rating"], other["rating"], equal_nan=True)
    if differs.any():
        names = [f"{recording} ({trait})" for recording, trait in one.index[differs][:50]]
        raise RunError(f"'{first.name}' and '{second.name}' have other ratings of {list_some(names)}.")


def compare_models(
    first: Model,
    second: Model,
    scale: Scale,
    *,
    metrics: Sequence[Metric] = METRICS,
    unit: Unit = "recording",
    replicates: int = REPLICATES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how much more the second model reaches than the first, for each trait and as a mean over traits.

    Intervals are percentiles of the differences over drawn speakers, expanded for few of them (or few of a class):
    both models are evaluated on the same draw, so that what a draw does to both does not widen them. The p-value is
    that of a permutation test: if the models were the same, what they said of a speaker could be exchanged, for whole
    speakers at a time (as recordings of one speaker belong together). It is the share of exchanges with a difference
    as large, counting the one that was observed (Phipson and Smyth 2010, "Permutation p-values should never be
    zero"). Traits are corrected for each other by Holm's method (1979), the mean over traits is a question of its
    own.

    Metrics of the order alone are computed on ranks, so that models whose scores have other units can be exchanged.

    Args:
        first: what the second is compared with.
        second: on the same recordings; see ``check_comparable``.
        scale: of the ratings.
        metrics: which to compare.
        unit: recordings, or speakers with their mean rating and score.
        replicates: how often speakers are drawn.
        permutations: how often models are exchanged.
        seed: of both.

    Returns:
        Columns trait (``macro`` for the mean), metric, first, second, difference, low, high, p, p_holm, n (recordings
        or speakers; traits in a mean), speakers; NaN where a metric is undefined.
    """
    tables = [_rated(model, scale, unit) for model in (first, second)]
    speakers = np.unique(tables[0]["speaker"].to_numpy(dtype=str))
    drawn = speaker_weights(list(speakers), replicates, seed)
    exchanged = np.random.default_rng([seed, 1]).integers(0, 2, size=(permutations, len(speakers))).astype(np.float32)
    rows: list[dict[str, Any]] = []
    kept: dict[str, list[_Difference]] = {metric.name: [] for metric in metrics}
    for trait in dict.fromkeys(tables[0]["trait"]):
        parts = [table[table["trait"] == trait] for table in tables]
        judged = [
            judge_rows(part, scale, model.thresholds.get(trait), unit)
            for part, model in zip(parts, (first, second), strict=True)
        ]
        places = np.searchsorted(speakers, parts[0]["speaker"].to_numpy(dtype=str))
        n_speakers = len(np.unique(places))
        for metric in metrics:
            found = _compare(metric, judged, places, drawn, exchanged)
            kept[metric.name].append(found)
            rows.append(_row(trait, metric, found, len(places), n_speakers))
    table = pd.DataFrame(rows)
    for metric in metrics:
        is_metric = table["metric"] == metric.name
        table.loc[is_metric, "p_holm"] = holm(table.loc[is_metric, "p"].to_numpy())
    means = [
        _row("macro", metric, mean, mean.n, len(speakers)) for metric in metrics if (mean := _mean(kept[metric.name]))
    ]
    return pd.concat([table, pd.DataFrame(means)], ignore_index=True) if means else table


def summarize_runs(
    models: Sequence[Model],
    scale: Scale,
    *,
    metrics: Sequence[Metric] = METRICS,
    unit: Unit = "recording",
    replicates: int = REPLICATES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return what several runs reach together, such as runs that differ in their seed alone.

    The interval holds both sources of chance: in each replicate as many runs are drawn as there are, with replacement,
    all of them are evaluated on the same drawn speakers, and their mean is taken.

    Args:
        models: two or more, on the same recordings; see ``check_comparable``.
        scale: and all that follow, those of ``compare_models``.

    Returns:
        Columns trait, metric, mean, sd (of the runs, over their number less 1), lowest, highest, low, high, runs; the
        trait ``macro`` is the mean over traits in which the metric is defined in all runs.
    """
    tables = [_rated(model, scale, unit) for model in models]
    speakers = np.unique(tables[0]["speaker"].to_numpy(dtype=str))
    drawn = speaker_weights(list(speakers), replicates, seed)
    runs = np.random.default_rng([seed, 2]).integers(0, len(models), size=(len(models), replicates))
    rows: list[dict[str, Any]] = []
    for metric in metrics:
        values, draws, traits = [], [], []
        for trait in dict.fromkeys(tables[0]["trait"]):
            parts = [table[table["trait"] == trait] for table in tables]
            judged = [
                judge_rows(part, scale, model.thresholds.get(trait), unit)
                for part, model in zip(parts, models, strict=True)
            ]
            if any(metric.reason(each) is not None for each in judged):
                continue
            weights = SpeakerWeights(drawn, np.searchsorted(speakers, parts[0]["speaker"].to_numpy(dtype=str)))
            values.append([float(metric.compute(each)) for each in judged])
            draws.append(np.stack([metric.compute(each, weights) for each in judged]))
            traits.append(trait)
        if traits:
            values.append(np.mean(values, axis=0).tolist())
            draws.append(_mean_of_defined(np.stack(draws)))
            traits.append("macro")
        for trait, of_runs, of_draws in zip(traits, values, draws, strict=True):
            low, high = interval(of_draws[runs, np.arange(replicates)].mean(axis=0))
            rows.append(
                {
                    "trait": trait,
                    "metric": metric.name,
                    "mean": float(np.mean(of_runs)),
                    "sd": float(np.std(of_runs, ddof=1)),
                    "lowest": min(of_runs),
                    "highest": max(of_runs),
                    "low": low,
                    "high": high,
                    "runs": len(models),
                }
            )
    return pd.DataFrame(rows)


def _mean_of_defined(values: Floats) -> Floats:
    """Return the mean along the first axis of what is not NaN, NaN where nothing is."""
    is_defined = ~np.isnan(values)
    sums, counts = np.nansum(values, axis=0), is_defined.sum(axis=0)
    averaged: Floats = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return averaged


def holm(p: Floats) -> Floats:
    """Return p-values corrected for their number by Holm's step-down method; NaN stays NaN and is not counted.

    Example:
        >>> holm(np.array([0.01, 0.04, 0.03, np.nan])).round(2).tolist()
        [0.03, 0.06, 0.06, nan]
    """
    corrected = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return corrected


@dataclass(frozen=True)
class _Difference:
    first: float
    second: float
    replicates: Floats
    exchanges: Floats
    n: int = 0
    freedom: float = float("nan")

    @property
    def value(self) -> float:
        return self.second - self.first

    @property
    def p(self) -> float:
        defined = self.exchanges[~np.isnan(self.exchanges)]
        if np.isnan(self.value) or not defined.size:
            return float("nan")
        # a hair of room, so that an exchange that gives the same difference counts whatever the rounding
        as_large = np.abs(defined) >= abs(self.value) - 1e-9
        return float((1 + as_large.sum()) / (1 + defined.size))


def _rated(model: Model, scale: Scale, unit: Unit) -> pd.DataFrame:
    if unit == "speaker":
        return average_speakers(model.predictions, scale).sort_values(["trait", "speaker"], ignore_index=True)
    rated = model.predictions[model.predictions["rating"].notna()]
    return rated.sort_values(["trait", "recording"], ignore_index=True)


def _compare(
    metric: Metric,
    judged: Sequence[Judged],
    places: NDArray[np.intp],
    drawn: NDArray[np.float32],
    exchanged: NDArray[np.float32],
) -> _Difference:
    if any(metric.reason(each) is not None for each in judged):
        return _Difference(float("nan"), float("nan"), np.empty(0), np.empty(0))
    if metric.name in _OF_ORDER:
        judged = [_in_ranks(each) for each in judged]
    first, second = judged
    draws = SpeakerWeights(drawn, places)
    both = _join(first, second)
    # of the rows of both models, those of one model for each speaker
    both_places = np.concatenate([places, places + exchanged.shape[1]])
    as_first = SpeakerWeights(np.concatenate([1 - exchanged, exchanged], axis=1), both_places)
    as_second = SpeakerWeights(np.concatenate([exchanged, 1 - exchanged], axis=1), both_places)
    return _Difference(
        float(metric.compute(first)),
        float(metric.compute(second)),
        metric.compute(second, draws) - metric.compute(first, draws),
        metric.compute(both, as_second) - metric.compute(both, as_first),
        len(places),
        _find_freedom(metric, first, second, places),
    )


def _find_freedom(metric: Metric, first: Judged, second: Judged, places: NDArray[np.intp]) -> float:
    """Return the degrees of freedom of a difference: of the speakers, or of those with and without the trait."""
    names, speaker = np.unique(places, return_inverse=True)
    left_out = SpeakerWeights(leave_speakers_out(len(names)), speaker)
    without_one = metric.compute(second, left_out) - metric.compute(first, left_out)
    has_trait = np.bincount(speaker, weights=first.is_present) >= np.bincount(speaker) / 2
    return degrees_of_freedom(without_one, has_trait if "is_present" in metric.inputs else np.ones_like(has_trait))


def _in_ranks(judged: Judged) -> Judged:
    def rank(values: Floats | None) -> Floats | None:
        return None if values is None else rankdata(values) / len(values)

    return replace(judged, scores=rank(judged.scores), probability=rank(judged.probability))


def _join(first: Judged, second: Judged) -> Judged:
    joined: dict[str, Any] = {}
    for name in ("ratings", "level_index", "is_present", "scores", "probability", "predicted_index", "is_called"):
        one, other = getattr(first, name), getattr(second, name)
        joined[name] = None if one is None or other is None else np.concatenate([one, other])
    return replace(first, **joined)


def _mean(found: Sequence[_Difference]) -> _Difference | None:
    """Return the mean over the traits in which both models have a value."""
    defined = [each for each in found if not np.isnan(each.value)]
    if not defined:
        return None

    return _Difference(
        float(np.mean([each.first for each in defined])),
        float(np.mean([each.second for each in defined])),
        _mean_of_defined(np.stack([each.replicates for each in defined])),
        _mean_of_defined(np.stack([each.exchanges for each in defined])),
        len(defined),
        _mean_freedom([each.freedom for each in defined]),
    )


def _mean_freedom(of_traits: Sequence[float]) -> float:
    known = [freedom for freedom in of_traits if not np.isnan(freedom)]
    return float(np.mean(known)) if known else float("nan")


def _row(trait: str, metric: Metric, found: _Difference, n: int, n_speakers: int) -> dict[str, Any]:
    low, high = expanded_interval(found.replicates, found.freedom)
    return {
        "trait": trait,
        "metric": metric.name,
        "first": found.first,
        "second": found.second,
        "difference": found.value,
        "low": low,
        "high": high,
        "p": found.p if n_speakers > 1 else float("nan"),
        "p_holm": float("nan"),
        "n": n,
        "speakers": n_speakers,
    }
