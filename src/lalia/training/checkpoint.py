"""The state of a training on disk: safetensors and strict JSON, whole or not there.

A checkpoint is a folder ``step-<number>`` with ``model.safetensors`` (everything of the rater), ``best.safetensors``
(the best epoch's weights), ``optimizer.safetensors``, ``adaptation.safetensors`` (AdaLoRA's averages, else empty),
``average.safetensors`` (the moving average of the weights, else empty), ``generators.safetensors`` (random states)
and ``state.json``.
It is written to a temporary folder and renamed; the last two are kept.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lalia.errors import TrainingError
from lalia.files import replacing_folder

KEPT = 2

logger = logging.getLogger(__name__)


@dataclass
class Position:
    """How far a training has come; plain values only.

    Attributes:
        epoch: the epoch under way, from 1.
        batch: batches of this epoch that are done.
        step: optimiser steps that are done.
        loss_sum: training loss of this epoch so far, summed over ratings.
        n_ratings: ratings in ``loss_sum``.
        seconds: wall time of this epoch so far.
        history: a row per finished epoch.
        best_epoch: the best epoch so far, 0 for none.
        best_value: its value of the chosen quantity.
        stale_epochs: epochs since then.
        piece_seconds: of audio that is computed at once since memory ran out, None if it never did.
        loss_scale: the state of what scales the loss for float16, else empty.
    """

    epoch: int = 1
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    n_ratings: int = 0
    seconds: float = 0.0
    history: list[dict[str, float | int | bool | None]] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float | None = None
    stale_epochs: int = 0
    piece_seconds: float | None = None
    loss_scale: dict[str, float] = field(default_factory=dict)


def save_checkpoint(
    folder: Path,
    position: Position,
    *,
    model: Mapping[str, Tensor],
    best: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    adaptation: Mapping[str, Tensor],
    average: Mapping[str, Tensor],
) -> Path:
    """Write a checkpoint into ``folder`` and delete all but the last two.

    Args:
        folder: the run's ``checkpoints`` folder.
        position: how far the training has come.
        model: the rater's state.
        best: the state of the best epoch, empty before the first.
        optimizer: its groups carry ``names``, the parameters' names.
        adaptation: what the adaptation itself keeps from step to step, mostly nothing.
        average: the moving average of the weights, empty where there is none.
    """
    path = folder / f"step-{position.step:08d}"
    with replacing_folder(path) as temporary:
        save_file(_plain(model), temporary / "model.safetensors")
        save_file(_plain(best), temporary / "best.safetensors")
        save_file(_plain(_optimizer_state(optimizer)), temporary / "optimizer.safetensors")
        save_file(_plain(adaptation), temporary / "adaptation.safetensors")
        save_file(_plain(average), temporary / "average.safetensors")
        save_file(generator_states(), temporary / "generators.safetensors")
        text = json.dumps(asdict(position), indent=2, allow_nan=False)
        (temporary / "state.json").write_text(text, encoding="utf-8")
    for old in sorted(folder.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old)
    return path


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read back."""

    position: Position
    model: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    adaptation: dict[str, Tensor]
    average: dict[str, Tensor]
    generators: dict[str, Tensor]


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest whole checkpoint of a folder, or None where there is none.

    One that cannot be read is announced in the log, and the one before is used.

    Raises:
        TrainingError: if there are checkpoints and none can be read.
    """
    paths = sorted(folder.glob("step-*"), reverse=True)
    for path in paths:
        try:
            position = Position(**json.loads((path / "state.json").read_text(encoding="utf-8")))
            names = ("model", "best", "optimizer", "adaptation", "average", "generators")
            return Checkpoint(position, *(load_file(path / f"{name}.safetensors") for name in names))
        except (OSError, SafetensorError, ValueError, TypeError) as cause:
            logger.warning("Checkpoint %s cannot be read (%s); trying the one before.", path.name, cause)
    if paths:
        raise TrainingError(f"None of the {len(paths)} checkpoints can be read. Train again with --overwrite.")
    return None


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Give each parameter its saved state back.

    Raises:
        TrainingError: if a saved parameter is not in the optimiser.
    """
    parameters = {
        name: parameter
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
    }
    for key, value in state.items():
        name, _, quantity = key.rpartition("|")
        if name not in parameters:
            raise TrainingError(f"The checkpoint holds '{name}', which does not train. Train again with --overwrite.")
        parameter = parameters[name]
        # optimisers count their steps on the CPU
        target = value if value.ndim == 0 else value.to(parameter.device)
        optimizer.state[parameter][quantity] = target


def generator_states() -> dict[str, Tensor]:
    """Return where torch's random generators are."""
    states = {"cpu": torch.get_rng_state()}
    states |= {f"cuda{i:03d}": torch.cuda.get_rng_state(i) for i in range(torch.cuda.device_count())}
    return states


def restore_generators(states: Mapping[str, Tensor]) -> None:
    """Put torch's random generators back to where they were."""
    torch.set_rng_state(states["cpu"])
    devices = [states[key] for key in sorted(states) if key.startswith("cuda")]
    if len(devices) == torch.cuda.device_count():
        for index, state in enumerate(devices):
            torch.cuda.set_rng_state(state, index)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            quantities: dict[str, Any] = optimizer.state.get(parameter, {})
            state |= {f"{name}|{quantity}": torch.as_tensor(value) for quantity, value in quantities.items()}
    return state
