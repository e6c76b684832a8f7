"""The folder of a run's checkpoints: each whole or not there, in the order of their steps, the last ones and the best.

    checkpoints/
      index.json        the run's id and its checkpoints, oldest first
      step-00000012/    files, and complete.json, written last: run, step, bytes and SHA-256 of each file
      damaged-step-.../ what was found damaged and set aside

A checkpoint is written to a temporary folder in the same place, synced and renamed, and then entered in the index. One
that a stop kept out of the index is found by its own ``complete.json``. No clock and no file's time is looked at.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lalia.errors import TrainingError
from lalia.files import replacing_folder, write_json

FORMAT = 1
KEPT = 2
INDEX_FILE, MARKER_FILE, STATE_FILE = "index.json", "complete.json", "state.json"

# beside those that are kept there are the best and the one that is being written
_MOST_AT_ONCE = KEPT + 2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """A checkpoint in the index.

    Attributes:
        name: of its folder.
        step: optimiser steps that were done.
        is_best: whether it was written at the end of an epoch that was the best until then.
    """

    name: str
    step: int
    is_best: bool


class DamagedError(Exception):
    """Why a checkpoint cannot be used; never leaves this file."""


def write_checkpoint(
    folder: Path,
    step: int,
    *,
    run: str,
    is_best: bool,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
) -> Path:
    """Write a checkpoint, enter it in the index, and delete those that are neither among the last nor the best.

    Args:
        folder: of the checkpoints.
        step: optimiser steps that are done.
        run: the run's id.
        is_best: whether the epoch that it ends is the best so far.
        tensors: those of each file, by the file's name without its ending.
        state: plain values.

    Raises:
        TrainingError: if it cannot be written, with the bytes that it needs; those before it are as they were.
    """
    clear_unfinished(folder)
    before = read_index(folder, run)
    name = f"step-{step:08d}"
    entries = [*(entry for entry in before if entry.name != name), Entry(name, step, is_best)]
    try:
        with replacing_folder(folder / name) as temporary:
            for file, values in tensors.items():
                save_file(dict(values), temporary / f"{file}.safetensors")
            write_json(temporary / STATE_FILE, state)
            files = {file.name: _describe(file) for file in sorted(temporary.iterdir())}
            marker = {"format": FORMAT, "run": run, "step": step, "is_best": is_best, "files": files}
            write_json(temporary / MARKER_FILE, marker)
        kept = _kept(entries)
        _write_index(folder, run, kept)
    except (OSError, SafetensorError) as cause:
        needed = sum(tensor.nbytes for values in tensors.values() for tensor in values.values())
        whole = f"{before[-1].name} is whole: make room, then go on with --resume." if before else "Make room first."
        raise TrainingError(
            f"The checkpoint '{folder / name}' cannot be written ({getattr(cause, 'strerror', None) or cause}). "
            f"It needs {needed:,} bytes; {_free_bytes(folder):,} are free there. {whole}"
        ) from cause
    for path in folder.glob("step-*"):
        if path.name not in {entry.name for entry in kept}:
            _delete(path)
    return folder / name


def read_newest(folder: Path, *, run: str) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]] | None:
    """Return tensors and state of the newest whole checkpoint of a run, None where there is none at all.

    Newer ones that are damaged are announced in the log and set aside.

    Raises:
        TrainingError: if there are checkpoints and none can be used; then they stay where they are.
    """
    clear_unfinished(folder)
    problems: dict[str, str] = {}
    for entry in (entries := _find(folder, run))[::-1]:
        try:
            found = _read(folder / entry.name, run)
        except DamagedError as problem:
            problems[entry.name] = str(problem)
            continue
        for name, said in problems.items():
            logger.warning("Checkpoint %s cannot be used (%s): the one before, %s, is.", name, said, entry.name)
            _set_aside(folder / name)
        _write_index(folder, run, [each for each in entries if each.name not in problems])
        return found
    if problems:
        said = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
        raise TrainingError(f"No checkpoint in '{folder}' can be used ({said}). Train again with --overwrite.")
    return None


def clear_unfinished(folder: Path) -> None:
    """Delete what a killed process left of checkpoints that it was writing or deleting."""
    for path in [*folder.glob(".step-*"), *folder.glob(f".{INDEX_FILE}.*")]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def read_index(folder: Path, run: str) -> list[Entry]:
    """Return the checkpoints that the index of a run lists, oldest first; none where it cannot be read."""
    try:
        index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
        entries = [Entry(**entry) for entry in index["checkpoints"]] if index["run"] == run else []
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return sorted(entries, key=lambda entry: entry.step)


def warn_of_space(folder: Path, size: int) -> str | None:
    """Return a warning if the checkpoints of a training may not find room.

    Args:
        folder: of the checkpoints.
        size: the bytes of one of them.
    """
    needed, free = _MOST_AT_ONCE * size, _free_bytes(folder)
    if needed <= free:
        return None
    return f"Checkpoints may take {needed:,} bytes; {free:,} are free in '{folder}'. Make room, or set another runs."


def _find(folder: Path, run: str) -> list[Entry]:
    """Return what the index lists and what else is there, oldest first."""
    entries = {entry.name: entry for entry in read_index(folder, run)}
    for path in folder.glob("step-*"):
        if path.name not in entries:
            try:
                marker = _read_marker(path)
                entries[path.name] = Entry(path.name, int(marker["step"]), bool(marker["is_best"]))
            except DamagedError:
                # its name is all that is known of it
                digits = path.name.removeprefix("step-")
                entries[path.name] = Entry(path.name, int(digits) if digits.isdecimal() else 0, False)
    return sorted(entries.values(), key=lambda entry: entry.step)


def _read(path: Path, run: str) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    marker = _read_marker(path)
    if marker["run"] != run:
        raise DamagedError(f"it belongs to another run, {marker['run'] or 'without an id'}")
    for name, expected in marker["files"].items():
        try:
            found = _describe(path / name)
        except OSError as cause:
            raise DamagedError(f"{name} is missing or cannot be read") from cause
        if found != expected:
            kind = "is not as long as" if found["bytes"] != expected["bytes"] else "has other bytes than"
            raise DamagedError(f"{name} {kind} it was written")
    try:
        state = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
        files = [name for name in marker["files"] if name.endswith(".safetensors")]
        return {Path(name).stem: load_file(path / name) for name in files}, state
    except (OSError, SafetensorError, ValueError) as cause:
        raise DamagedError(str(cause)) from cause


def _read_marker(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise DamagedError("its folder is missing")
    try:
        marker: dict[str, Any] = json.loads((path / MARKER_FILE).read_text(encoding="utf-8"))
        is_known = marker["format"] == FORMAT and {"run", "step", "is_best", "files"} <= set(marker)
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise DamagedError(f"it is not complete: {MARKER_FILE} is missing or damaged") from cause
    if not is_known:
        raise DamagedError(f"it has another format than {FORMAT}")
    return marker


def _describe(path: Path) -> dict[str, int | str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


def _kept(entries: list[Entry]) -> list[Entry]:
    best = [entry for entry in entries if entry.is_best][-1:]
    return [entry for entry in entries if entry in best or entry in entries[-KEPT:]]


def _write_index(folder: Path, run: str, entries: list[Entry]) -> None:
    write_json(folder / INDEX_FILE, {"format": FORMAT, "run": run, "checkpoints": [asdict(each) for each in entries]})


def _set_aside(path: Path) -> None:
    if not path.exists():
        return
    target, number = path.with_name(f"damaged-{path.name}"), 1
    while target.exists():
        number += 1
        target = path.with_name(f"damaged-{path.name}-{number}")
    path.replace(target)


def _delete(path: Path) -> None:
    # under a name of its own first, so that one that is half deleted is never taken for a checkpoint
    going = path.with_name(f".{path.name}.old")
    path.replace(going)
    shutil.rmtree(going)


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
