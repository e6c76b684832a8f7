"""All folds of a run: each trains a run of its own and is tested by it; their numbers pooled, nested if asked."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lalia.config import with_values
from lalia.csv_files import write_csv
from lalia.data.splits import split_speakers
from lalia.evaluation.evaluate import UNITS
from lalia.evaluation.out_of_fold import pool_folds, summarize_folds
from lalia.evaluation.predictions import read_predictions
from lalia.evaluation.run_numbers import score_baselines, write_numbers
from lalia.inner_folds import Candidate, choose_best, judge_candidates
from lalia.prepare import Prepared, Scans, prepare
from lalia.processes import Processes, join_processes
from lalia.progress import NotesOnce, Progress
from lalia.report.page import write_report
from lalia.run import train
from lalia.run_at_url import upload_run
from lalia.run_begin import Resume, begin_run
from lalia.run_folder import read_manifest, write_manifest
from lalia.settings import ChooseSettings, FoldSplit, RunSettings
from lalia.training.trackers import check_trackers

FOLDS_FOLDER = "folds"


@dataclass(frozen=True)
class FoldRun:
    """A fold that has been trained and tested.

    Attributes:
        fold: from 1.
        folder: of its run.
        settings: that it was trained with.
        candidates: what they were chosen among, none without inner folds.
    """

    fold: int
    folder: Path
    settings: RunSettings
    candidates: tuple[Candidate, ...] = ()


def cross_validate(
    settings: RunSettings,
    *,
    resume: Resume = False,
    overwrite: bool = False,
    allow_change: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train and test every fold, and return the folder with their numbers.

    Each fold is a run in ``folds/`` of that folder, with its rater and report. With ``split.inner`` its settings are
    chosen among ``choose.grid``, and its thresholds and calibration fitted, on inner folds of the speakers that it
    trains on, so that the fold's own speakers take part in nothing but its test.

    Args:
        settings: of all runs, with ``split: {kind: folds}``.
        resume: go on with what was stopped: finished folds, and inner folds, are left as they are. See
            ``Resume``.
        overwrite: delete what there is of the same settings and data first.
        allow_change: go on also where something is not as it was in the beginning.
        progress: is told what happens.

    Raises:
        LaliaError: if a user has to mend something.
        Stopped: on Ctrl-C or SIGTERM, with the state saved once training has begun.
    """
    processes = join_processes()
    progress = NotesOnce(progress if progress is not None and processes.is_first else Progress())
    begun = time.perf_counter()
    check_trackers(settings.train.trackers)
    scans = Scans()
    prepared = prepare(settings, progress, processes=processes, scans=scans)
    place = begin_run(settings, prepared, processes, resume=resume, overwrite=overwrite, allow_change=allow_change)
    with place as (folder, manifest):
        if manifest["finished"]:
            progress.say(f"The run '{folder}' has finished already.")
            return folder
        for warning in prepared.warnings:
            progress.say(f"Note: {warning}")
        folds = [
            _run_fold(settings, fold, folder, allow_change, progress, processes, scans)
            for fold in range(1, _split_of(settings).folds + 1)
        ]
        if processes.is_first:
            outcome = _write_folds(folds, settings, prepared, folder, progress)
            seconds = round(time.perf_counter() - begun, 1)
            write_manifest(folder, manifest | outcome | {"seconds": seconds, "finished": True})
            write_report(folder)
            upload_run(folder, is_over=True)
    return folder


def _split_of(settings: RunSettings) -> FoldSplit:
    if not isinstance(settings.split, FoldSplit) or settings.split.fold != "all":
        raise ValueError("cross_validate needs settings with split: {kind: folds, fold: all}")
    return settings.split


