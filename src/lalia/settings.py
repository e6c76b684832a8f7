"""The settings of a run as frozen types: one per stage, a sentence under each field, variants by ``kind``."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from lalia.scale import Scale


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)


def _read_kind(default: str) -> BeforeValidator:
    """Read ``mean`` as ``{kind: mean}``, and settings without a kind as the default one's."""

    def read(value: object) -> object:
        if isinstance(value, str):
            return {"kind": value}
        if isinstance(value, Mapping) and "kind" not in value:
            return {"kind": default, **value}
        return value

    return BeforeValidator(read)


Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
OpenFraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]


# --- data -------------------------------------------------------------------------------------------------------------


class ColumnSettings(_Settings):
    """Which columns of the metadata hold what."""

    recording: str = "recording"
    """The recording's id; with ``layout: path`` also its path, unless ``path`` is given."""
    speaker: str = "speaker"
    """The speaker's id."""
    date: str | None = None
    """The date of the recording, if there is one."""
    task: str | None = None
    """The speech task, if there is one."""
    path: str | None = None
    """With ``layout: path``, the column of relative paths where it is not the recording's id."""


class ScaleSettings(_Settings):
    """What the numbers in the rating columns mean."""

    levels: tuple[Number, ...] = (1, 2, 3, 4)
    """The levels of the scale, rising."""
    present_from: Number = 2
    """The lowest level at which a trait counts as present."""
    missing: tuple[Number | str, ...] = ()
    """Codes that mean "not rated"; empty cells always do."""
    recode: dict[Number, Number] = Field(default_factory=dict)
    """Values to replace by a level, such as ``{1.5: 1}``."""

    @model_validator(mode="after")
    def _check(self) -> "ScaleSettings":
        Scale(self.levels, self.present_from)
        wrong = [value for value in self.recode.values() if value not in self.levels]
        if wrong:
            raise ValueError(f"recode must lead to levels {list(self.levels)}, got {wrong}")
        both = [value for value in self.missing if value in self.levels]
        if both:
            raise ValueError(f"{both} cannot be both a level and a missing code")
        return self

    def build(self) -> Scale:
        """Return the scale without what concerns reading it."""
        return Scale(tuple(float(level) for level in self.levels), float(self.present_from))


class LongRaters(_Settings):
    """A long table: one row per recording, rater and trait."""

    column: str = "rater"
    """The column of the rater's id."""
    trait: str = "trait"
    """The column of the trait's name."""
    rating: str = "rating"
    """The column of the rating."""


class DataSettings(_Settings):
    """The recordings, their table and their ratings."""

    metadata: str
    """The table: csv, tsv, json, jsonl or parquet."""
    audio_dir: str | None = None
    """The folder of the recordings; null is the folder of the metadata."""
    layout: Literal["flat", "structured", "path"] = "flat"
    """flat: ``<audio_dir>/<id>.<extension>``; structured: ``<audio_dir>/<id>/waveform.<extension>``; path: a column."""
    extension: str = "wav"
    """The file extension, for the layouts flat and structured."""
    limit: Count | None = None
    """Keep about this many recordings (whole speakers, seeded), for a quick try; null keeps all."""
    columns: ColumnSettings = ColumnSettings()
    covariates: tuple[str, ...] = ()
    """Columns for subgroups and the confound audit, never model input."""
    traits: tuple[str, ...] = ()
    """The traits to rate; empty takes every trait of a long or per-rater table."""
    tasks: tuple[str, ...] = ()
    """Keep only these tasks; empty keeps all."""
    exclude: tuple[str, ...] = ()
    """Recordings to leave out, by id."""
    scale: ScaleSettings = ScaleSettings()
    raters: str | LongRaters | None = None
    """A column pattern such as ``"{trait}_r{rater}"``, a long table's columns, or null for one column per trait."""
    combine: Literal["median", "mean", "majority"] = "median"
    """How several raters' ratings become one."""
    unreadable: Literal["stop", "drop"] = "stop"
    """Missing or unreadable audio: stop and list it, or drop it with its reason."""

    @field_validator("extension")
    @classmethod
    def _without_dot(cls, value: str) -> str:
        return value.lstrip(".")

    @field_validator("raters")
    @classmethod
    def _check_pattern(cls, value: object) -> object:
        if isinstance(value, str) and ("{trait}" not in value or "{rater}" not in value):
            raise ValueError(f"a pattern of rater columns needs {{trait}} and {{rater}}, got {value!r}")
        return value


# --- split ------------------------------------------------------------------------------------------------------------


class RandomSplit(_Settings):
    """Random speaker-disjoint parts, stratified over the levels of all traits."""

    kind: Literal["random"] = "random"
    train: Fraction = 0.7
    """The share of speakers to train on."""
    validation: Fraction = 0.15
    """The share of speakers that choose the best epoch and the thresholds."""
    test: Fraction = 0.15
    """The share of speakers held out for the final numbers."""

    @model_validator(mode="after")
    def _check(self) -> "RandomSplit":
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"train, validation and test must add up to 1, got {total:g}")
        if self.train <= 0:
            raise ValueError("train must be more than 0")
        return self


