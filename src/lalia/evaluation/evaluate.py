"""From predictions to the numbers of ``metrics.json``: per part, per recording and per speaker, with intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lalia.data.splits import PARTS
from lalia.evaluation.predictions import reach_columns
from lalia.evaluation.threads import run_side_by_side
from lalia.evaluation.thresholds import THRESHOLD_METRICS, judge_levels
from lalia.files import write_json
from lalia.measures.chance import Chance, auc_by_chance, spearman_by_chance
from lalia.measures.metrics import ALL_METRICS, Judged, Metric, best_threshold, judge
from lalia.measures.uncertainty import bca_interval, interval, leave_speakers_out, speaker_weights
from lalia.measures.weighted import SpeakerWeights
from lalia.scale import Scale

Unit = Literal["recording", "speaker"]
UNITS: tuple[Unit, ...] = ("recording", "speaker")
REPLICATES = 2000

# the probability from which on a trait is called present where nothing could be fitted
_DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Decision:
    """From which probability on a trait is called present.

    Attributes:
        threshold: the probability.
        reason: why it is the default of 0.5; None where it was fitted.
    """

    threshold: float
    reason: str | None


@dataclass(frozen=True)
class Estimate:
    """A metric of one trait, and its value in every replicate.

    Attributes:
        value: NaN where the metric is undefined.
        replicates: one value per draw of the speakers, shape (replicates,).
        n: how many recordings or speakers (or traits, in a macro mean) entered.
        reason: why the metric is undefined; None where it is defined.
        without_one: the value without each speaker, shape (speakers,); None where that was not computed.
        of: how many traits (or folds) there are, in a mean over those in which the metric is defined; None elsewhere.
    """

    value: float
    replicates: NDArray[np.float64]
    n: int
    reason: str | None
    without_one: NDArray[np.float64] | None = None
    of: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return value, 95 % interval and n, with null and a reason where there is no value.

        ``low`` and ``high`` are percentiles of the replicates, ``bca_low`` and ``bca_high`` those of the BCa interval.
        """
        ends = ["low", "high", *(() if self.without_one is None else ("bca_low", "bca_high"))]
        counts = {"n": self.n} if self.of is None else {"n": self.n, "of": self.of}
        if np.isnan(self.value):
            return {"value": None, **dict.fromkeys(ends), **counts, "reason": self.reason}
        bounds: tuple[float, ...] = interval(self.replicates)
        if self.without_one is not None:
            bounds += bca_interval(self.value, self.replicates, self.without_one)
        found = {end: None if np.isnan(bound) else bound for end, bound in zip(ends, bounds, strict=True)}
        return {"value": self.value, **found, **counts}


