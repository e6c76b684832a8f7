"""One adaptation on one encoder, trained for ten steps: what it declares, what moves, what comes back from disk."""

from dataclasses import dataclass

import torch

from lalia.data.dataset import RecordingDataset
from lalia.model.adapt import adapt_frozen, adapt_full, adapt_partial
from lalia.model.adapters import adapt_adalora, adapt_ia3, adapt_lora, adapt_soft_prompt
from lalia.model.rater import SpeechRater
from lalia.progress import Progress
from lalia.settings import TrainSettings
from lalia.training.loop import fit
from lalia.training.optimizer import parameter_groups
from toy_data import make_table
from toy_encoders import make_encoder
from toy_rater import make_rater, make_waveform

ADAPTATIONS = {
    "frozen": adapt_frozen,
    "partial": lambda encoder: adapt_partial(encoder, last=1),
    "full": adapt_full,
    "full without the stem": lambda encoder: adapt_full(encoder, train_stem=False),
    "lora": lambda encoder: adapt_lora(encoder, rank=2, dropout=0.1),
    "dora": lambda encoder: adapt_lora(encoder, rank=2, last=2, rslora=True, dora=True),
    "ia3": adapt_ia3,
    "adalora": lambda encoder: adapt_adalora(encoder, rank=2, start_rank=3),
    "soft_prompt": lambda encoder: adapt_soft_prompt(encoder, length=3),
    "deep soft_prompt": lambda encoder: adapt_soft_prompt(encoder, length=3, deep=True),
}
# these change nothing before training
SILENT = ["frozen", "partial", "full", "full without the stem", "lora", "dora", "ia3", "adalora"]
MERGEABLE = ["lora", "dora", "ia3", "adalora"]
STEPS = 10

TRAINING = TrainSettings(
    epochs=STEPS,
    batch_seconds=1000,
    learning_rate=0.01,
    encoder_learning_rate=0.01,
    adapter_learning_rate=0.01,
    warmup=0.0,
    schedule="constant",
    early_stopping=None,
)


@dataclass(frozen=True)
class Outcome:
    """What was seen of one adaptation on one encoder; names are those of the rater's parameters."""

    declared: set[str]
    trainable: set[str]
    in_optimizer: list[str]
    with_gradient: set[str]
    moved: set[str]
    changed_before_training: float
    from_whole_folder: float
    from_changes_alone: float
    after_merging: float | None
    saved_changes: set[str]
    rater: SpeechRater


def check_adaptation(family, name, folder):
    """Train a rater on a small encoder of a family for ten steps, save it both ways, and say what was seen."""
    rater = make_adapted(family, name)
    plain = make_rater(encoder=make_encoder(family), window_seconds=1.0)
    changed_before_training = distance(rater, plain)
    declared = declared_names(rater, family, name)
    groups = parameter_groups(rater, learning_rate=1.0, encoder_learning_rate=1.0, weight_decay=0.0)
    watch = WhatMoves(rater)
    with_gradient = record_gradients(rater)
    table = make_table(folder)
    nothing = RecordingDataset(table.select([False] * len(table.recordings)), rater.preprocessing)
    fit(rater, RecordingDataset(table, rater.preprocessing), nothing, TRAINING, seed=0, progress=watch)
    assert watch.steps == STEPS

    rater.save_pretrained(folder / "whole")
    rater.save_pretrained(folder / "changes", encoder_weights=False)
    whole = SpeechRater.from_pretrained(folder / "whole")
    changes = SpeechRater.from_pretrained(folder / "changes", encoder=make_encoder(family))
    return Outcome(
        declared=declared,
        trainable={key for key, each in rater.named_parameters() if each.requires_grad},
        in_optimizer=[key for group in groups for key in group["names"]],
        with_gradient=with_gradient,
        moved=watch.moved,
        changed_before_training=changed_before_training,
        from_whole_folder=distance(whole, rater),
        from_changes_alone=distance(changes, rater),
        after_merging=distance(whole.merge(), rater) if name in MERGEABLE else None,
        saved_changes=saved_names(folder / "changes"),
        rater=rater,
    )


class WhatMoves(Progress):
    """Collects the names in a rater's state that a step leaves with other values than they had at first."""

    def __init__(self, rater):
        self.rater = rater
        self.before = {key: value.clone() for key, value in rater.state_dict().items()}
        self.moved = set()
        self.steps = 0

    def advance(self, note=""):
        self.steps += 1
        state = self.rater.state_dict()
        self.moved |= {key for key, value in state.items() if not torch.equal(self.before[key], value)}


def make_adapted(family, name):
    torch.manual_seed(0)
    encoder = make_encoder(family)
    ADAPTATIONS[name](encoder)
    return make_rater(encoder=encoder, window_seconds=1.0)


def declared_names(rater, family, name):
    """Return the rater's names of what the adaptation says to train, and of all that stands on the encoder."""
    torch.manual_seed(0)
    paths = ADAPTATIONS[name](make_encoder(family)).trainable
    names = {f"encoder.{path}" if path.startswith("prompt.") else f"encoder.model.{path}" for path in paths}
    return names | {key for key, _ in rater.named_parameters() if not key.startswith("encoder.")}


def record_gradients(rater):
    """Return a set that fills with the names of parameters that get a gradient other than zero."""
    found = set()

    def record(key):
        def hook(parameter):
            if parameter.grad is not None and parameter.grad.any():
                found.add(key)

        return hook

    for key, parameter in rater.named_parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(record(key))
    return found


def distance(rater, other):
    """Return the largest difference between two raters' probabilities and scores."""
    waveforms = [make_waveform(0.9), make_waveform(0.4, seed=1)]
    pairs = zip(rater.score(waveforms), other.score(waveforms), strict=True)
    return max((values - others).abs().max().item() for values, others in pairs)


def saved_names(folder):
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return set(file.keys())
