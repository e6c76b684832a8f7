"""One optimiser step: from the recordings of its batches to gradients to new weights, alone or with other processes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lalia.build import build_loss
from lalia.data.dataset import RecordingDataset
from lalia.errors import TrainingError
from lalia.model.rater import SpeechRater
from lalia.processes import Processes
from lalia.settings import TrainSettings
from lalia.training.ema import WeightAverage
from lalia.training.finite import are_finite, total_norm
from lalia.training.generators import piece_seed, seed_generators
from lalia.training.memory import ADVICE, without_smaller_pieces
from lalia.training.optimizer import make_optimizer, parameter_groups, rate_factor
from lalia.training.part_loss import PartLoss
from lalia.training.precision import autocast, make_scaler
from lalia.training.reader import RatedInputs
from lalia.training.whole_batch import Piece, backward_apart, backward_together


class Step(NamedTuple):
    """Which step of a training is taken.

    Args:
        number: from 0.
        of: all steps of the training.
        pieces: rows of the training part that are computed at once; those of all processes.
    """

    number: int
    of: int
    pieces: Sequence[list[int]]

    @property
    def rows(self) -> list[int]:
        """All rows of the step."""
        return [row for piece in self.pieces for row in piece]


class StepResult(NamedTuple):
    """What a step came to, the same in every process.

    Args:
        loss_sum: over all ratings of the step.
        n_ratings: that entered.
        is_finite: False where the loss or its gradient is not; such a step changed nothing.
    """

    loss_sum: float
    n_ratings: int
    is_finite: bool


class Stepper:
    """Takes optimiser steps on the mean loss over all valid ratings of a step.

    What is drawn with a piece, such as dropout, follows from the seed, the step and the piece's place in it, and each
    process computes every so-manieth piece: one process and several take the same step, up to the order of sums.

    Args:
        rater: adapted already, on the processes' device: what has ``requires_grad`` trains.
        train: the training part.
        settings: how to train.
        seed: of what is drawn.
        processes: which share the pieces of each step.

    Attributes:
        trainable: the parameters that train, by name.
        optimizer: each of them in exactly one of its groups.
        scaler: of the loss, for float16.
        average: of the weights, None without.
        ranks: AdaLoRA's part, None without.
        loss: of ratings.

    Raises:
        TrainingError: if nothing trains.
    """

    def __init__(
        self, rater: SpeechRater, train: RecordingDataset, settings: TrainSettings, seed: int, processes: Processes
    ) -> None:
        groups = parameter_groups(
            rater,
            learning_rate=settings.learning_rate,
            encoder_learning_rate=settings.encoder_learning_rate,
            adapter_learning_rate=settings.adapter_learning_rate,
            mix_learning_rate=settings.mix_learning_rate,
            weight_decay=settings.weight_decay,
            layer_decay=settings.layer_decay,
        )
        if not groups:
            raise TrainingError("Nothing in the rater trains: every parameter is frozen.")
        self.trainable: dict[str, nn.Parameter] = {
            name: each for name, each in rater.named_parameters() if each.requires_grad
        }
        self.optimizer = make_optimizer(groups, **settings.optimizer.model_dump())
        self.scaler = make_scaler(processes.device, settings.precision)
        self.average = WeightAverage(self.trainable, settings.ema.decay) if settings.ema else None
        self.ranks = rater.encoder.ranks
        self.loss = build_loss(settings.loss, rater, torch.tensor(train.ratings))
        self._train_loss = PartLoss(self.loss, rater, train)
        self._rater = rater
        self._settings = settings
        self._seed = seed
        self._processes = processes

    def take(self, step: Step, inputs: Iterator[RatedInputs]) -> StepResult:
        """Take a step.

        Args:
            step: the next one.
            inputs: of this process's pieces, as ``Processes.deal`` gives them, and of those of later steps.

        Raises:
            PieceTooLarge: if memory runs out with a piece; only incomplete gradients are left behind then.
            TrainingError: if memory runs out in the step of the optimiser.
        """
        self._set_rates(step)
        mine = self._processes.deal(range(len(step.pieces)))
        pieces = self._processes.together(
            lambda: [Piece(next(inputs), piece_seed(self._seed, step.number, place)) for place in mine]
        )
        n_ratings = self._train_loss.count(torch.tensor(step.rows))
        compute = backward_together if self.loss.joins_recordings else backward_apart
        loss = compute(
            pieces,
            self._score,
            lambda raw, rows: self._train_loss(raw, rows).losses.sum(),
            lambda each: torch.autograd.backward(self.scaler.scale(each / n_ratings)),
            self._processes,
        )
        if self.ranks is not None and self._processes.is_first:
            torch.autograd.backward(self.scaler.scale(self.ranks.penalty()))
        self._processes.add_gradients(self.trainable.values())
        is_finite = self._update(loss, step)
        self.optimizer.zero_grad()
        return StepResult(float(loss) if is_finite else 0.0, n_ratings if is_finite else 0, is_finite)

    def _set_rates(self, step: Step) -> None:
        factor = rate_factor(step.number, steps=step.of, warmup=self._settings.warmup, schedule=self._settings.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_rate"] * factor

    def _score(self, piece: Piece) -> Tensor:
        seed_generators(piece.seed)
        device = self._processes.device
        with autocast(device, self._settings.precision):
            raw: Tensor = self._rater(piece.inputs.inputs.to(device))
        return raw.float()

    def _update(self, loss: Tensor, step: Step) -> bool:
        """Change the weights by their gradients, unless these or the loss are not finite; return whether they are."""
        self.scaler.unscale_(self.optimizer)
        if self._settings.clip_norm is not None:
            norm = nn.utils.clip_grad_norm_(self.trainable.values(), self._settings.clip_norm)
        else:
            norm = total_norm(self.trainable.values())
        is_loss_finite, is_norm_finite = are_finite(loss, norm)
        # gradients that overflow because the loss is scaled are the scaler's to leave out, and it lowers the scale
        may_overflow = self.scaler.is_enabled() and self.scaler.get_scale() > 1.0
        if not (is_loss_finite and (is_norm_finite or may_overflow)):
            self.scaler.update(self.scaler.get_scale())
            return False
        with without_smaller_pieces("the step of the optimiser", ADVICE):
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if is_norm_finite:
            if self.ranks is not None:
                self.ranks.after_step(step.number, step.of)
            if self.average is not None:
                self.average.update(step.number)
        return True