class ColumnSplit(_Settings):
    """Parts given by a column of the metadata."""

    kind: Literal["column"] = "column"
    column: str
    """The column that says train, validation (or dev, val) or test."""
    validation: OpenFraction = 0.15
    """Where no row says validation: the share of the training speakers that becomes it."""


class FoldSplit(_Settings):
    """Grouped, stratified folds; a run tests on one of them."""

    kind: Literal["folds"] = "folds"
    folds: Annotated[int, Field(ge=2)] = 5
    """The number of folds."""
    fold: Count = 1
    """The fold that is the test part, from 1."""
    validation: OpenFraction = 0.15
    """The share of the other speakers that becomes the validation part."""

    @model_validator(mode="after")
    def _check(self) -> "FoldSplit":
        if self.fold > self.folds:
            raise ValueError(f"fold must be 1 to {self.folds}, got {self.fold}")
        return self


class FileSplit(_Settings):
    """Parts read from a file that ``lalia split`` wrote."""

    kind: Literal["file"] = "file"
    path: str
    """The split.csv."""
    sha256: str | None = None
    """The hash that the file must have; null accepts any."""


SplitSettings = Annotated[
    Union[RandomSplit, ColumnSplit, FoldSplit, FileSplit],  # noqa: UP007
    Field(discriminator="kind"),
    _read_kind("random"),
]


# --- audio ------------------------------------------------------------------------------------------------------------


class AudioSettings(_Settings):
    """From file to waveform."""

    trim_db: Positive | None = None
    """Cut leading and trailing silence this many dB below the loudest 25 ms; null cuts nothing."""
    normalize: Literal["auto"] | bool = "auto"
    """Zero mean and unit variance per window; auto follows the encoder's preprocessor_config.json."""
    window_seconds: Positive = 30.0
    """A longer recording is encoded in windows of this length and pooled as one."""
    hop_seconds: Positive = 30.0
    """From the start of one window to the next, at most a window."""

    @model_validator(mode="after")
    def _check(self) -> "AudioSettings":
        if self.window_seconds < 1:
            raise ValueError(f"window_seconds must be 1 or more, got {self.window_seconds:g}")
        if self.hop_seconds > self.window_seconds:
            raise ValueError("hop_seconds must not be more than window_seconds, or audio would be skipped")
        return self


# --- model ------------------------------------------------------------------------------------------------------------


class RandomEncoder(_Settings):
    """A small encoder made from its architecture's config, with random weights."""

    random: str
    """The architecture: wav2vec2, hubert, wavlm or whisper."""
    layers: Count = 2
    """The number of blocks."""
    width: Count = 64
    """The width of the frames."""
    heads: Count = 4
    """The attention heads of each block."""
    seed: Annotated[int, Field(ge=0)] = 0
    """The seed of the weights."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Further keys of the architecture's own config, such as ``max_source_positions``."""

    @model_validator(mode="after")
    def _check(self) -> "RandomEncoder":
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, got {self.width} and {self.heads}")
        return self


def _encoder_from_text(value: object) -> object:
    if isinstance(value, str) and value.startswith("random:"):
        return {"random": value.removeprefix("random:")}
    return value


class FrozenAdapt(_Settings):
    """Nothing in the encoder trains."""

    kind: Literal["frozen"] = "frozen"


class PartialAdapt(_Settings):
    """Some blocks or modules of the encoder train."""

    kind: Literal["partial"] = "partial"
    last: int | float | None = None
    """The last n blocks, or this fraction of them (rounded up)."""
    unfreeze: tuple[int | str, ...] = ()
    """Block numbers (from 1, negative from the end) and exact module paths or globs."""

    @model_validator(mode="after")
    def _check(self) -> "PartialAdapt":
        if (self.last is None) == (not self.unfreeze):
            raise ValueError("give either last or unfreeze")
        if isinstance(self.last, int) and self.last < 1:
            raise ValueError(f"last must be 1 or more blocks, or a fraction above 0, got {self.last}")
        if isinstance(self.last, float) and not 0 < self.last <= 1:
            raise ValueError(f"last as a fraction must be above 0 and at most 1, got {self.last}")
        return self


class FullAdapt(_Settings):
    """All blocks of the encoder train."""

    kind: Literal["full"] = "full"
    train_stem: bool = True
    """Whether the stem (convolutions up to depth 0) trains too."""


AdaptSettings = Annotated[
    Union[FrozenAdapt, PartialAdapt, FullAdapt],  # noqa: UP007
    Field(discriminator="kind"),
    _read_kind("frozen"),
]


class MeanPooling(_Settings):
    """The mean of the real frames."""

    kind: Literal["mean"] = "mean"


class MaxPooling(_Settings):
    """The maximum of the real frames."""

    kind: Literal["max"] = "max"


class AttentionPooling(_Settings):
    """A learned weighted mean of the real frames."""

    kind: Literal["attention"] = "attention"
    hidden: Count = 128
    """The width of the layer that scores each frame."""


PoolingSettings = Annotated[
    Union[MeanPooling, MaxPooling, AttentionPooling],  # noqa: UP007
    Field(discriminator="kind"),
    _read_kind("mean"),
]


