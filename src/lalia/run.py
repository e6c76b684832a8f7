"""One run: settings to data to training to evaluation to report, in its folder."""

import copy
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lalia.build import build_augmentation, load_rater
from lalia.config import save_config
from lalia.data.dataset import RecordingDataset
from lalia.data.single_ratings import single_ratings
from lalia.data.splits import read_split, write_split
from lalia.errors import RunError, SplitError
from lalia.evaluation.run_numbers import decide, score_table, write_numbers
from lalia.files import replacing
from lalia.model.layer_mix import WeightedDepths
from lalia.model.rater import SpeechRater
from lalia.model.saved_head import read_head
from lalia.model.saved_rater import hash_weights
from lalia.prepare import Prepared, describe_flow, prepare
from lalia.processes import Processes, join_processes
from lalia.progress import Progress
from lalia.report.card import refresh_card, write_card
from lalia.report.page import write_report
from lalia.resuming import accept_changes, find_changes, find_run, write_data_hashes
from lalia.run_folder import open_run_folder, read_manifest, read_run, run_path, start_manifest, write_manifest
from lalia.run_lock import run_lock
from lalia.settings import DecisionSettings, RunSettings
from lalia.training.loop import FitResult, fit
from lalia.training.reader import InputReader, open_reader
from lalia.training.trackers import Trackers, check_trackers


