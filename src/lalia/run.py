"""One run: settings to data to training to evaluation to report, in its folder."""

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lalia.build import build_augmentation, load_rater
from lalia.config import shareable
from lalia.csv_files import write_csv
from lalia.data.dataset import RecordingDataset
from lalia.data.single_ratings import single_ratings
from lalia.data.splits import read_split
from lalia.errors import RunError, SplitError
from lalia.evaluation.run_numbers import (
    decide,
    score_baselines,
    score_table,
    score_validation,
    set_spread,
    write_numbers,
)
from lalia.model.layer_mix import WeightedDepths
from lalia.model.rater import SpeechRater
from lalia.prepare import Prepared, Scans, prepare
from lalia.processes import Processes, join_processes
from lalia.progress import Progress
from lalia.report.card import refresh_card, write_card
from lalia.report.page import write_report
from lalia.run_at_url import opened_run, upload_run
from lalia.run_begin import Resume, begin_run
from lalia.run_folder import read_run, write_manifest
from lalia.settings import DecisionSettings, RunSettings, is_cross_validation
from lalia.training.loop import FitResult, fit
from lalia.training.reader import InputReader, open_reader
from lalia.training.trackers import Trackers, check_trackers


def train(
    settings: RunSettings,
    *,
    resume: Resume = False,
    overwrite: bool = False,
    allow_change: bool = False,
    progress: Progress | None = None,
    scans: Scans | None = None,
    held_out: pd.DataFrame | None = None,
    scores_test: bool = True,
) -> Path:
    """Run everything from the settings to the report, and return the run's folder.

    Args:
        settings: of the run.
        resume: go on with a run that was stopped; a finished one is left as it is. See ``Resume``.
        overwrite: delete a run of the same settings and data first.
        allow_change: go on also where settings, data, encoder or libraries are not those that the run began with.
        progress: is told what happens.
        scans: keeps the decoded recordings for the next run.
        held_out: predictions of training recordings by raters like this one that did not learn from them; thresholds
            and calibration are fitted on them instead of the validation part.
        scores_test: False leaves the test part alone; ``evaluate_run`` scores it later, on request.

    Raises:
        LaliaError: if a user has to mend something; that is also a run of all folds, see ``cross_validate``.
        Stopped: on Ctrl-C or SIGTERM, with the state saved once training has begun.
    """
    processes = join_processes()
    progress = progress if progress is not None and processes.is_first else Progress()
    begun = time.perf_counter()
    if is_cross_validation(settings):
        raise SplitError("A run tests on one fold (split.fold). All of them are trained by cross_validate.")
    check_trackers(settings.train.trackers)
    prepared = prepare(settings, progress, processes=processes, scans=scans)
    place = begin_run(settings, prepared, processes, resume=resume, overwrite=overwrite, allow_change=allow_change)
    with place as (folder, manifest):
        if manifest["finished"]:
            progress.say(f"The run '{folder}' has finished already.")
            return folder
        for warning in prepared.warnings:
            progress.say(f"Note: {warning}")
        outcome = _train_in(
            folder,
            settings,
            prepared,
            manifest["run"],
            bool(resume),
            progress,
            processes,
            held_out,
            scores_test=scores_test,
        )
        if processes.is_first:
            seconds = round(time.perf_counter() - begun, 1)
            write_manifest(folder, manifest | outcome | {"seconds": seconds, "finished": True})
            write_card(folder)
            write_report(folder)
            upload_run(folder, is_over=True)
    return folder


def _train_in(
    folder: Path,
    settings: RunSettings,
    prepared: Prepared,
    run_id: str,
    resume: bool,
    progress: Progress,
    processes: Processes,
    held_out: pd.DataFrame | None,
    *,
    scores_test: bool,
) -> dict[str, Any]:
    """Train and evaluate in a folder that no other run uses, and return what the manifest tells of it."""
    workers, described = settings.train.workers, shareable(settings)
    reader = open_reader(prepared.rater, settings.cache, workers=workers, processes=processes)
    result = fit_prepared(
        settings,
        prepared,
        reader=reader,
        checkpoints=folder / "checkpoints",
        resume=resume,
        run_id=run_id,
        progress=progress,
        trackers=Trackers(settings.train.trackers, folder / "trackers", run=folder.name, settings=described),
        processes=processes,
        after_save=lambda: upload_run(folder),
    )
    processes.ask_first(lambda: _save_training(prepared.rater, result, folder, settings))
    if held_out is None:
        held_out = score_validation(prepared, settings, progress, reader, processes)
    else:
        set_spread(prepared.rater, held_out)
    decisions = decide(prepared.rater, held_out, settings.decisions)
    scored = prepared if scores_test else prepared.without_test()
    predictions = score_table(scored, scored.table, settings, progress, reader, processes)
    if processes.is_first:
        prepared.rater.save_pretrained(folder / "model", encoder_weights=settings.model.save_encoder)
        _write_numbers(predictions, scored, settings, folder, progress)
    return {
        "best_epoch": result.best_epoch,
        "stopped": result.stopped,
        "batch_seconds": result.batch_seconds,
        "processes": processes.count,
        "test_evaluations": int(scores_test),
        "computed_recordings": reader.computed,
        "thresholds": {trait: each["threshold"] for trait, each in decisions.items()},
        **({"decisions": decisions} if settings.decisions != DecisionSettings() else {}),
        "layer_weights": _layer_weights(prepared.rater),
        "warnings": [*prepared.warnings, *result.warnings],
    }


