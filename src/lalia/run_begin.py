"""The beginning of a run: its folder, locked and described before anything is trained."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from lalia.config import save_config
from lalia.data.splits import write_split
from lalia.model.rater import SpeechRater
from lalia.model.saved_head import read_head
from lalia.model.saved_rater import hash_weights
from lalia.places import is_url, join_url
from lalia.prepare import Prepared, describe_flow
from lalia.processes import Processes
from lalia.resuming import accept_changes, find_changes, find_run, write_data_hashes
from lalia.run_at_url import find_at_url, mirroring
from lalia.run_folder import open_run_folder, read_manifest, run_path, start_manifest, write_manifest
from lalia.run_lock import run_lock
from lalia.settings import RunSettings

Resume = bool | Literal["same"]
"""Whether to go on with a run that was stopped; "same" looks at none that began otherwise: others may lie beside it."""


@contextmanager
def begin_run(
    settings: RunSettings,
    prepared: Prepared,
    processes: Processes,
    *,
    resume: Resume,
    overwrite: bool,
    allow_change: bool,
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Hold a run's folder, with what is known before training written into it; of a finished run nothing is written.

    Args:
        settings: of the run.
        prepared: what they come to.
        processes: which train together.
        resume: go on with a run that was stopped; unless "same", where none has these settings and data, one that
            began otherwise is told of rather than left aside.
        overwrite: delete a run of the same settings and data first.
        allow_change: go on also where something is not as it was when the run began.

    Yields:
        The folder and its manifest, ``finished`` or not.

    Raises:
        RunError: if the folder cannot be used, is in use, or the run began otherwise.
    """
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
            if is_url(settings.runs):
                find_at_url(settings, folder, resume=resume, overwrite=overwrite)
            seeks = resume is True and not overwrite
            place = find_run(folder, settings, prepared, described["encoder"]) if seeks else folder
            stack.enter_context(run_lock(place))
            open_run_folder(place, resume=bool(resume), overwrite=overwrite)
            manifest = _write_beginning(place, settings, prepared, described, hashes, allow_change=allow_change)
            if is_url(settings.runs):
                stack.enter_context(mirroring(join_url(settings.runs, place.name), place))
            return place, manifest

        yield processes.ask_first(open_folder)


def _write_beginning(
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


def _start_hashes(settings: RunSettings) -> list[str]:
    """Return the hash of the weights that a run goes on from, if it does: a run is named by content, not by place."""
    place = settings.model.start_from or settings.model.head_from
    return [] if place is None else [read_head(Path(place)).config.weights_sha256]


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