def train(
    settings: RunSettings,
    *,
    resume: bool = False,
    overwrite: bool = False,
    allow_change: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Run everything from the settings to the report, and return the run's folder.

    Args:
        settings: of the run.
        resume: go on with a run that was stopped; a finished one is left as it is.
        overwrite: delete a run of the same settings and data first.
        allow_change: go on also where settings, data, encoder or libraries are not those that the run began with.
        progress: is told what happens.

    Raises:
        LaliaError: if a user has to mend something.
        Stopped: on Ctrl-C or SIGTERM, with the state saved once training has begun.
    """
    processes = join_processes()
    progress = progress if progress is not None and processes.is_first else Progress()
    begun = time.perf_counter()
    check_trackers(settings.train.trackers)
    prepared = prepare(settings, progress, processes=processes)
    start = _start_hashes(settings)
    hashes = {"data": prepared.data_hash, "split": prepared.split.sha256}
    folder = run_path(settings, "\n".join([*hashes.values(), *start]))
    described = {
        "flow": describe_flow(prepared),
        **_describe_model(settings, prepared.rater),
        **_describe_start(prepared, start),
    }
    processes.check_alike("settings, data or encoder", (folder.name, described["encoder"]))
    with ExitStack() as stack:

        def open_folder() -> tuple[Path, dict[str, Any]]:
            place = find_run(folder, settings, prepared, described["encoder"]) if resume and not overwrite else folder
            stack.enter_context(run_lock(place))
            open_run_folder(place, resume=resume, overwrite=overwrite)
            return place, _begin(place, settings, prepared, described, hashes, allow_change=allow_change)

        folder, manifest = processes.ask_first(open_folder)
        if manifest["finished"]:
            progress.say(f"The run '{folder}' has finished already.")
            return folder
        for warning in prepared.warnings:
            progress.say(f"Note: {warning}")
        outcome = _train_in(folder, settings, prepared, manifest["run"], resume, progress, processes)
        if processes.is_first:
            seconds = round(time.perf_counter() - begun, 1)
            write_manifest(folder, manifest | outcome | {"seconds": seconds, "finished": True})
            write_card(folder)
            write_report(folder)
    return folder


def _begin(
    folder: Path,
    settings: RunSettings,
    prepared: Prepared,
    described: dict[str, Any],
    hashes: dict[str, str],
    *,
    allow_change: bool,
) -> dict[str, Any]:
    """Write what is known of a run before it trains, and return its manifest; of a finished run nothing is written."""
    before = read_manifest(folder)
    if before.get("finished"):
        return before
    changes = accept_changes(
        folder, find_changes(folder, settings, prepared, described["encoder"]), allow_change=allow_change
    )
    manifest = start_manifest(settings, {"settings": folder.name.rpartition("-")[2], **hashes})
    manifest |= described | {key: before[key] for key in ("run", "created") if key in before}
    if changes:
        manifest["changes"] = changes
    save_config(settings, folder / "config.yaml")
    write_split(prepared.split, folder / "split.csv")
    write_data_hashes(folder, prepared)
    write_manifest(folder, manifest)
    return manifest


def _train_in(
    folder: Path,
    settings: RunSettings,
    prepared: Prepared,
    run_id: str,
    resume: bool,
    progress: Progress,
    processes: Processes,
) -> dict[str, Any]:
    """Train and evaluate in a folder that no other run uses, and return what the manifest tells of it."""
    workers, described = settings.train.workers, settings.model_dump(mode="json")
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
    )
    processes.ask_first(lambda: _save_training(prepared.rater, result, folder, settings))
    decisions = decide(prepared, settings, progress, reader, processes)
    predictions = score_table(prepared, prepared.table, settings, progress, reader, processes)
    if processes.is_first:
        prepared.rater.save_pretrained(folder / "model", encoder_weights=settings.model.save_encoder)
        write_numbers(predictions, prepared, settings, folder, progress)
    return {
        "best_epoch": result.best_epoch,
        "stopped": result.stopped,
        "batch_seconds": result.batch_seconds,
        "processes": processes.count,
        "test_evaluations": 1,
        "thresholds": {trait: each["threshold"] for trait, each in decisions.items()},
        **({"decisions": decisions} if settings.decisions != DecisionSettings() else {}),
        "layer_weights": _layer_weights(prepared.rater),
        "warnings": [*prepared.warnings, *result.warnings],
    }


def evaluate_run(run: str | Path, progress: Progress | None = None) -> Path:
    """Score the recordings of a finished run again with its saved rater, and write its numbers and report anew.

    Raises:
        RunError: if the run has not finished, or its data are not those it was trained on.
    """
    progress = progress or Progress()
    folder, settings, manifest = read_run(run)
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
    write_numbers(predictions, prepared, settings, folder, progress)
    # numbers that are looked at again and again, with a change in between, are those of a validation part
    write_manifest(folder, manifest | {"test_evaluations": manifest.get("test_evaluations", 1) + 1})
    refresh_card(folder)
    write_report(folder)
    return folder


def _start_hashes(settings: RunSettings) -> list[str]:
    """Return the hash of the weights that a run goes on from, if it does: a run is named by content, not by place."""
    place = settings.model.start_from or settings.model.head_from
    return [] if place is None else [read_head(Path(place)).config.weights_sha256]


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
    with replacing(folder / "history.csv") as temporary:
        pd.DataFrame(result.history).to_csv(temporary, index=False, lineterminator="\n")
    rater.load_state_dict(result.last, strict=False)
    rater.save_pretrained(folder / "model-last", encoder_weights=settings.model.save_encoder)
    rater.load_state_dict(result.best, strict=False)


def _describe_model(settings: RunSettings, rater: SpeechRater) -> dict[str, Any]:
    parameters = list(rater.parameters())
    return {
        "encoder": {
            "name": rater.encoder.source.name,
            "revision": rater.encoder.source.revision,
            "is_fine_tuned": rater.encoder.source.is_fine_tuned,
            "family": rater.encoder.family,
            "blocks": rater.encoder.n_blocks,
            "width": rater.encoder.width,
            "weights_sha256": hash_weights(rater.encoder.state_dict()),
        },
        "adaptation": {
            "kind": settings.model.adapt.kind,
            "first_changing_depth": rater.encoder.first_changing_depth,
            "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
            "parameters": sum(p.numel() for p in parameters),
        },
    }


def _describe_start(prepared: Prepared, start: list[str]) -> dict[str, Any]:
    if not start:
        return {}
    return {"started_from": {"weights_sha256": start[0], "kept_traits": sorted(prepared.rater.kept_traits)}}


def _layer_weights(rater: SpeechRater) -> list[float] | None:
    mix = rater.layer_mix
    return [float(weight) for weight in mix.weights] if isinstance(mix, WeightedDepths) else None
