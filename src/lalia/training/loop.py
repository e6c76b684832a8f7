"""The one training loop: batches to losses to steps, an epoch's validation, the best weights kept as a copy."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from accelerate.utils.memory import clear_device_cache
from torch import Tensor

from lalia.data.dataset import BucketedBatches, RecordingDataset
from lalia.data.read_ahead import naming_dead_workers
from lalia.errors import Stopped, TrainingError, list_some
from lalia.model.rater import SpeechRater
from lalia.processes import Processes, join_processes
from lalia.progress import Progress
from lalia.settings import TrainSettings
from lalia.training.checkpoint import (
    Checkpoint,
    Position,
    checkpoint_bytes,
    load_checkpoint,
    restore_optimizer,
    save_checkpoint,
)
from lalia.training.checkpoint_folder import warn_of_space
from lalia.training.finite import MOST_IN_A_ROW
from lalia.training.generators import restore_generators, seed_generators
from lalia.training.history import Row, finite_values, improves, in_words, largest_rates, watched
from lalia.training.interrupt import StopRequest, stop_requests
from lalia.training.memory import ADVICE, PieceTooLarge, smaller_piece, without_smaller_pieces
from lalia.training.pace import memory_in_words, pace_in_words
from lalia.training.pieces import CPU_PIECE_SECONDS, in_groups, split_rows, windows_within
from lalia.training.reader import InputReader
from lalia.training.step import Step, Stepper
from lalia.training.trackers import Trackers
from lalia.training.unfreezing import GradualUnfreezing
from lalia.training.validation import validate, why_undefined
from lalia.training.weights import ChangingWeights


@dataclass(frozen=True)
class FitResult:
    """What a training came to; the rater itself holds the best weights.

    Attributes:
        history: a row per epoch: losses, validation metrics, rates, seconds.
        best_epoch: the epoch of the best weights, from 1.
        stopped: why training ended, in words.
        best: the weights of the best epoch, those that can change, or their average where there is one.
        last: those of the last epoch, likewise.
        batch_seconds: of audio that was computed at once, at most: that of the settings, or less if memory ran out.
        warnings: what a user should know of how it went.
    """

    history: tuple[Row, ...]
    best_epoch: int
    stopped: str
    best: dict[str, Tensor]
    last: dict[str, Tensor]
    batch_seconds: float
    warnings: tuple[str, ...] = ()


def fit(
    rater: SpeechRater,
    train: RecordingDataset,
    validation: RecordingDataset,
    settings: TrainSettings,
    *,
    seed: int,
    reader: InputReader | None = None,
    checkpoints: Path | None = None,
    resume: bool = False,
    run_id: str = "",
    progress: Progress | None = None,
    trackers: Trackers | None = None,
    processes: Processes | None = None,
    after_save: Callable[[], None] | None = None,
) -> FitResult:
    """Train a rater and leave it with the weights of its best epoch.

    The best epoch is the one with the lowest validation loss, or the best validation metric of
    ``settings.early_stopping``; without a validation part, or where the metric is undefined in every epoch, it is the
    last one. A value that is not a number is never the best. Losses are averaged over the valid ratings of all batches
    of a step. Where memory runs out in a step, it is done again in smaller pieces, and so are all that follow; the
    recordings of a step stay the same.

    Args:
        rater: adapted already: what has ``requires_grad`` trains.
        train: the training part; each recording has a rating.
        validation: the validation part, may be empty.
        settings: how to train.
        seed: of the order of the recordings and of dropout.
        reader: of this rater; one with a store has what is frozen computed once. None computes all in every epoch.
        checkpoints: a folder for the training state, written after each epoch and on a signal; None writes none.
        resume: go on from the newest checkpoint there, if any.
        run_id: stands in each checkpoint; one with another id is not gone on from.
        progress: is told of each step and epoch.
        trackers: get the rows of the history.
        processes: which train together, each calling this with the same arguments; the first one alone writes and
            tells. None: those that this one was started with.
        after_save: is called by the first process after each checkpoint.

    Raises:
        TrainingError: if nothing trains, there is nothing to train on, the loss stays not finite, or there is not
            enough memory for one recording.
        AudioError: names recordings that cannot be read, or at which a worker died.
        Stopped: on Ctrl-C, SIGTERM or SIGUSR1, after the state is saved.
    """
    processes = processes or join_processes()
    reader = reader or InputReader(rater, workers=settings.workers, processes=processes)
    shown = (progress or Progress(), trackers or Trackers()) if processes.is_first else (Progress(), Trackers())
    session = _Session(rater, train, validation, settings, seed, reader, checkpoints, run_id, *shown, processes)
    session.after_save = after_save or session.after_save
    session.prepare_checkpoints(resume)
    try:
        session.trackers.begin(session.position.history)
        with stop_requests() as request, naming_dead_workers():
            stopped = session.run(request)
    finally:
        session.trackers.finish()
        session.unfreezing.end()
    with session.averaged():
        last = session.weights.copy()
    best = session.best or last
    session.weights.load(best)
    rater.eval()
    warnings = () if session.best else (session.take_last_as_best(),)
    position = session.position
    history = tuple(position.history)
    return FitResult(history, position.best_epoch, stopped, best, last, session.batch_seconds, warnings)


class _Session:
    """The objects of one training, and its position."""

    def __init__(
        self,
        rater: SpeechRater,
        train: RecordingDataset,
        validation: RecordingDataset,
        settings: TrainSettings,
        seed: int,
        reader: InputReader,
        checkpoints: Path | None,
        run_id: str,
        progress: Progress,
        trackers: Trackers,
        processes: Processes,
    ) -> None:
        if not len(train):
            raise TrainingError("The training part has no rated recording.")
        self.unfreezing = GradualUnfreezing(rater.encoder, settings.unfreeze_every)
        if rater.encoder.ranks is not None and settings.unfreeze_every is not None:
            raise TrainingError("AdaLoRA shares its ranks among all blocks: train them all, with unfreeze_every null.")
        rater.windows_at_once = windows_within(settings.batch_seconds, train.preprocessing)
        rater.encoder.checkpoints_gradients = settings.gradient_checkpointing
        seed_generators(seed)
        self.rater = rater.to(processes.device)
        self.stepper = Stepper(rater, train, settings, seed, processes)
        self.weights = ChangingWeights(rater)
        self.validation = validation
        self.settings = settings
        self.reader = reader
        self.checkpoints = checkpoints
        self.run_id = run_id
        self.progress = progress
        self.trackers = trackers
        self.processes = processes
        self.dataset = train
        self.batches = BucketedBatches(
            train.recordings,
            train.seconds,
            batch_seconds=settings.batch_seconds,
            seed=seed,
            shuffle=True,
            preprocessing=train.preprocessing,
        )
        self.position = Position()
        self.best: dict[str, Tensor] = {}
        self.skipped_last = ""
        self.after_save: Callable[[], None] = lambda: None
        self.steps = sum(self._steps_in(epoch) for epoch in range(1, settings.epochs + 1))

    def _steps_in(self, epoch: int) -> int:
        self.batches.set_epoch(epoch)
        return math.ceil(len(self.batches) / self.settings.accumulate)

    def prepare_checkpoints(self, resume: bool) -> None:
        """Go back to the newest checkpoint, if there is one; warn if there is little room for new ones."""
        folder = self.checkpoints
        found = None if folder is None else self.processes.ask_first(lambda: self._find_checkpoint(folder, resume))
        if found is None:
            return
        self.position = found.position
        self.best = found.best
        self.rater.windows_at_once = windows_within(self.batch_seconds, self.dataset.preprocessing)
        self.weights.load(found.model)
        stepper = self.stepper
        restore_optimizer(stepper.optimizer, found.optimizer)
        if stepper.ranks is not None:
            stepper.ranks.restore(found.adaptation, self.steps)
        if stepper.average is not None:
            stepper.average.restore(found.average)
        if self.position.loss_scale:
            stepper.scaler.load_state_dict(self.position.loss_scale)
        restore_generators(found.generators)
        self.progress.say(f"Resuming in epoch {self.position.epoch}, after step {self.position.step}.")

    def _find_checkpoint(self, folder: Path, resume: bool) -> Checkpoint | None:
        if not resume and any(folder.glob("step-*")):
            raise TrainingError(f"'{folder}' holds an earlier training. Resume it, or give another folder.")
        trainable = sum(each.nbytes for each in self.stepper.trainable.values())
        warning = warn_of_space(folder, checkpoint_bytes(self.weights.copy(), trainable))
        if warning:
            self.progress.say(f"Note: {warning}")
        return load_checkpoint(folder, run=self.run_id) if resume else None

    def run(self, request: StopRequest) -> str:
        """Train the epochs that are left and say why training ended."""
        self.reader.fill(self.validation, self.progress)
        while self.position.epoch <= self.settings.epochs:
            patience = self.settings.early_stopping.patience if self.settings.early_stopping else None
            if patience is not None and self.position.stale_epochs >= patience:
                return f"no improvement for {patience} epochs"
            self._train_epoch(request)
            self._end_epoch()
            self._save_or_stop(request)
        return f"all {self.settings.epochs} epochs"

    def _train_epoch(self, request: StopRequest) -> None:
        position = self.position
        self.unfreezing.begin_epoch(position.epoch)
        self.rater.train()
        self.dataset.set_epoch(position.epoch)
        self.reader.fill(self.dataset, self.progress)
        steps = self._steps_in(position.epoch)
        self.progress.start(f"epoch {position.epoch} of {self.settings.epochs}", steps)
        begun = time.perf_counter() - position.seconds
        while position.batch < len(self.batches):
            too_large = self._train_steps(request, begun)
            if too_large:
                self._compute_less_at_once(too_large)

    def _train_steps(self, request: StopRequest, begun: float) -> list[int]:
        """Take the steps that are left in the epoch; return the rows with which memory ran out before a step was done.

        Such a step leaves nothing behind but incomplete gradients.
        """
        position = self.position
        steps_left = in_groups(list(self.batches)[position.batch :], self.settings.accumulate)
        pieces = [self._pieces(group) for group in steps_left]
        mine = itertools.chain.from_iterable(self.processes.deal(of_step) for of_step in pieces)
        inputs = self.reader.read(self.dataset, list(mine))
        audio_seconds = sum(
            self.dataset.seconds[row] for batch in list(self.batches)[: position.batch] for row in batch
        )
        for group, of_step in zip(steps_left, pieces, strict=True):
            step = Step(position.step, self.steps, of_step)
            try:
                result = self.stepper.take(step, inputs)
            except PieceTooLarge as error:
                return error.rows
            if result.is_finite:
                position.loss_sum += result.loss_sum
                position.n_ratings += result.n_ratings
                position.skipped_in_a_row = 0
            else:
                self._note_skipped([self.dataset.recordings[row] for row in step.rows])
            position.batch += len(group)
            position.step += 1
            position.seconds = time.perf_counter() - begun
            audio_seconds += sum(self.dataset.seconds[row] for row in step.rows)
            self.progress.advance(self._pace(audio_seconds))
            self._stop_if_none_is_finite(ends_epoch=False)
            # after the last step the epoch is ended first, so that a resumed run validates it only once
            if self._signal(request) and position.batch < len(self.batches):
                self._save_or_stop(request)
        return []

    def _signal(self, request: StopRequest) -> int:
        """Return which signal asked any of the processes to stop, 0 for none."""
        return self.processes.largest(request.signal_number)

    def _pace(self, audio_seconds: float) -> str:
        position = self.position
        steps_done = math.ceil(position.batch / self.settings.accumulate)
        return pace_in_words(
            loss=position.loss_sum / max(position.n_ratings, 1),
            rates=largest_rates(self.stepper.optimizer.param_groups),
            audio_seconds=audio_seconds,
            seconds=position.seconds,
            seconds_left=(self.steps - position.step) * position.seconds / steps_done,
            memory=memory_in_words(self.processes.device),
        )

    def _compute_less_at_once(self, rows: list[int]) -> None:
        """Compute less audio at once from here on, after memory ran out with some recordings."""
        self.stepper.optimizer.zero_grad()
        clear_device_cache(garbage_collection=True)
        rater, position, preprocessing = self.rater, self.position, self.dataset.preprocessing
        assert rater.windows_at_once is not None
        seconds = [self.dataset.seconds[row] for row in rows]
        where = f"in epoch {position.epoch}, step {position.step + 1}"
        position.piece_seconds = smaller_piece(seconds, rater.windows_at_once, preprocessing)
        if position.piece_seconds is None:
            name = self.dataset.recordings[rows[0]]
            raise TrainingError(f"Memory ran out {where}, with recording '{name}' alone ({seconds[0]:.1f} s). {ADVICE}")
        rater.windows_at_once = windows_within(position.piece_seconds, preprocessing)
        self.progress.say(
            f"Memory ran out {where}: from here on at most {position.piece_seconds:.1f} s of audio are computed at"
            " once. The recordings of a step stay the same."
        )

    @property
    def batch_seconds(self) -> float:
        """The seconds of audio that are computed at once, at most, if no recording alone is longer."""
        return self.position.piece_seconds or self.settings.batch_seconds

    def _pieces(self, group: Sequence[list[int]]) -> list[list[int]]:
        """Return the rows of a step's batches as they are computed at once.

        On a CPU that is a few recordings, which is faster and takes less memory; other devices get a part each.
        """
        if self.processes.device.type != "cpu":
            total = sum(self.dataset.seconds[row] for batch in group for row in batch)
            most = total / self.processes.count if len(group) < self.processes.count else math.inf
        else:
            most = math.inf if self.reader.gives_vectors(self.dataset) else CPU_PIECE_SECONDS
        most = min(most, self.position.piece_seconds or math.inf)
        return [piece for batch in group for piece in split_rows(batch, self.dataset.seconds, most)]

    def _note_skipped(self, recordings: list[str]) -> None:
        """Name the recordings of a step whose loss or gradient is not finite."""
        position = self.position
        position.skipped += 1
        position.skipped_in_a_row += 1
        self.skipped_last = f"epoch {position.epoch}, step {position.step + 1} (recordings {list_some(recordings)})"
        self.progress.say(f"Note: the loss or its gradient is not finite in {self.skipped_last}: the step is left out.")

    def _stop_if_none_is_finite(self, *, ends_epoch: bool) -> None:
        """End a training of which one step after the other is left out.

        Raises:
            TrainingError: names the recordings of the last one.
        """
        position = self.position
        if position.skipped_in_a_row < MOST_IN_A_ROW and not (ends_epoch and position.n_ratings == 0):
            return
        in_a_row, position.skipped_in_a_row = position.skipped_in_a_row, 0
        saved = ""
        if self.checkpoints is not None and not ends_epoch:
            self._save(self.checkpoints)
            saved = "The state without them is saved: --resume goes on from it. "
        raise TrainingError(
            f"The training loss or its gradient was not finite in {in_a_row} steps in a row, the last in "
            f"{self.skipped_last}. {saved}Lower train.learning_rate, or look at these recordings."
        )

    def _end_epoch(self) -> None:
        """Validate, add a row to the history, keep the weights if they are the best, go to the next epoch."""
        self._stop_if_none_is_finite(ends_epoch=True)
        position = self.position
        row: Row = {"epoch": position.epoch, "train_loss": position.loss_sum / position.n_ratings}
        if len(self.validation):
            with self.averaged(), without_smaller_pieces("validation", "Lower train.batch_seconds."):
                values = validate(
                    self.rater, self.validation, self.settings, self.reader, self.stepper.loss, self.processes
                )
            row |= finite_values(values)
        row["skipped_steps"] = position.skipped
        row |= largest_rates(self.stepper.optimizer.param_groups)
        row["batch_seconds"] = self.batch_seconds
        row["seconds"] = round(position.seconds, 3)
        row["audio_seconds_per_second"] = round(sum(self.dataset.seconds) / max(position.seconds, 1e-9), 1)
        value = watched(row, self.settings.early_stopping)
        is_best = not len(self.validation) or improves(value, position.best_value, self.settings.early_stopping)
        row["is_best"] = is_best
        if is_best:
            position.best_epoch, position.best_value, position.stale_epochs = position.epoch, value, 0
            with self.averaged():
                self.best = self.weights.copy()
        elif value is not None:
            position.stale_epochs += 1
        position.history.append(row)
        position.epoch += 1
        position.batch, position.loss_sum, position.n_ratings, position.seconds, position.skipped = 0, 0.0, 0, 0.0, 0
        self.trackers.log(row)
        self.progress.say(in_words(row, self.settings.early_stopping, position.stale_epochs))

    def take_last_as_best(self) -> str:
        """Count the last epoch as the best, because no epoch had a value to choose by, and say why."""
        name = self.settings.early_stopping.metric if self.settings.early_stopping else "loss"
        self.position.best_epoch = len(self.position.history)
        self.position.history[-1]["is_best"] = True
        reason = why_undefined(self.rater, self.validation, self.settings, name, self.reader, self.processes)
        warning = (
            f"train.early_stopping.metric: validation_{name} was undefined in every epoch ({reason}), so nothing could "
            f"stop training early and the weights of the last epoch, {self.position.best_epoch}, are kept."
        )
        self.progress.say(f"Note: {warning}")
        return warning

    def _save_or_stop(self, request: StopRequest) -> None:
        if self.checkpoints is not None:
            self._save(self.checkpoints)
        signal_number = self._signal(request)  # it may come during the save
        if signal_number:
            saved = "The state is saved: go on with --resume." if self.checkpoints else "No state was saved."
            raise Stopped(f"Stopped in epoch {self.position.epoch}. {saved}", signal_number)

    def _save(self, folder: Path) -> None:
        stepper = self.stepper
        self.position.loss_scale = stepper.scaler.state_dict()

        def save() -> None:
            save_checkpoint(
                folder,
                self.position,
                run=self.run_id,
                model=self.weights.copy(),
                best=self.best,
                optimizer=stepper.optimizer,
                adaptation={} if stepper.ranks is None else stepper.ranks.state(),
                average={} if stepper.average is None else stepper.average.state(),
            )
            self.after_save()

        self.processes.ask_first(save)

    def averaged(self) -> AbstractContextManager[None]:
        """Give the rater the average of its weights for a while, where there is one."""
        return nullcontext() if self.stepper.average is None else self.stepper.average.in_place()
