"""Settings of a run as a whole: how it trains, what its report shows, and all the others."""

from typing import Annotated, Any, Literal

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
from lalia.settings.data import AudioSettings, DataSettings, FoldSplit, RandomSplit, SplitSettings
from lalia.settings.decisions import DecisionSettings
from lalia.settings.head import RegressionHead
from lalia.settings.loss import LossSettings
from lalia.settings.model import ModelSettings
from lalia.settings.optimizer import AdamWOptimizer, OptimizerSettings


class EarlyStopping(Settings):
    """When to stop and which epoch is the best."""

    metric: Literal[
        "loss",
        "auc",
        "average_precision",
        "balanced_accuracy",
        "accuracy",
        "sensitivity",
        "specificity",
        "spearman",
        "pearson",
        "mae",
        "qwk",
    ] = "loss"
    """The validation quantity: the loss, or any metric, as a mean over traits; the metric says which way is better."""
    patience: Count = 5
    """Stop after this many epochs without improvement."""


class EmaSettings(Settings):
    """An exponential moving average of the weights that train; it is what is validated and kept."""

    decay: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.999
    """How much of the average stays at each optimiser step; less in the first ones, (1 + n) / (10 + n) at step n."""


class TrainSettings(Settings):
    """How the rater is trained."""

    epochs: Count = 30
    """Passes over the training part, at most."""
    batch_seconds: Positive = 120.0
    """Seconds of audio in a batch, padding included; a longer recording is a batch of its own, and its windows are
    encoded as many at once as this holds."""
    accumulate: Count = 1
    """Batches per optimiser step."""
    optimizer: OptimizerSettings = AdamWOptimizer()
    """One of torch's; a name alone takes its defaults."""
    learning_rate: NotNegative = 1e-3
    """The rate of everything but the encoder."""
    encoder_learning_rate: NotNegative = 1e-5
    """The rate of the encoder's own weights, those that train."""
    adapter_learning_rate: NotNegative = 1e-3
    """The rate of adapters and soft prompts, which start from nothing as the head does."""
    mix_learning_rate: NotNegative | None = None
    """The rate of the weights of a learned mix of depths; null: ``learning_rate``."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """The rates in the encoder fall by this factor from each block to the one below it, and to the stem; 1: all are
    the same."""
    unfreeze_every: Count | None = None
    """Gradual unfreezing: of what is to train in the encoder, the highest block begins, and the next one below joins
    after every so many epochs; null trains all from the start."""
    weight_decay: NotNegative = 0.01
    """The decay of weights, not of norms, biases and mixes; it is apart from the gradient with adamw, and where
    ``decoupled_weight_decay`` says so."""
    schedule: Literal["cosine", "linear", "constant", "exponential"] = "cosine"
    """How the rates fall after the warm-up, counted in optimiser steps."""
    warmup: OpenFraction = 0.1
    """The share of steps in which the rates rise."""
    clip_norm: Positive | None = 1.0
    """The largest gradient norm; null clips nothing."""
    loss: LossSettings = LossSettings()
    early_stopping: EarlyStopping | None = EarlyStopping()
    """Null trains all epochs and keeps the one with the lowest validation loss."""
    ema: EmaSettings | None = None
    """Null: the weights themselves are validated and kept."""
    trackers: tuple[Literal["tensorboard", "mlflow", "wandb", "trackio"], ...] = ()
    """Experiment trackers that get the values of ``history.csv`` too, kept in the run's folder."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read ahead; 0 reads in a thread of this one."""
    gradient_checkpointing: bool = False
    """Whether the blocks that train are computed again in the backward pass: less memory, about a third more time."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """The arithmetic of the forward pass: 16 bits by autocast need hardware that has them; float16 scales the loss, so
    that small gradients do not vanish. Weights stay float32."""


class CacheSettings(Settings):
    """Where activations of a frozen encoder are kept, so that each is computed once."""

    dir: str | None = None
    """The folder; null is lalia's in the user's cache folder, and so it is with a URL of s3 or gs, at which entries are
    then shared with other machines."""
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


class ChooseSettings(Settings):
    """What nested cross-validation chooses for each fold, on the speakers that the fold trains on."""

    grid: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Settings by their key path, and the values to choose from, such as ``{model.layers: [6, 12]}``; all combinations
    are tried."""
    metric: Literal["auc", "average_precision", "spearman", "pearson", "mae", "qwk"] = "auc"
    """What the inner folds are judged by: the mean over traits, by recording, averaged over the inner folds."""


