"""The numbers of a run: decisions fitted on its validation part, predictions.csv, metrics.json."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lalia.csv_files import write_csv
from lalia.data.splits import Split
from lalia.data.table import RecordingTable
from lalia.evaluation.audit import nuisance_baselines, rater_agreement
from lalia.evaluation.decision_curve import judge_net_benefit
from lalia.evaluation.decisions import calibrate_predictions, fit_abstention, fit_calibration, rated_presence
from lalia.evaluation.evaluate import evaluate, fit_decisions, judge_chance, write_metrics
from lalia.evaluation.predict import predict
from lalia.evaluation.predictions import reach_columns
from lalia.evaluation.reliability import rater_reliability
from lalia.evaluation.selective import judge_abstention
from lalia.measures.metrics import METRICS
from lalia.model.decisions import Abstention, Calibration
from lalia.model.heads import RegressionHead
from lalia.model.rater import SpeechRater
from lalia.prepare import Prepared
from lalia.processes import Processes
from lalia.progress import Progress
from lalia.settings import DecisionSettings, RunSettings
from lalia.training.reader import InputReader


def score_validation(
    prepared: Prepared,
    settings: RunSettings,
    progress: Progress,
    reader: InputReader | None = None,
    processes: Processes | None = None,
) -> pd.DataFrame:
    """Score the validation part, as ``score_table`` does.

    A regression head learns the spread of its errors there first, from which its probability follows.
    """
    validation = prepared.part("validation", rated=True)
    predictions = score_table(prepared, validation, settings, progress, reader, processes)
    if isinstance(prepared.rater.head, RegressionHead) and len(validation.recordings):
        set_spread(prepared.rater, predictions)
        predictions = score_table(prepared, validation, settings, progress, reader, processes)
    return predictions


def set_spread(rater: SpeechRater, predictions: pd.DataFrame) -> None:
    """Give a regression head the spread of its errors; another head has none."""
    if isinstance(rater.head, RegressionHead):
        errors = (predictions["score"] - predictions["rating"]).groupby(predictions["trait"])
        spread = errors.agg(lambda of_trait: float(np.sqrt(np.mean(of_trait.dropna() ** 2))))
        rater.head.set_residual_sd(torch.tensor([spread[trait] for trait in rater.traits]))


def decide(rater: SpeechRater, predictions: pd.DataFrame, asked: DecisionSettings) -> dict[str, dict[str, Any]]:
    """Fit what turns a probability of presence into a decision, and store it in the rater.

    That is the threshold of each trait, and where the settings ask for it, the calibration of its probability and where
    nothing is decided. Each is fitted to what the ones before give.

    Args:
        rater: trained.
        predictions: of recordings that it did not learn from, as ``score_table`` gives them.
        asked: what is to be fitted.

    Returns:
        For each trait ``threshold`` with ``value`` and ``reason``, why it is the default where it could not be fitted;
        and ``calibration`` and ``abstention`` likewise where they were asked for.
    """
    scale = rater.scale
    told: dict[str, dict[str, Any]] = {trait: {} for trait in rater.traits}
    if asked.calibration is not None:
        for trait, is_present, probability, reason in rated_presence(predictions, rater.traits, scale):
            if reason is None:
                rater.calibrations[trait] = fit_calibration(is_present, probability, asked.calibration)
            told[trait]["calibration"] = _tell(rater.calibrations.get(trait), reason)
        predictions = calibrate_predictions(predictions, rater.calibrations)
    for trait, decision in fit_decisions(predictions, rater.traits, scale).items():
        rater.thresholds[trait] = decision.threshold
        told[trait]["threshold"] = {"value": decision.threshold, "reason": decision.reason}
    if asked.abstain is not None:
        for trait, is_present, probability, reason in rated_presence(predictions, rater.traits, scale):
            if reason is None:
                threshold = rater.thresholds[trait]
                rater.abstentions[trait] = fit_abstention(is_present, probability, threshold, asked.abstain)
            told[trait]["abstention"] = _tell(rater.abstentions.get(trait), reason)
    return told


def _tell(fitted: Calibration | Abstention | None, reason: str | None) -> dict[str, Any]:
    return {"value": None if fitted is None else asdict(fitted), "reason": reason}


def score_table(
    prepared: Prepared,
    table: RecordingTable,
    settings: RunSettings,
    progress: Progress,
    reader: InputReader | None,
    processes: Processes | None = None,
) -> pd.DataFrame:
    """Score the recordings of a table and put the ratings beside: the rows of predictions.csv.

    Args:
        prepared: the run, its rater trained.
        table: recordings of its table.
        settings: of the run.
        progress: is advanced by each recording.
        reader: of the rater's inputs; None reads waveforms.
        processes: which share the recordings; None: this one is alone.
    """
    scores = predict(
        prepared.rater,
        table.recordings,
        batch_seconds=settings.train.batch_seconds,
        workers=settings.train.workers,
        reader=reader,
        progress=progress,
        processes=processes,
    )
    known = table.recordings[["recording", "speaker"]].assign(
        part=prepared.split.part_of(list(table.recordings["recording"]))
    )
    ratings = table.ratings.assign(recording=table.recordings["recording"]).melt(
        id_vars="recording", var_name="trait", value_name="rating"
    )
    joined = scores.merge(known, on="recording").merge(ratings, on=["recording", "trait"])
    columns = ["recording", "speaker", "part", "trait", "rating", "score", "level", "probability"]
    return joined[[*columns, *(["abstains"] if "abstains" in joined else []), *reach_columns(joined).values()]]


def write_numbers(
    predictions: pd.DataFrame,
    table: RecordingTable,
    split: Split,
    folder: Path,
    progress: Progress,
    *,
    thresholds: Mapping[str, float],
    baselines: Mapping[str, pd.DataFrame],
    seed: int,
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write predictions.csv and metrics.json into a run's folder.

    Args:
        predictions: of the table's recordings, as ``score_table`` gives them; a column threshold takes the place of
            ``thresholds``, row by row.
        table: the recordings.
        split: their parts.
        folder: of the run.
        progress: is told of the stage.
        thresholds: of the rater.
        baselines: what is predicted without a model, see ``score_baselines``.
        seed: of the drawn speakers.
        more: what else each part's numbers hold.
    """
    write_csv(predictions, folder / "predictions.csv")
    progress.start("intervals and baselines", 1)
    scale, recordings = table.scale, table.recordings
    tasks = dict(zip(recordings["recording"], recordings["task"], strict=True)) if "task" in recordings else None
    metrics = evaluate(predictions, scale, thresholds, tasks=tasks, seed=seed)
    for name, baseline in baselines.items():
        for part, tree in evaluate(baseline, scale, {}, metrics=METRICS, seed=seed).items():
            metrics[part].setdefault("baselines", {})[name] = tree
    for part, tree in rater_agreement(table, split, seed=seed).items():
        metrics[part]["raters"] = tree
    if "abstains" in predictions:
        for part, tree in judge_abstention(predictions, scale, thresholds, seed=seed).items():
            metrics[part]["abstention"] = tree
    for part, tree in rater_reliability(table, split, seed=seed).items():
        metrics[part]["reliability"] = tree
    for part, tree in judge_net_benefit(predictions, scale, seed=seed).items():
        metrics[part]["decision_curve"] = tree
    for part, tree in judge_chance(predictions, scale, seed=seed).items():
        metrics[part]["chance"] = tree
    for part, trees in (more or {}).items():
        metrics[part].update(trees)
    write_metrics(metrics, folder / "metrics.json")
    progress.advance()


def score_baselines(table: RecordingTable, split: Split) -> dict[str, pd.DataFrame]:
    """Return what is predicted without a model, with the threshold that the validation part gives each trait.

    Args:
        table: the recordings, with what was measured of their audio.
        split: their parts.

    Returns:
        By the name of the baseline, the columns of predictions.csv and threshold.
    """
    found = {}
    for name, baseline in nuisance_baselines(table, split).items():
        decisions = fit_decisions(baseline[baseline["part"] == "validation"], table.traits, table.scale)
        chosen = {trait: decision.threshold for trait, decision in decisions.items()}
        found[name] = baseline.assign(threshold=baseline["trait"].map(chosen).astype(np.float64))
    return found
