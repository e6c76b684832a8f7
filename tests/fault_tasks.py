"""What the processes of fault_processes do: train a tiny rater, or run a command, with a fault built in."""

import json
import logging
import os
import resource
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.data import get_worker_info

import lalia.build
import lalia.cli
import lalia.data.dataset as dataset_module
import lalia.files
import lalia.report.page
import lalia.resuming
import lalia.run
import lalia.terminal
import lalia.training.checkpoint as checkpoint
import lalia.training.checkpoint_folder as checkpoint_folder
import lalia.training.reader as reader_module
import lalia.training.step as step
import lalia.training.whole_batch as whole_batch
from lalia.data.audio import scan_recordings
from lalia.data.augment import Augmentation, Step
from lalia.data.dataset import RecordingDataset
from lalia.errors import LaliaError, Stopped
from lalia.model.adapt import adapt_full, adapt_partial, freeze_unused
from lalia.model.saved_rater import hash_weights
from lalia.progress import Progress
from lalia.settings import EarlyStopping, TrainSettings
from lalia.training.cache import ActivationStore
from lalia.training.loop import fit
from lalia.training.reader import InputReader
from toy_data import make_table
from toy_rater import make_encoder, make_rater

torch.set_num_threads(1)

SETTINGS = TrainSettings(
    epochs=3, batch_seconds=0.5, learning_rate=0.01, encoder_learning_rate=0.003, early_stopping=None
)


def train(
    folder,
    *,
    resume=False,
    workers=0,
    augment=False,
    cache=False,
    fault=None,
    epochs=3,
    run_id="r",
    size=None,
    patience=None,
    clock=None,
    batch_seconds=0.5,
    precision="float32",
):
    """Train, and write a hash of all that came of it to ``result.json``.

    Args:
        folder: for recordings, checkpoints and cache.
        resume: go on.
        workers: that read ahead.
        augment: distort the training part, in views where there is a cache.
        cache: keep what is frozen; all but the last block then is.
        fault: what goes wrong, a name and its arguments, such as ``{"kill_after_step": 3}``.
        epochs: to train.
        run_id: of the checkpoints.
        size: the bytes that a file may have, as on a disk that is full.
        patience: of early stopping.
        clock: the seconds that the clock is set forward.
        batch_seconds: of audio in a batch: 0.5 gives each recording a batch of its own.
        precision: of the forward pass.
    """
    changes = {"workers": workers, "epochs": epochs, "batch_seconds": batch_seconds, "precision": precision}
    _set_clock(clock)
    folder = Path(folder)
    progress = Faults(fault or {}, folder)
    encoder = make_encoder()
    if cache:
        adapt_partial(encoder, last=1)
    else:
        adapt_full(encoder)
    freeze_unused(encoder, "last")
    rater = make_rater(encoder=encoder)
    if "memory" in progress.fault:
        _limit_memory(rater, **progress.fault["memory"])
    table = _table(folder / "audio", rater)
    train_table = table.select([True] * 6 + [False] * 2)
    validation = table.select([False] * 4 + [True] * 4)
    steps = (Step("noise", options={"snr_db": (0.0, 10.0), "color": "white"}), Step("mix", options={"snr_db": (5, 5)}))
    augmentation = Augmentation(steps, seed=1, views=2 if cache else None) if augment else None
    store = ActivationStore(folder / "cache") if cache else None
    early_stopping = EarlyStopping(patience=patience) if patience else None
    progress.arm()
    if size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        result = fit(
            rater,
            RecordingDataset(train_table, rater.preprocessing, augmentation),
            RecordingDataset(validation, rater.preprocessing),
            SETTINGS.model_copy(update=changes | {"early_stopping": early_stopping}),
            seed=5,
            reader=InputReader(rater, store, workers=workers),
            checkpoints=folder / "checkpoints",
            resume=resume,
            run_id=run_id,
            progress=progress,
        )
    except Stopped as stopped:
        sys.exit(128 + stopped.signal_number)
    except LaliaError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(2)
    told = [{name: value for name, value in row.items() if "second" not in name} for row in result.history]
    found = {"last": hash_weights(result.last), "best": hash_weights(result.best), "history": told}
    (folder / "result.json").write_text(json.dumps(found | {"events": progress.events}))