class AuditSettings(Settings):
    """What ``lalia audit`` looks at."""

    min_speakers: Count = 5
    """A level that fewer speakers have gets a warning, in ``lalia check`` too; a subgroup of fewer is not shown."""
    folds: Annotated[int, Field(ge=2)] = 5
    """The speaker-disjoint folds, each of which is scored by probes trained on the others."""
    encode: bool = False
    """Whether recordings whose pooled vectors the cache lacks go through the encoder; else what needs them is left
    out."""


class ReportSettings(Settings):
    """What the report shows."""

    show_ids: bool = False
    """Whether recordings are shown by id rather than by hash."""
    embed_audio: bool = False
    """Whether the page holds the first seconds of the recordings where model and raters disagree most, to be heard:
    voices identify people."""
    figures: tuple[Literal["svg", "pdf"], ...] = ("svg", "pdf")
    """The formats in which each figure also lies in the run's folder ``figures``; an empty list writes none."""


def is_cross_validation(settings: "RunSettings") -> bool:
    """Whether settings ask for a run of every fold."""
    return isinstance(settings.split, FoldSplit) and settings.split.fold == "all"


class RunSettings(Settings):
    """All settings of a run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "run"
    """The first part of the run folder's name."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """The seed of the split, the new weights, the order of training, dropout and augmentation."""
    runs: str = "runs"
    """The folder of the run folders, a path or a URL of s3 or gs."""
    data: DataSettings
    split: SplitSettings = RandomSplit()
    audio: AudioSettings = AudioSettings()
    augment: Annotated[AugmentSettings, BeforeValidator(read_augment)] = AugmentSettings()
    model: ModelSettings
    train: TrainSettings = TrainSettings()
    cache: CacheSettings = CacheSettings()
    decisions: DecisionSettings = DecisionSettings()
    choose: ChooseSettings = ChooseSettings()
    probe: ProbeSettings = ProbeSettings()
    audit: AuditSettings = AuditSettings()
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def _check(self) -> "RunSettings":
        if isinstance(self.model.adapt, AdaLoraAdapt):
            if self.train.unfreeze_every is not None:
                raise ValueError(
                    "train.unfreeze_every does not go with adalora, which shares its ranks among all blocks"
                )
            if self.train.precision == "float16":
                raise ValueError("train.precision: float16 does not go with adalora, whose ranks follow every gradient")
            if self.train.ema is not None:
                raise ValueError("train.ema does not go with adalora: ranks that fall would not fall in an average")
        metric = self.train.early_stopping.metric if self.train.early_stopping else "loss"
        if self.model.head.kind == "binary" and metric in ("mae", "qwk"):
            raise ValueError(f"train.early_stopping.metric: {metric} needs levels, which a binary head does not give")
        loss = self.train.loss
        if isinstance(self.model.head, RegressionHead):
            if loss.focal_gamma or loss.label_smoothing or loss.rank or loss.targets != "combined":
                raise ValueError(
                    "train.loss: focal_gamma, label_smoothing, rank and targets are for binary and ordinal heads"
                )
            if loss.regression == "concordance" and loss.level_weights != "none":
                raise ValueError(
                    "train.loss.level_weights does not go with concordance, which is of all levels at once"
                )
        elif loss.regression != "squared":
            raise ValueError(f"train.loss.regression {loss.regression} needs model.head.kind regression")
        if loss.targets == "raters" and self.data.raters is None:
            raise ValueError("train.loss.targets: raters needs several of them (data.raters)")
        if self.model.rater_heads and self.data.raters is None:
            raise ValueError("model.rater_heads needs raters (data.raters)")
        if self.model.rater_heads and self.model.head.transformer is not None:
            raise ValueError("model.rater_heads share one embedding, which model.head.transformer does not give")
        unknown = [trait for trait in loss.trait_weights if self.data.traits and trait not in self.data.traits]
        if unknown:
            raise ValueError(f"train.loss.trait_weights: {unknown} are no traits of data.traits")
        if self.choose.grid and not (isinstance(self.split, FoldSplit) and self.split.inner):
            raise ValueError("choose.grid needs inner folds to choose on (split: {kind: folds, inner: 4})")
        sections = ("audio", "augment", "model", "train")
        elsewhere = [key for key in self.choose.grid if key.partition(".")[0] not in sections]
        if elsewhere:
            raise ValueError(f"choose.grid is of settings under {', '.join(sections)}; {elsewhere} is not")
        if self.choose.metric in ("mae", "qwk") and self.model.head.kind == "binary":
            raise ValueError(f"choose.metric: {self.choose.metric} needs levels, which a binary head does not give")
        if self.data.traits:  # else they are those of the table
            self.model.head.check_groups(self.data.traits)
        return self
