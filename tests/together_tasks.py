"""What each of several processes does that train one rater together, and one process alone as well.

    torchrun --nproc-per-node 2 together_tasks.py FOLDER CASE...

``stop@PLACE`` and ``resume@PLACE`` have their checkpoints in a folder of that name; ``finished`` goes on with the run
whose config.yaml lies in that folder.

Writes what each process came to into ``FOLDER/<case>-<process>of<processes>.json``.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from lalia import run
from lalia.config import load_config
from lalia.data.audio import scan_recordings
from lalia.data.augment import Augmentation, Step
from lalia.data.dataset import RecordingDataset
from lalia.errors import AudioError, LaliaError, Stopped
from lalia.evaluation.predict import predict
from lalia.model.adapt import adapt_frozen, adapt_full, adapt_partial
from lalia.model.adapters import adapt_adalora, adapt_lora, adapt_soft_prompt
from lalia.model.saved_rater import hash_weights
from lalia.processes import join_processes
from lalia.progress import Progress
from lalia.settings import RankSettings
from lalia.training import loop
from lalia.training.cache import ActivationStore
from lalia.training.reader import InputReader
from toy_data import make_table
from toy_training import make_trained_rater, settings

COUNT = 9  # recordings: what two processes cannot share evenly
PIECE_SECONDS = 0.7  # of a step that are computed at once

# how to adapt, options of the rater, settings
TRAININGS = {
    "full": (adapt_full, {}, {}),
    "accumulated": (adapt_full, {}, {"batch_seconds": 0.8, "accumulate": 3, "ema": {"decay": 0.5}}),
    "ranked": (adapt_full, {}, {"loss": {"rank": RankSettings().model_dump()}}),
    "concordance": (adapt_full, {"kind": "regression"}, {"loss": {"regression": "concordance"}}),
    "gradual": (adapt_full, {}, {"unfreeze_every": 1}),
    "lora": (adapt_lora, {}, {}),
    "adalora": (lambda encoder: adapt_adalora(encoder, rank=1, start_rank=3), {}, {}),
    "soft prompt": (adapt_soft_prompt, {}, {}),
    "one recording in a step": (adapt_full, {}, {"batch_seconds": 0.1}),
    "rare ratings": (adapt_full, {}, {"batch_seconds": 0.7}),
    "cached frames": (lambda encoder: adapt_partial(encoder, last=1), {}, {}),
    "cached vectors": (adapt_frozen, {}, {}),
    "augmented": (adapt_full, {}, {}),
}


def train(folder, case, *, spoil=None, checkpoints=None, resume=False):
    """Train as a case says and return what this process came to."""
    processes = join_processes()
    adapt, of_rater, changes = TRAININGS.get(case, TRAININGS["full"])
    rater = make_trained_rater(adapt, **of_rater)
    audio = folder / f"audio-{processes.count}-{processes.index}-{case}"
    audio.mkdir(parents=True, exist_ok=True)
    table = make_table(audio, COUNT)
    if case == "rare ratings":
        table.ratings.iloc[1:-2] = float("nan")
    scan = scan_recordings(table.recordings, rater.preprocessing, min_seconds=0.025)
    table.recordings["sha256"] = scan["sha256"]
    noise = Augmentation((Step("noise", options={"snr_db": (0.0, 10.0), "color": "white"}),), seed=1)
    train_set = RecordingDataset(table, rater.preprocessing, noise if case == "augmented" else None)
    validation = RecordingDataset(table.select([row < 5 for row in range(COUNT)]), rater.preprocessing)
    store = ActivationStore(folder / f"cache-{processes.count}-{case}") if "cached" in case else None
    reader = InputReader(rater, store, processes=processes)
    if spoil is not None:
        spoil(rater, train_set)
    result = loop.fit(
        rater,
        train_set,
        validation,
        settings(**changes),
        seed=5,
        reader=reader,
        checkpoints=checkpoints,
        resume=resume,
        processes=processes,
    )
    scores = predict(rater, table.recordings, processes=processes)
    return {
        "history": [{name: value for name, value in row.items() if "second" not in name} for row in result.history],
        "batch_seconds": result.batch_seconds,
        "last": hash_weights(result.last),
        "weights": {name: value.flatten()[:50].tolist() for name, value in result.last.items()},
        "computed": reader.computed,
        "scores": scores["score"].tolist(),
        "recordings": scores["recording"].tolist(),
    }


def run_out_of_memory(rater, dataset):
    """Let memory run out in the last process alone, with more than one recording."""
    if join_processes().index == join_processes().count - 1:

        def check(rater, given, raw):
            if rater.training and len(raw) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        rater.register_forward_hook(check)


def break_recording(rater, dataset):
    """Let the last process alone meet a recording that it cannot read."""
    if join_processes().index == join_processes().count - 1:

        def load(row):
            raise AudioError(f"Recording '{dataset.recordings[row]}': it is gone.")

        dataset._load = load


def stop(folder, checkpoints):
    """Train until the last process gets a signal."""
    whole, taken = loop.Stepper.take, []
    is_last = join_processes().index == join_processes().count - 1

    def take(stepper, step, inputs):
        result = whole(stepper, step, inputs)
        taken.append(step.number)
        if is_last and len(taken) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    loop.Stepper.take = take
    try:
        return train(folder, "full", checkpoints=checkpoints)
    except Stopped as stopped:
        return {"stopped": stopped.signal_number, "said": str(stopped)}
    finally:
        loop.Stepper.take = whole


class Said(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def do(folder, case):
    """Do what a case says and return what is to be told of it."""
    what, _, place = case.partition("@")
    match what:
        case "stop":
            return stop(folder, folder / place)
        case "resume":
            return train(folder, "full", checkpoints=folder / place, resume=True)
        case "little memory":
            return train(folder, case, spoil=run_out_of_memory)
        case "unreadable":
            try:
                return train(folder, case, spoil=break_recording)
            except LaliaError as error:
                return {"error": f"{type(error).__name__}: {error}"}
        case "finished":
            said = Said()
            run.train(load_config(folder / "finished" / "config.yaml"), resume=True, progress=said)
            return {"said": said.lines}
        case _:
            return train(folder, case)


def do_all(folder, *cases):
    """Do all cases, one after the other."""
    processes = join_processes()
    for case in cases:
        found = do(folder, case)
        (folder / f"{case}-{processes.index}of{processes.count}.json").write_text(json.dumps(found))


def main(folder, *cases):
    """Do all cases in a process of its own."""
    torch.set_num_threads(1)
    loop.CPU_PIECE_SECONDS = PIECE_SECONDS
    do_all(Path(folder), *cases)


if __name__ == "__main__":
    main(*sys.argv[1:])