class _Head(_Settings):
    hidden: tuple[Count, ...] = ()
    """The widths of the hidden layers; empty is a linear head."""
    dropout: OpenFraction = 0.1
    """The dropout before each linear layer."""
    layer_norm: bool = True
    """Whether the embedding and each hidden layer are normalised."""
    activation: Literal["gelu", "relu", "tanh", "silu"] = "gelu"
    """The activation of the hidden layers."""
    shared: bool = True
    """Whether the traits share the hidden layers, or each has its own."""


class BinaryHead(_Head):
    """One probability of presence per trait."""

    kind: Literal["binary"] = "binary"


class OrdinalHead(_Head):
    """The probability of reaching each level of the scale."""

    kind: Literal["ordinal"] = "ordinal"
    method: Literal["cumulative", "corn"] = "cumulative"
    """cumulative: proportional odds with one score and ordered thresholds; corn: conditional probabilities."""


class RegressionHead(_Head):
    """One value on the scale per trait."""

    kind: Literal["regression"] = "regression"


HeadSettings = Annotated[
    Union[BinaryHead, OrdinalHead, RegressionHead],  # noqa: UP007
    Field(discriminator="kind"),
    _read_kind("ordinal"),
]


class ModelSettings(_Settings):
    """The encoder, what of it trains, and what stands on it."""

    encoder: Annotated[RandomEncoder | str | None, BeforeValidator(_encoder_from_text)] = None
    """A Hugging Face id, a folder, a run (for the encoder trained there), or ``{random: wavlm, layers: 2, width: 64,
    heads: 4}``; needed unless ``start_from`` brings one."""
    revision: str | None = None
    """The branch, tag or commit of a Hugging Face id; null takes the default branch."""
    download_dir: str | None = None
    """Where a Hugging Face id is downloaded to, a folder per id and commit; null is Hugging Face's cache."""
    keep_download: bool = True
    """Whether what had to be downloaded stays once it is loaded; what was there before always does."""
    layers: Literal["last", "weighted"] | Annotated[int, Field(ge=0)] = "last"
    """Which depth is pooled: the last one normalised as the encoder's output, a learned mix of all, or a depth."""
    adapt: AdaptSettings = FrozenAdapt()
    pooling: PoolingSettings = MeanPooling()
    head: HeadSettings = OrdinalHead()
    start_from: str | None = None
    """The folder of a run or rater to go on from: encoder, layers, pooling and the heads of traits of the same name."""
    head_from: str | None = None
    """The folder of a run, rater or saved head whose pooling and head go onto this encoder, which has its width."""

    @model_validator(mode="after")
    def _check(self) -> "ModelSettings":
        if self.encoder is None and self.start_from is None:
            raise ValueError("encoder is missing: give one, or a rater to start_from")
        if self.start_from is not None and self.head_from is not None:
            raise ValueError("give either start_from, which brings its head along, or head_from")
        return self


# --- training, report, run --------------------------------------------------------------------------------------------


class EarlyStopping(_Settings):
    """When to stop and which epoch is the best."""

    metric: Literal["loss", "auc", "average_precision", "balanced_accuracy", "spearman", "pearson", "mae", "qwk"] = (
        "loss"
    )
    """The validation quantity, a macro mean over traits where it is a metric."""
    patience: Count = 5
    """Stop after this many epochs without improvement."""


class TrainSettings(_Settings):
    """How the rater is trained."""

    epochs: Count = 30
    """Passes over the training part, at most."""
    batch_seconds: Positive = 120.0
    """Seconds of audio in a batch, padding included."""
    accumulate: Count = 1
    """Batches per optimiser step."""
    learning_rate: NotNegative = 1e-3
    """The rate of everything but the encoder."""
    encoder_learning_rate: NotNegative = 1e-5
    """The rate of what trains in the encoder."""
    weight_decay: NotNegative = 0.01
    """AdamW's decay, not on norms, biases and mixes."""
    schedule: Literal["cosine", "linear", "constant", "exponential"] = "cosine"
    """How the rates fall after the warm-up, counted in optimiser steps."""
    warmup: OpenFraction = 0.1
    """The share of steps in which the rates rise."""
    clip_norm: Positive | None = 1.0
    """The largest gradient norm; null clips nothing."""
    early_stopping: EarlyStopping | None = EarlyStopping()
    """Null trains all epochs and keeps the one with the lowest validation loss."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read audio ahead; 0 reads in this one."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """The arithmetic of the forward pass; bfloat16 needs hardware that has it."""


class ReportSettings(_Settings):
    """What the report shows."""

    show_ids: bool = False
    """Whether recordings are shown by id rather than by hash."""


class RunSettings(_Settings):
    """All settings of a run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "run"
    """The first part of the run folder's name."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """The seed of the split, the new weights, the order of training and dropout."""
    runs: str = "runs"
    """The folder of the run folders."""
    data: DataSettings
    split: SplitSettings = RandomSplit()
    audio: AudioSettings = AudioSettings()
    model: ModelSettings
    train: TrainSettings = TrainSettings()
    report: ReportSettings = ReportSettings()