def _run_fold(
    settings: RunSettings,
    fold: int,
    folder: Path,
    allow_change: bool,
    progress: Progress,
    processes: Processes,
    scans: Scans,
) -> FoldRun:
    split = _split_of(settings)
    progress.say(f"Fold {fold} of {split.folds}")
    of_fold = settings.model_copy(
        update={
            "name": f"fold-{fold}",
            "runs": str(folder / FOLDS_FOLDER),
            "split": split.model_copy(update={"fold": fold, "inner": None}),
            "choose": ChooseSettings(),
        }
    )
    candidates: list[Candidate] = []
    held_out = None
    if split.inner is not None:
        candidates = judge_candidates(
            of_fold,
            settings.choose.grid,
            split.inner,
            settings.choose.metric,
            folder / "inner",
            progress=progress,
            processes=processes,
            scans=scans,
        )
        chosen = choose_best(candidates, settings.choose.metric)
        of_fold, held_out = with_values(of_fold, chosen.values), chosen.held_out
    place = train(of_fold, resume=True, allow_change=allow_change, progress=progress, scans=scans, held_out=held_out)
    return FoldRun(fold, place, of_fold, tuple(candidates))


def _write_folds(
    folds: list[FoldRun], settings: RunSettings, prepared: Prepared, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Write the numbers of all folds together, and return what the manifest tells of them."""
    manifests = {each.fold: read_manifest(each.folder) for each in folds}
    metrics = {each.fold: json.loads((each.folder / "metrics.json").read_text(encoding="utf-8")) for each in folds}
    thresholds = {
        fold: {trait: float(found["value"]) for trait, found in manifest["thresholds"].items()}
        for fold, manifest in manifests.items()
    }
    of_folds = {fold: {unit: tree["test"][unit] for unit in UNITS} for fold, tree in metrics.items()}
    write_numbers(
        pool_folds({each.fold: read_predictions(each.folder) for each in folds}, thresholds),
        prepared.table,
        prepared.split,
        folder,
        progress,
        thresholds={},
        baselines=_pool_baselines(folds, prepared),
        seed=settings.seed,
        more={"test": {"folds": of_folds, "over_folds": summarize_folds(of_folds)}},
    )
    if settings.split.inner:  # type: ignore[union-attr]
        write_csv(_list_candidates(folds, settings.choose.metric), folder / "choice.csv")
    return {
        "folds": [
            {
                "fold": each.fold,
                "folder": each.folder.relative_to(folder).as_posix(),
                "best_epoch": manifests[each.fold]["best_epoch"],
                "thresholds": manifests[each.fold]["thresholds"],
                "chosen": dict(_chosen(each, settings.choose.metric)),
            }
            for each in folds
        ],
        "test_evaluations": max(manifest["test_evaluations"] for manifest in manifests.values()),
        "thresholds": {
            trait: {
                "value": float(np.mean([of_fold[trait] for of_fold in thresholds.values()])),
                "reason": "the mean of the folds, each of which decides by its own",
            }
            for trait in prepared.table.traits
        },
        "warnings": [
            *prepared.warnings,
            *(
                f"fold {fold}: {warning}"
                for fold, manifest in manifests.items()
                for warning in manifest["warnings"]
                if warning not in prepared.warnings
            ),
        ],
    }


def _pool_baselines(folds: list[FoldRun], prepared: Prepared) -> dict[str, pd.DataFrame]:
    """Return what the baselines say of each fold, learned on the speakers that its rater learned from."""
    tables: dict[str, list[pd.DataFrame]] = {}
    for each in folds:
        split = split_speakers(prepared.table, each.settings.split, each.settings.seed)
        for name, predictions in score_baselines(prepared.table, split).items():
            tables.setdefault(name, []).append(predictions[predictions["part"] == "test"])
    return {name: pd.concat(found, ignore_index=True) for name, found in tables.items()}


def _chosen(run: FoldRun, metric: str) -> dict[str, Any]:
    return dict(choose_best(list(run.candidates), metric).values) if run.candidates else {}


def _list_candidates(folds: list[FoldRun], metric: str) -> pd.DataFrame:
    """Return a row per fold, candidate and inner fold."""
    rows = []
    for run in folds:
        chosen = choose_best(list(run.candidates), metric)
        for candidate in run.candidates:
            for inner, score in enumerate(candidate.scores, start=1):
                rows.append(
                    {
                        "fold": run.fold,
                        "candidate": json.dumps(dict(candidate.values)),
                        "inner_fold": inner,
                        metric: score,
                        "mean": candidate.mean,
                        "chosen": candidate is chosen,
                    }
                )
    return pd.DataFrame(rows)