def evaluate_run(run: str | Path, progress: Progress | None = None) -> Path:
    """Score the recordings of a finished run again with its saved rater, and write its numbers and report anew.

    Raises:
        RunError: if the run has not finished, or its data are not those it was trained on.
        StorageError: if a run at a URL cannot be read or written.
    """
    progress = progress or Progress()
    with opened_run(run) as place:
        return _evaluate_in(place, progress)


def _evaluate_in(run: Path, progress: Progress) -> Path:
    folder, settings, manifest = read_run(run)
    if "folds" in manifest:
        raise RunError(f"'{folder.name}' is a run of all folds. Evaluate one of those in '{folder / 'folds'}'.")
    prepared = prepare(settings, progress, load_rater(folder / "model"))
    if prepared.data_hash != manifest["hashes"]["data"]:
        raise RunError(
            f"The data of '{folder.name}' are not those it was trained on: the table or a recording has changed. "
            "Train a new run, or rate the new recordings with: lalia predict"
        )
    split = read_split(folder / "split.csv", prepared.table, sha256=manifest["hashes"]["split"])
    reader = open_reader(prepared.rater, settings.cache, workers=settings.train.workers)
    prepared = replace(prepared, split=split)
    predictions = score_table(prepared, prepared.table, settings, progress, reader)
    _write_numbers(predictions, prepared, settings, folder, progress)
    # numbers that are looked at again and again, with a change in between, are those of a validation part
    write_manifest(folder, manifest | {"test_evaluations": manifest.get("test_evaluations", 1) + 1})
    refresh_card(folder)
    write_report(folder)
    return folder


def _write_numbers(
    predictions: pd.DataFrame, prepared: Prepared, settings: RunSettings, folder: Path, progress: Progress
) -> None:
    table, split = prepared.table, prepared.split
    write_numbers(
        predictions,
        table,
        split,
        folder,
        progress,
        thresholds=prepared.rater.thresholds,
        baselines=score_baselines(table, split),
        seed=settings.seed,
    )


def fit_prepared(
    settings: RunSettings,
    prepared: Prepared,
    *,
    reader: InputReader | None = None,
    checkpoints: Path | None = None,
    resume: bool = False,
    run_id: str = "",
    progress: Progress | None = None,
    trackers: Trackers | None = None,
    processes: Processes | None = None,
    after_save: Callable[[], None] | None = None,
) -> FitResult:
    """Train the rater of a prepared run on its training part; nothing else is written or evaluated.

    Args:
        settings: of the run.
        prepared: what ``prepare`` made of them; its rater is trained in place and left with its best weights.
        reader: of the rater's inputs; None opens one with the store of the settings.
        checkpoints: the folder for the training state; None writes none.
        resume: go on from the newest checkpoint there, if any.
        run_id: stands in each checkpoint.
        progress: is told what happens.
        trackers: get the rows of the history.
        processes: which train together; None: those that this one was started with.
        after_save: is called after each checkpoint.

    Raises:
        SplitError: if the training part has no rated recording.
        CacheError: if the store's folder cannot be made or written.
        TrainingError: as ``fit``.
        Stopped: as ``fit``.
    """
    reader = reader or open_reader(prepared.rater, settings.cache, workers=settings.train.workers)
    parts = {name: prepared.part(name, rated=True) for name in ("train", "validation")}
    if not len(parts["train"].recordings):
        raise SplitError("The training part has no rated recording. Change split, or data.traits.")
    _start_from_ratings(prepared.rater, torch.tensor(parts["train"].ratings.to_numpy(dtype=np.float32)))
    if prepared.rater.rater_heads is not None:
        of_raters = single_ratings(parts["train"]).of_raters(prepared.rater.raters)
        prepared.rater.rater_heads.start_from_ratings(torch.from_numpy(of_raters).flatten(1))
    preprocessing = prepared.rater.preprocessing
    augmentation = build_augmentation(settings, prepared.rater.encoder)
    return fit(
        prepared.rater,
        RecordingDataset(parts["train"], preprocessing, augmentation),
        RecordingDataset(parts["validation"], preprocessing),
        settings.train,
        seed=settings.seed,
        reader=reader,
        checkpoints=checkpoints,
        resume=resume,
        run_id=run_id,
        progress=progress,
        trackers=trackers,
        processes=processes,
        after_save=after_save,
    )


def _start_from_ratings(rater: SpeechRater, ratings: torch.Tensor) -> None:
    """Begin at the base rates of the ratings, but for the traits whose head was trained before."""
    kept = {
        number: copy.deepcopy(rater.head.outputs[number].state_dict())
        for number, trait in enumerate(rater.traits)
        if trait in rater.kept_traits
    }
    rater.head.start_from_ratings(ratings)
    for number, state in kept.items():
        rater.head.outputs[number].load_state_dict(state)


def _save_training(rater: SpeechRater, result: FitResult, folder: Path, settings: RunSettings) -> None:
    """Save the history and the rater of the last epoch, and give it the best weights back."""
    write_csv(pd.DataFrame(result.history), folder / "history.csv")
    rater.load_state_dict(result.last, strict=False)
    rater.save_pretrained(folder / "model-last", encoder_weights=settings.model.save_encoder)
    rater.load_state_dict(result.best, strict=False)


def _layer_weights(rater: SpeechRater) -> list[float] | None:
    mix = rater.layer_mix
    return [float(weight) for weight in mix.weights] if isinstance(mix, WeightedDepths) else None