def command(*arguments, fault=None, keeps_capabilities=True, clock=None, packages=None):
    """Run a command of lalia, where asked for with a folder of packages before all others."""
    if packages is not None:
        sys.path.insert(0, packages)
    if not keeps_capabilities:
        _drop_capabilities()
    _set_clock(clock)
    Faults(fault or {}, Path()).arm()
    sys.argv = ["lalia", *arguments]
    lalia.cli.main()


def validate_again(run, config, overrides):
    """Print the validation part's metrics of a saved rater, computed anew."""
    from lalia.config import load_config
    from lalia.model.rater import SpeechRater
    from lalia.prepare import prepare
    from lalia.training.reader import open_reader
    from lalia.training.validation import validate

    settings = load_config(config, overrides)
    rater = SpeechRater.from_pretrained(run)
    prepared = prepare(settings, None, rater)
    dataset = RecordingDataset(prepared.part("validation", rated=True), rater.preprocessing)
    print(json.dumps(validate(rater, dataset, settings.train, open_reader(rater, settings.cache))))


class Faults(Progress):
    """Kills this process, or breaks something, at a given moment."""

    def __init__(self, fault, folder):
        self.fault = fault
        self.folder = folder
        self.steps = 0
        self.trains = False
        self.ended_epochs = 0
        self.events = 0
        self._save = 0

    def arm(self):
        if "kill_at_event" in self.fault or "count_events" in self.fault:
            self._watch_saves()
        if "signal_after_save" in self.fault:
            _send_after_save(*self.fault["signal_after_save"])
        if "loss_at_steps" in self.fault:
            _break_losses(self.fault["loss_at_steps"], float(self.fault["loss"]))
        if "gradient_at_steps" in self.fault:
            _break_gradients(self.fault["gradient_at_steps"], float(self.fault["gradient"]))
        if "validation" in self.fault:
            _break_validation([float(value) for value in self.fault["validation"]])
        if "reading" in self.fault:
            _break_reading(*self.fault["reading"])
        if "joining" in self.fault:
            _kill_at_joining(self.fault["joining"])

    def advance(self, note=""):
        if not self.trains:
            return
        self.steps += 1
        if self.steps == self.fault.get("kill_after_step"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.steps == self.fault.get("stop_after_step"):
            os.kill(os.getpid(), signal.SIGTERM)
        (self.folder / "steps").write_text(str(self.steps))
        time.sleep(self.fault.get("sleep", 0.0))

    def start(self, title, total):
        self.trains = title.startswith("epoch ")
        if title.startswith(f"epoch {self.fault.get('kill_before_epoch', 0)} "):
            os.kill(os.getpid(), signal.SIGKILL)

    def say(self, line):
        sys.stderr.write(f"{line}\n")
        self.ended_epochs += line.startswith("epoch")
        if self.ended_epochs == self.fault.get("kill_at_end_of_epoch"):
            os.kill(os.getpid(), signal.SIGKILL)

    def _watch_saves(self):
        """Count what is done to files during the second save, and be killed before one of them."""
        whole = checkpoint.write_checkpoint

        def write_checkpoint(*arguments, **options):
            self._save += 1
            return whole(*arguments, **options)

        checkpoint.write_checkpoint = write_checkpoint
        # the third: the one that deletes an old one
        for holder, name in (
            (checkpoint_folder, "save_file"),
            (checkpoint_folder, "write_json"),
            (os, "fsync"),
            (Path, "replace"),
            (shutil, "rmtree"),
        ):
            setattr(holder, name, self._watched(getattr(holder, name)))

    def _watched(self, function):
        def watched(*arguments, **options):
            self._count()
            found = function(*arguments, **options)
            self._count()
            return found

        return watched

    def _count(self):
        if self._save != self.fault["save"]:
            return
        self.events += 1
        if self.events == self.fault.get("kill_at_event"):
            os.kill(os.getpid(), signal.SIGKILL)


def _table(folder, rater):
    if not folder.exists():
        folder.mkdir(parents=True)
        make_table(folder)
    table = make_table(folder)
    scan = scan_recordings(table.recordings, rater.preprocessing, min_seconds=0.025)
    kept = table.recordings.drop(columns="duration_seconds")
    return replace(table, recordings=kept).add_columns(scan[["recording", "duration_seconds", "sha256"]])


def _send_after_save(count, number):
    whole, saves = checkpoint.write_checkpoint, []

    def write_checkpoint(*arguments, **options):
        saves.append(whole(*arguments, **options))
        if len(saves) == count:
            os.kill(os.getpid(), number)
        return saves[-1]

    checkpoint.write_checkpoint = write_checkpoint


def _break_losses(steps, value):
    _change_loss(steps, lambda loss: loss * value)


def _break_gradients(steps, value):
    def change(loss):
        loss.register_hook(lambda gradient: gradient * value)
        return loss

    _change_loss(steps, change)


def _change_loss(steps, change):
    """Change the loss of each piece of some steps, counted from 1."""
    whole, taken = step.Stepper.take, []

    def take(stepper, asked, inputs):
        taken.append(asked.number + 1)
        return whole(stepper, asked, inputs)

    def backward_apart(pieces, score, loss, *others):
        def changed(raw, rows):
            return change(loss(raw, rows)) if taken[-1] in steps else loss(raw, rows)

        return whole_batch.backward_apart(pieces, score, changed, *others)

    step.Stepper.take, step.backward_apart = take, backward_apart


def _limit_memory(rater, most, *, training=True, error="CUDA out of memory."):
    """Let forward passes of more than so many recordings fail, in training or in validation."""

    def check(module, given, raw):
        if rater.training == training and len(raw) > most:
            raise RuntimeError(error)

    rater.register_forward_hook(check)


def _break_validation(values):
    from lalia.training import loop

    left = iter(values)
    loop.validate = lambda *_: {"validation_loss": next(left)}


def _break_reading(recording, how):
    """Break the reading of a recording's file, or of its entry in a cache."""
    decode, look_up, find = dataset_module.load_waveform, reader_module.load_entries, reader_module.find_keys
    keys_of = set()

    def break_off():
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("broken on purpose")

    def load_waveform(path, preprocessing, sha256=None):
        if Path(path).stem == recording:
            break_off()
        return decode(path, preprocessing, sha256)

    def find_keys(part, dataset):
        keys = find(part, dataset)
        keys_of.update(keys[row] for row, name in enumerate(dataset.recordings) if name == recording)
        return keys

    def load_entries(store, keys):
        if keys in keys_of:
            break_off()
        return look_up(store, keys)

    dataset_module.load_waveform = load_waveform
    reader_module.find_keys, reader_module.load_entries = find_keys, load_entries


def _kill_at_joining(recording):
    whole = dataset_module.collate

    def collate(items):
        # recording rN is row N of the training part
        if get_worker_info() is not None and int(recording[1:]) in [item.row for item in items]:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(items)

    dataset_module.collate = collate


def _set_clock(seconds):
    if seconds is not None:
        real, real_ns = time.time, time.time_ns
        time.time = lambda: real() + seconds
        time.time_ns = lambda: real_ns() + int(seconds * 1e9)


def _drop_capabilities():
    """Have the superuser obey the modes of files, as others do."""
    import ctypes

    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    nothing = (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None, use_errno=True).capset(header, nothing) == 0


logging.basicConfig(level=logging.WARNING, format="%(message)s")
