"""A training of toy recordings: settings, raters that train, parts, and a signal in the middle."""

import os
import signal

import torch

from lalia.data.dataset import RecordingDataset
from lalia.model.adapt import adapt_full, freeze_unused
from lalia.progress import Progress
from lalia.settings import TrainSettings
from toy_rater import make_encoder, make_rater

FAST = TrainSettings(
    epochs=3, batch_seconds=2, learning_rate=0.01, encoder_learning_rate=0.003, warmup=0.0, early_stopping=None
)


def settings(**changes):
    return TrainSettings.model_validate(FAST.model_dump() | changes)


def make_trained_rater(adapt=adapt_full, **options):
    encoder = make_encoder()
    torch.manual_seed(2)
    adapt(encoder)
    freeze_unused(encoder, options.get("layers", "last"))
    return make_rater(encoder=encoder, **options)


def make_sets(table, rater):
    train = table.select([True] * 6 + [False] * 2)
    validation = table.select([False] * 4 + [True] * 4)
    return RecordingDataset(train, rater.preprocessing), RecordingDataset(validation, rater.preprocessing)


def without_dropout(rater):
    for module in rater.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for block in rater.encoder.blocks:
        block.attention.dropout = 0.0
    return rater


def state_of(rater):
    return {name: value.clone() for name, value in rater.state_dict().items()}


def moved(before, rater):
    return {name for name, value in rater.state_dict().items() if not torch.equal(before[name], value)}


class SignalAt(Progress):
    """Sends this process a signal after some steps."""

    def __init__(self, step, number=signal.SIGTERM):
        self.left = step
        self.number = number

    def advance(self, note=""):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)
