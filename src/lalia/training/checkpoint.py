"""The state of a training as tensors and plain values: safetensors and strict JSON, no pickle.

A checkpoint holds ``model`` (everything of the rater that training can change), ``best`` (the same of the best epoch),
``optimizer``, ``adaptation`` (AdaLoRA's averages, else empty), ``average`` (the moving average of the weights, else
empty), ``generators`` (random states) and its ``Position``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lalia.errors import TrainingError
from lalia.training.checkpoint_folder import read_newest, write_checkpoint
from lalia.training.generators import generator_states

FILES = ("model", "best", "optimizer", "adaptation", "average", "generators")


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
        skipped: steps of this epoch that were not taken, because a loss or gradient was not finite.
        skipped_in_a_row: those since the last one that was, in this epoch or before.
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
    skipped: int = 0
    skipped_in_a_row: int = 0

    @property
    def ends_best_epoch(self) -> bool:
        """Whether this is the end of an epoch that is the best so far."""
        return self.batch == 0 and self.best_epoch > 0 and self.best_epoch == self.epoch - 1


def save_checkpoint(
    folder: Path,
    position: Position,
    *,
    run: str = "",
    model: Mapping[str, Tensor],
    best: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    adaptation: Mapping[str, Tensor],
    average: Mapping[str, Tensor],
) -> Path:
    """Write a checkpoint into ``folder``; the last ones and the best are kept.

    Args:
        folder: the run's ``checkpoints`` folder.
        position: how far the training has come.
        run: the run's id: only this run can go on from here.
        model: the rater's state.
        best: the state of the best epoch, empty before the first.
        optimizer: its groups carry ``names``, the parameters' names.
        adaptation: what the adaptation itself keeps from step to step, mostly nothing.
        average: the moving average of the weights, empty where there is none.

    Raises:
        TrainingError: if it cannot be written, with the bytes that it needs; those before it are as they were.
    """
    tensors = (model, best, _optimizer_state(optimizer), adaptation, average, generator_states())
    return write_checkpoint(
        folder,
        position.step,
        run=run,
        is_best=position.ends_best_epoch,
        tensors={name: _plain(values) for name, values in zip(FILES, tensors, strict=True)},
        state=asdict(position),
    )


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


def load_checkpoint(folder: Path, *, run: str = "") -> Checkpoint | None:
    """Read the newest whole checkpoint of a run, or None where there is none.

    One that is damaged is announced in the log and set aside, and the one before is used.

    Raises:
        TrainingError: if there are checkpoints and none can be used.
    """
    found = read_newest(folder, run=run)
    if found is None:
        return None
    tensors, state = found
    try:
        return Checkpoint(Position(**state), *(tensors[name] for name in FILES))
    except (TypeError, KeyError) as cause:
        raise TrainingError(
            f"The checkpoints in '{folder}' are those of another version ({cause}). Train again with --overwrite."
        ) from cause


def checkpoint_bytes(model: Mapping[str, Tensor], trainable: int) -> int:
    """Return about how much a checkpoint will take.

    Args:
        model: the rater's state.
        trainable: the bytes of all that trains; the optimiser keeps two averages of each.
    """
    return 2 * (sum(tensor.nbytes for tensor in model.values()) + trainable)


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


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            quantities: dict[str, Any] = optimizer.state.get(parameter, {})
            state |= {f"{name}|{quantity}": torch.as_tensor(value) for quantity, value in quantities.items()}
    return state