def evaluate(
    predictions: pd.DataFrame,
    scale: Scale,
    thresholds: Mapping[str, float],
    *,
    tasks: Mapping[str, str | None] | None = None,
    metrics: Sequence[Metric] = ALL_METRICS,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the metrics of each part, per recording and per speaker, with intervals that resample speakers.

    A recording counts for a trait where the trait is rated. A speaker has the mean rating, score and probability of
    these recordings, and the level nearest to the mean score (none from a binary head); the same thresholds hold.
    The macro mean is over the traits in which a metric is defined. All traits of a part share the drawn speakers, and
    a replicate of a macro mean is the mean over the traits that are defined in this draw.

    Args:
        predictions: columns recording, speaker, part, trait, rating, score, level, probability; one row per recording,
            part and trait; NaN where there is no rating, and no level from a binary head. A column threshold takes the
            place of ``thresholds``, row by row.
        scale: of the ratings and levels.
        thresholds: of each trait, the probability from which on it is called present; a trait may lack one.
        tasks: the speech task of each recording, where the table has tasks.
        metrics: which to compute.
        replicates: how often the speakers of a part are drawn.
        seed: of the draws.

    Returns:
        ``[part][unit]["traits"][trait][metric]`` and ``[part][unit]["macro"][metric]`` for the parts that have rows and
        the units recording and speaker; a metric is ``{"value", "low", "high", "bca_low", "bca_high", "n"}``, and
        ``"reason"`` where the value is None. The n of a macro mean is the number of traits that entered, ``"of"`` that
        of all traits. Each trait
        also has ``"counts"``: how many units are rated, present and at each level, and how many speakers they are of.
        Where predictions tell of the probability of reaching levels (``p_ge_2``, ...), ``[part][unit]["thresholds"]``
        has for each level such a tree of what its probability is worth, ``["3"]["traits"][trait][metric]``.
        Where there are two tasks or more, ``[part]["tasks"][task]`` is the same tree of the recordings of that task.
    """
    tree: dict[str, Any] = {}
    for part in (part for part in PARTS if part in set(predictions["part"])):
        rows = predictions[predictions["part"] == part]
        tree[part] = _evaluate_part(rows, scale, thresholds, metrics, replicates, seed)
        task = rows["recording"].map(dict(tasks or {}))
        if len(task.dropna().unique()) > 1:
            tree[part]["tasks"] = {
                str(name): _evaluate_part(of_task, scale, thresholds, metrics, replicates, seed)
                for name, of_task in rows.groupby(task)
            }
    return tree


def judge_chance(predictions: pd.DataFrame, scale: Scale, *, permutations: int = REPLICATES, seed: int = 0) -> Any:
    """Return for each part and trait what AUC and Spearman's correlation of speakers would be by chance.

    Args:
        predictions: as for ``evaluate``.
        scale: of the ratings.
        permutations: how often ratings are dealt out to the speakers anew.
        seed: of the dealings.

    Returns:
        ``[part][trait][metric]`` as ``Chance.to_json`` gives it, with a reason where the metric is undefined.
    """
    tree: dict[str, Any] = {}
    for part in (part for part in PARTS if part in set(predictions["part"])):
        means = average_speakers(predictions[predictions["part"] == part], scale)
        for trait, rows in means.groupby("trait", sort=False):
            ratings, scores = rows["rating"].to_numpy(), rows["score"].to_numpy()
            is_present, probability = scale.is_present(ratings) == 1, rows["probability"].to_numpy()
            found = {
                "auc": auc_by_chance(is_present, probability, permutations=permutations, seed=seed),
                "spearman": spearman_by_chance(ratings, scores, permutations=permutations, seed=seed),
            }
            of_part = tree.setdefault(part, {})
            of_part[str(trait)] = {name: _tell_chance(each, len(rows)) for name, each in found.items()}
    return tree


def _tell_chance(chance: Chance | None, n: int) -> dict[str, Any]:
    if chance is None:
        return {"value": None, "low": None, "high": None, "p": None, "n": n, "reason": "undefined for these speakers"}
    return chance.to_json()


def fit_decisions(predictions: pd.DataFrame, traits: Iterable[str], scale: Scale) -> dict[str, Decision]:
    """Choose for each trait the threshold with the highest balanced accuracy on the recordings given.

    Args:
        predictions: those of the validation part, as for :func:`evaluate`.
        traits: to decide on.
        scale: of the ratings.

    Returns:
        A decision for each trait: 0.5 with a reason where there are no ratings or only one class.
    """
    decisions = {}
    for trait in traits:
        rows = predictions[(predictions["trait"] == trait) & predictions["rating"].notna()]
        judged = judge_rows(rows, scale, None, "recording")
        threshold = float("nan")
        if judged.probability is not None:
            threshold = best_threshold(judged.is_present, judged.probability)
        if not np.isnan(threshold):
            decisions[trait] = Decision(threshold, None)
        elif judged.probability is None:
            decisions[trait] = Decision(_DEFAULT_THRESHOLD, "no probability of presence for the validation part")
        else:
            what = f"only one class among the {judged.rows}" if len(rows) else "no rated recording"
            decisions[trait] = Decision(_DEFAULT_THRESHOLD, f"{what} in the validation part")
    return decisions


def write_metrics(tree: Mapping[str, Any], path: str | Path) -> None:
    """Write metrics as strict JSON under their final name at once."""
    write_json(path, tree)


def metrics_table(tree: Mapping[str, Any], part: str, unit: Unit) -> pd.DataFrame:
    """Return the metrics of a part and unit as rows: trait ("macro" for the mean), metric, value, interval, n."""
    branch = tree[part][unit]
    rows = [
        {"trait": trait, "metric": metric.name, **found[metric.name]}
        for trait, found in [*branch["traits"].items(), ("macro", branch["macro"])]
        for metric in ALL_METRICS
        if metric.name in found
    ]
    return pd.DataFrame(rows, columns=["trait", "metric", "value", "low", "high", "bca_low", "bca_high", "n"])


def average_speakers(predictions: pd.DataFrame, scale: Scale) -> pd.DataFrame:
    """Return a row per speaker and trait: means over the rated recordings, and the level nearest to the mean score."""
    rated = predictions[predictions["rating"].notna()]
    columns = ["rating", "score", "level", "probability", *reach_columns(predictions).values()]
    of_speakers = rated.groupby(["trait", "speaker"], as_index=False)
    means = of_speakers[columns].mean()
    if "threshold" in rated:  # the same for all recordings of a speaker
        means["threshold"] = of_speakers["threshold"].first()["threshold"]
    return means.assign(level=np.where(means["level"].isna(), np.nan, scale.nearest_level(means["score"])))


def build_branch(estimates: Mapping[str, Mapping[str, Estimate]]) -> dict[str, Any]:
    """Return ``["traits"][trait][metric]`` and ``["macro"][metric]`` from the estimates of each trait."""
    names = dict.fromkeys(name for found in estimates.values() for name in found)
    return {
        "traits": {trait: {name: one.to_json() for name, one in found.items()} for trait, found in estimates.items()},
        "macro": {
            name: average_estimates([found[name] for found in estimates.values() if name in found]).to_json()
            for name in names
        },
    }


def average_estimates(estimates: Sequence[Estimate]) -> Estimate:
    """Average a metric over the traits (or folds) in which it is defined, and so each of its replicates."""
    defined = [one for one in estimates if not np.isnan(one.value)]
    if not defined:
        has_jackknife = any(one.without_one is not None for one in estimates)
        without_one = np.empty(0) if has_jackknife else None
        return Estimate(float("nan"), np.empty(0), 0, "undefined in every trait", without_one, len(estimates))
    left = [one.without_one for one in defined if one.without_one is not None]
    return Estimate(
        value=float(np.mean([one.value for one in defined])),
        replicates=_mean_of_defined(np.stack([one.replicates for one in defined])),
        n=len(defined),
        reason=None,
        without_one=_mean_of_defined(np.stack(left)) if len(left) == len(defined) else None,
        of=len(estimates),
    )


def _mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    is_defined = ~np.isnan(values)
    mean = np.full(values.shape[1], np.nan)
    np.divide(np.nansum(values, axis=0), is_defined.sum(axis=0), out=mean, where=is_defined.any(axis=0))
    return mean


def _evaluate_part(
    rows: pd.DataFrame,
    scale: Scale,
    thresholds: Mapping[str, float],
    metrics: Sequence[Metric],
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    speakers = np.unique(rows["speaker"].to_numpy(dtype=str))
    draws = speaker_weights(list(speakers), replicates, seed)
    # the draws and the jackknife in one array, so that a metric sorts its rows once
    counts_of_speakers = np.concatenate([draws, leave_speakers_out(len(speakers))])
    tree: dict[str, Any] = {}
    traits = list(dict.fromkeys(rows["trait"]))
    for unit in UNITS:
        units = rows[rows["rating"].notna()] if unit == "recording" else average_speakers(rows, scale)
        by_trait = {trait: units[units["trait"] == trait] for trait in traits}

        def judge_trait(trait: str, unit: Unit = unit, by_trait: dict[str, pd.DataFrame] = by_trait) -> _JudgedTrait:
            rated = by_trait[trait]
            judged = judge_rows(rated, scale, thresholds.get(trait), unit)
            places = np.searchsorted(speakers, rated["speaker"].to_numpy(dtype=str))
            weights = SpeakerWeights(counts_of_speakers, places)
            n_speakers = rated["speaker"].nunique()
            if n_speakers < 2:
                # one speaker says nothing of how others would differ: no interval
                weights = SpeakerWeights(np.zeros_like(counts_of_speakers), places)
            return _JudgedTrait(
                _estimate(judged, weights, metrics, replicates),
                {
                    level: _estimate(each, weights, THRESHOLD_METRICS, replicates)
                    for level, each in judge_levels(rated, judged, scale).items()
                },
                _count(judged, scale, n_speakers),
            )

        found = dict(zip(traits, run_side_by_side([partial(judge_trait, trait) for trait in traits]), strict=True))
        tree[unit] = build_branch({trait: each.estimates for trait, each in found.items()})
        for trait, branch in tree[unit]["traits"].items():
            branch["counts"] = found[trait].counts
        levels = dict.fromkeys(level for each in found.values() for level in each.at_levels)
        if levels:
            tree[unit]["thresholds"] = {
                level: build_branch({trait: each.at_levels[level] for trait, each in found.items()}) for level in levels
            }
    return tree


@dataclass(frozen=True)
class _JudgedTrait:
    """The estimates of one trait, those of the probability of reaching each level, and its counts."""

    estimates: dict[str, Estimate]
    at_levels: dict[str, dict[str, Estimate]]
    counts: dict[str, Any]


def judge_rows(rated: pd.DataFrame, scale: Scale, threshold: float | None, unit: Unit) -> Judged:
    """Put the rated rows of one trait on the scale, with what was said of them; see ``judge``.

    Where rows have a column threshold, as those of several folds do, each is called by its own.
    """
    return judge(
        rated["rating"],
        scale,
        scores=rated["score"],
        levels=rated["level"],
        probability=rated["probability"],
        threshold=rated["threshold"].to_numpy() if "threshold" in rated else threshold,
        unit=unit,
    )


def _estimate(
    judged: Judged, weights: SpeakerWeights, metrics: Sequence[Metric], replicates: int
) -> dict[str, Estimate]:
    estimates = {}
    for metric in metrics:
        values = metric.compute(judged, weights)
        estimates[metric.name] = Estimate(
            value=float(metric.compute(judged)),
            replicates=values[:replicates],
            n=len(judged.ratings),
            reason=metric.reason(judged),
            without_one=values[replicates:],
        )
    return estimates


def _count(judged: Judged, scale: Scale, n_speakers: int) -> dict[str, Any]:
    at_level = np.bincount(judged.level_index, minlength=len(scale.levels))
    return {
        "rated": len(judged.ratings),
        "present": int(judged.is_present.sum()),
        "speakers": int(n_speakers),
        "levels": {f"{level:g}": int(count) for level, count in zip(scale.levels, at_level, strict=True)},
    }
