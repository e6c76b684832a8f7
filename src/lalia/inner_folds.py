"""Settings chosen on inner folds: every candidate trains without each of them and is judged on it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lalia.build import build_rater
from lalia.config import combinations, with_values
from lalia.csv_files import write_csv
from lalia.data.splits import split_inner
from lalia.data.table import RecordingTable
from lalia.evaluation.evaluate import judge_rows
from lalia.evaluation.predictions import read_predictions
from lalia.evaluation.run_numbers import score_validation
from lalia.measures.metrics import METRICS
from lalia.prepare import Prepared, Scans, prepare
from lalia.processes import Processes
from lalia.progress import Progress
from lalia.run import fit_prepared
from lalia.run_folder import run_hash
from lalia.settings import RunSettings
from lalia.training.reader import open_reader


@dataclass(frozen=True)
class Candidate:
    """One combination of a grid, judged on the inner folds.

    Attributes:
        values: by their key paths.
        scores: the metric in each inner fold, NaN where it is undefined.
        held_out: what its raters say of the recordings that they did not learn from, as in predictions.csv.
    """

    values: Mapping[str, Any]
    scores: tuple[float, ...]
    held_out: pd.DataFrame

    @property
    def mean(self) -> float:
        """The mean over the folds in which the metric is defined."""
        defined = [score for score in self.scores if not np.isnan(score)]
        return float(np.mean(defined)) if defined else float("nan")


def judge_candidates(
    settings: RunSettings,
    grid: Mapping[str, tuple[Any, ...]],
    inner: int,
    metric: str,
    folder: Path,
    *,
    progress: Progress,
    processes: Processes,
    scans: Scans,
) -> list[Candidate]:
    """Train every combination of a grid on inner folds of the speakers that a run trains on; its test part is not read.

    Args:
        settings: of the run, which tests on one fold.
        grid: settings by key path, and the values to choose from; one candidate, the settings themselves, if empty.
        inner: how many inner folds; they are the same for all candidates.
        metric: the name of what they are judged by.
        folder: where what is known of an inner fold is kept, so that it is not trained again.
        progress: is told what happens.
        processes: which train together.
        scans: keeps the decoded recordings.

    Returns:
        The candidates in the order of the grid.
    """
    candidates = []
    values_of = combinations(grid)
    for number, values in enumerate(values_of, start=1):
        said = ", ".join(f"{key}={value}" for key, value in values.items())
        progress.say(f"Candidate {number} of {len(values_of)}{': ' if said else ''}{said}, {inner} inner folds")
        asked = with_values(settings, values)
        prepared = prepare(asked, progress, processes=processes, scans=scans)
        in_test = prepared.split.part_of(list(prepared.table.recordings["recording"])) == "test"
        table = prepared.table.select(~in_test)
        predictions = [
            _score_inner(asked, replace(prepared, table=table, split=split), folder, progress, processes)
            for split in split_inner(table, inner, settings.seed)
        ]
        scores = tuple(_mean_over_traits(each, table, metric) for each in predictions)
        candidates.append(Candidate(values, scores, pd.concat(predictions, ignore_index=True)))
    return candidates


def choose_best(candidates: list[Candidate], metric: str) -> Candidate:
    """Return the candidate with the best mean, the first one where several have it or none is defined."""
    higher = next(each.better for each in METRICS if each.name == metric) == "higher"
    means = [candidate.mean for candidate in candidates]
    worst = -np.inf if higher else np.inf
    known = [worst if np.isnan(mean) else mean for mean in means]
    return candidates[int(np.argmax(known) if higher else np.argmin(known))]


def _score_inner(
    settings: RunSettings, prepared: Prepared, folder: Path, progress: Progress, processes: Processes
) -> pd.DataFrame:
    """Train without one inner fold and score it, or read what is known of that."""
    key = run_hash(settings, f"{prepared.data_hash}\n{prepared.split.sha256}")
    path = folder / f"{key}.csv"
    known = processes.ask_first(lambda: read_predictions(path) if path.exists() else None)
    if known is not None:
        return known
    rater = build_rater(settings, prepared.table.traits, prepared.rater.raters)
    prepared = replace(prepared, rater=rater)
    reader = open_reader(rater, settings.cache, workers=settings.train.workers, processes=processes)
    fit_prepared(settings, prepared, reader=reader, progress=progress, processes=processes)
    scored = score_validation(prepared, settings, progress, reader, processes)
    # read back also where it was just written, so that what is stopped and resumed gives the same
    return processes.ask_first(lambda: _write_and_read(scored, path))


def _write_and_read(scored: pd.DataFrame, path: Path) -> pd.DataFrame:
    write_csv(scored, path)
    return read_predictions(path)


def _mean_over_traits(predictions: pd.DataFrame, table: RecordingTable, metric: str) -> float:
    found = next(each for each in METRICS if each.name == metric)
    rated = predictions[predictions["rating"].notna()]
    values = [
        float(found.compute(judge_rows(rows, table.scale, None, "recording"))) for _, rows in rated.groupby("trait")
    ]
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
