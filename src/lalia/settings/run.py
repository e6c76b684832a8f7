"""Settings of a run as a whole: how it trains, what its report shows, and all the others."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from lalia.settings.adapt import AdaLoraAdapt
from lalia.settings.augment import AugmentSettings, read_augment
from lalia.settings.base import (
    Count,
    NotNegative,
    OpenFraction,
    Positive,
    Settings,
)
from lalia.settings.data import AudioSettings, DataSettings, RandomSplit, SplitSettings
from lalia.settings.head import RegressionHead
from lalia.settings.loss import LossSettings
from lalia.settings.model import ModelSettings


class EarlyStopping(Settings):
    """When to stop and which epoch is the best."""

    metric: Literal["loss", "auc", "average_precision", "balanced_accuracy", "spearman", "pearson", "mae", "qwk"] = (
        "loss"
    )
    """The validation quantity, a macro mean over traits where it is a metric."""
    patience: Count = 5
    """Stop after this many epochs without improvement."""


class TrainSettings(Settings):
    """How the rater is trained."""

    epochs: Count = 30
    """Passes over the training part, at most."""
    batch_seconds: Positive = 120.0
    """Seconds of audio in a batch, padding included; a longer recording is a batch of its own, and its windows are
    encoded as many at once as this holds."""
    accumulate: Count = 1
    """Batches per optimiser step."""
    learning_rate: NotNegative = 1e-3
    """The rate of everything but the encoder."""
    encoder_learning_rate: NotNegative = 1e-5
    """The rate of the encoder's own weights, those that train."""
    adapter_learning_rate: NotNegative = 1e-3
    """The rate of adapters and soft prompts, which start from nothing as the head does."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """The rates in the encoder fall by this factor from each block to the one below it, and to the stem; 1: all are
    the same."""
    unfreeze_every: Count | None = None
    """Gradual unfreezing: of what is to train in the encoder, the highest block begins, and the next one below joins
    after every so many epochs; null trains all from the start."""
    weight_decay: NotNegative = 0.01
    """AdamW's decay, not on norms, biases and mixes."""
    schedule: Literal["cosine", "linear", "constant", "exponential"] = "cosine"
    """How the rates fall after the warm-up, counted in optimiser steps."""
    warmup: OpenFraction = 0.1
    """The share of steps in which the rates rise."""
    clip_norm: Positive | None = 1.0
    """The largest gradient norm; null clips nothing."""
    loss: LossSettings = LossSettings()
    early_stopping: EarlyStopping | None = EarlyStopping()
    """Null trains all epochs and keeps the one with the lowest validation loss."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read ahead; 0 reads in a thread of this one."""
    gradient_checkpointing: bool = False
    """Whether the blocks that train are computed again in the backward pass: less memory, about a third more time."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """The arithmetic of the forward pass; bfloat16 needs hardware that has it."""


class CacheSettings(Settings):
    """Where activations of a frozen encoder are kept, so that each is computed once."""

    dir: str | None = None
    """The folder; null is lalia's in the user's cache folder."""
    max_gb: NotNegative = 50.0
    """The most it may take, in units of 10^9 bytes; then what was used longest ago goes. 0 keeps nothing."""
    dtype: Literal["float16", "float32"] = "float16"
    """How values are kept; float16 falls back to float32 for tensors that would overflow."""


class ProbeSettings(Settings):
    """What ``lalia probe`` looks at."""

    pooling: Literal["mean", "max", "std", "statistics"] = "mean"
    """What of a recording's frames the probes get; statistics is mean and std side by side."""
    folds: Annotated[int, Field(ge=2)] = 5
    """The speaker-disjoint folds, each of which is scored by probes trained on the others."""
    parts: Annotated[tuple[Literal["train", "validation", "test"], ...], Field(min_length=1)] = ("train", "validation")
    """The recordings to probe; without the test part, a depth that looks good can still be tested honestly."""


class ReportSettings(Settings):
    """What the report shows."""

    show_ids: bool = False
    """Whether recordings are shown by id rather than by hash."""


class RunSettings(Settings):
    """All settings of a run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "run"
    """The first part of the run folder's name."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """The seed of the split, the new weights, the order of training, dropout and augmentation."""
    runs: str = "runs"
    """The folder of the run folders."""
    data: DataSettings
    split: SplitSettings = RandomSplit()
    audio: AudioSettings = AudioSettings()
    augment: Annotated[AugmentSettings, BeforeValidator(read_augment)] = AugmentSettings()
    model: ModelSettings
    train: TrainSettings = TrainSettings()
    cache: CacheSettings = CacheSettings()
    probe: ProbeSettings = ProbeSettings()
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def _check(self) -> "RunSettings":
        if isinstance(self.model.adapt, AdaLoraAdapt) and self.train.unfreeze_every is not None:
            raise ValueError("train.unfreeze_every does not go with adalora, which shares its ranks among all blocks")
        loss = self.train.loss
        if isinstance(self.model.head, RegressionHead):
            if loss.focal_gamma or loss.label_smoothing:
                raise ValueError("train.loss: focal_gamma and label_smoothing are for binary and ordinal heads")
        elif loss.regression != "squared":
            raise ValueError(f"train.loss.regression {loss.regression} needs model.head.kind regression")
        unknown = [trait for trait in loss.trait_weights if self.data.traits and trait not in self.data.traits]
        if unknown:
            raise ValueError(f"train.loss.trait_weights: {unknown} are no traits of data.traits")
        if self.data.traits:  # else they are those of the table
            self.model.head.check_groups(self.data.traits)
        return self
