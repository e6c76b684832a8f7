"""The settings of a run as frozen types: one per stage, a sentence under each field, variants by ``kind``."""

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, Union

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from lalia.errors import ConfigError, nearest_choice
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
    """The architecture, such as wav2vec2, hubert, wavlm, whisper, w2v-bert, ast or parakeet."""
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


# the names that an earlier generation of this work gave to what is frozen
ADAPT_SHORTHANDS: dict[str, dict[str, object]] = {
    "all": {"kind": "frozen"},
    "half": {"kind": "partial", "last": 0.5},
    "exclude-last": {"kind": "partial", "last": 1},
    "required-only": {"kind": "full", "train_features": False},
    "optional": {"kind": "full", "train_stem": False},
    "layer": {"kind": "partial"},
}


def _read_adapt(value: object) -> object:
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, Mapping):
        return value
    kind = value.get("kind", "frozen")
    rest = {key: each for key, each in value.items() if key != "kind"}
    return {**(ADAPT_SHORTHANDS.get(kind) or {"kind": kind} if isinstance(kind, str) else {"kind": kind}), **rest}


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
        if self.last is not None:
            _check_last(self.last)
        return self


class FullAdapt(_Settings):
    """The whole encoder trains, but for the kinds of parameters that are switched off."""

    kind: Literal["full"] = "full"
    train_stem: bool = True
    """Whether the stem (all up to depth 0) trains."""
    train_features: bool = True
    """Whether the part of the stem that makes frames of the waveform trains: convolutions and projection."""
    train_positions: bool = True
    """Whether what tells positions trains: convolved or learned ones in the stem, relative ones in the blocks."""
    train_norms: bool = True
    """Whether norm layers train, wherever they are."""


class LastBlocks(_Settings):
    """The last blocks of the encoder."""

    last: int | float
    """That many, or this fraction of them (rounded up)."""

    @model_validator(mode="after")
    def _check(self) -> "LastBlocks":
        _check_last(self.last)
        return self


def _check_last(last: int | float) -> None:
    if isinstance(last, int) and last < 1:
        raise ValueError(f"last must be 1 or more blocks, or a fraction above 0, got {last}")
    if isinstance(last, float) and not 0 < last <= 1:
        raise ValueError(f"last as a fraction must be above 0 and at most 1, got {last}")


def _read_blocks(value: object) -> object:
    """Read ``last 4`` as ``{last: 4}``."""
    words = value.split() if isinstance(value, str) else []
    if len(words) == 2 and words[0] == "last":
        return {"last": float(words[1]) if "." in words[1] else words[1]}
    return value


class _Adapters(_Settings):
    targets: tuple[str, ...] = ()
    """Linear layers of the blocks by name, path within the block, or glob; empty takes the method's own."""
    blocks: Annotated[Literal["all"] | LastBlocks | tuple[int, ...], BeforeValidator(_read_blocks)] = "all"
    """Which blocks: ``all``, ``last 4`` (or ``{last: 4}``), or numbers (from 1, negative from the end)."""


class LoraAdapt(_Adapters):
    """Low-rank updates of the projections of attention train, everything else in the encoder is frozen."""

    kind: Literal["lora"] = "lora"
    rank: Count = 8
    """The rank of each update."""
    alpha: Positive = 16.0
    """The scale of the updates, divided by the rank."""
    dropout: OpenFraction = 0.0
    """The dropout of what the updates take in."""
    rslora: bool = False
    """Whether the scale is divided by the square root of the rank instead."""
    dora: bool = False
    """Whether the length of each row of the weights is learned apart from its direction."""


class IA3Adapt(_Adapters):
    """Factors on keys, values and the inside of feed-forward parts train, everything else is frozen."""

    kind: Literal["ia3"] = "ia3"


class AdaLoraAdapt(_Adapters):
    """Low-rank updates train whose ranks fall where they matter least, everything else is frozen."""

    kind: Literal["adalora"] = "adalora"
    rank: Count = 8
    """The mean rank of the updates at the end."""
    start_rank: Count = 12
    """The rank of each update at the start, more than ``rank``."""
    alpha: Positive = 16.0
    """The scale of the updates, divided by ``start_rank``."""
    dropout: OpenFraction = 0.0
    """The dropout of what the updates take in."""
    warmup: OpenFraction = 0.1
    """The share of optimiser steps before the ranks begin to fall."""
    settle: OpenFraction = 0.3
    """The share of optimiser steps at the end in which the ranks stay."""
    orthogonality: NotNegative = 0.5
    """The weight, in the loss, of how far the factors of the updates are from orthogonal."""

    @model_validator(mode="after")
    def _check(self) -> "AdaLoraAdapt":
        if self.start_rank <= self.rank:
            raise ValueError(f"start_rank must be more than rank, got {self.start_rank} and {self.rank}")
        if self.warmup + self.settle >= 1:
            raise ValueError("warmup and settle must leave steps in which the ranks fall: together less than 1")
        return self


class SoftPromptAdapt(_Settings):
    """Learned vectors before the frames train, attended by the blocks and never pooled; everything else is frozen."""

    kind: Literal["soft_prompt"] = "soft_prompt"
    length: Count = 10
    """The number of vectors."""
    deep: bool = False
    """Whether each block has its own vectors."""


AdaptSettings = Annotated[
    Union[FrozenAdapt, PartialAdapt, FullAdapt, LoraAdapt, IA3Adapt, AdaLoraAdapt, SoftPromptAdapt],  # noqa: UP007
    Field(discriminator="kind"),
    BeforeValidator(_read_adapt),
]


class MeanPooling(_Settings):
    """The mean of the real frames."""

    kind: Literal["mean"] = "mean"


class MaxPooling(_Settings):
    """The maximum of the real frames."""

    kind: Literal["max"] = "max"


class StatisticsPooling(_Settings):
    """The mean and the standard deviation of the real frames, one after the other."""

    kind: Literal["statistics"] = "statistics"


class AttentionPooling(_Settings):
    """A learned weighted mean of the real frames, or several."""

    kind: Literal["attention"] = "attention"
    hidden: Count = 128
    """The width of the layer that scores each frame."""
    heads: Count = 1
    """How many weighted means are taken, one after the other in the embedding."""


class AttentiveStatisticsPooling(_Settings):
    """A learned weighted mean and the standard deviation around it."""

    kind: Literal["attentive_statistics"] = "attentive_statistics"
    hidden: Count = 128
    """The width of the layer that scores each frame."""


PoolingSettings = Annotated[
    Union[MeanPooling, MaxPooling, StatisticsPooling, AttentionPooling, AttentiveStatisticsPooling],  # noqa: UP007
    Field(discriminator="kind"),
    _read_kind("mean"),
]


class TransformerSettings(_Settings):
    """A small transformer over the frames, as wide as they are and without positions."""

    layers: Count = 1
    """The number of layers."""
    heads: Count = 4
    """The attention heads of each layer, a divisor of the frames' width."""
    hidden: Count = 512
    """The width between the two linear layers of each layer."""
    dropout: OpenFraction = 0.1
    """The dropout on the attention and on what each half of a layer adds."""


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
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Traits that share hidden layers, by the group's name: ``{voice: [hoarse, breathy], rate: [slow]}``."""
    transformer: TransformerSettings | None = None
    """A small transformer over the frames before they are pooled, one per stack of hidden layers; null: none."""

    @model_validator(mode="after")
    def _check(self) -> "_Head":
        if self.groups and not self.shared:
            raise ValueError("groups share hidden layers and shared: false shares none; give one of the two")
        empty = [name for name, traits in self.groups.items() if not traits]
        if empty:
            raise ValueError(f"the groups {empty} name no trait")
        self.check_groups({trait: None for traits in self.groups.values() for trait in traits})
        return self

    def check_groups(self, traits: Collection[str]) -> None:
        """Make sure that each trait is in exactly one group, if there are groups.

        Raises:
            ConfigError: names the traits that are unknown, in several groups or in none.
        """
        given = [trait for group in self.groups.values() for trait in group]
        nearest = {trait: nearest_choice(trait, traits) for trait in given if trait not in traits}
        problems = [
            f"'{trait}' is no trait" + (f" (did you mean '{near}'?)" if near else "") for trait, near in nearest.items()
        ]
        problems += [f"'{trait}' stands {given.count(trait)} times" for trait in traits if given.count(trait) > 1]
        problems += [f"'{trait}' is in no group" for trait in traits if trait not in given]
        if self.groups and problems:
            raise ConfigError(f"model.head.groups must name each trait once: {', '.join(problems)}.")


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


def _check_layers(value: int | str | tuple[int, ...]) -> int | str | tuple[int, ...]:
    # whether the encoder has these depths shows when it is loaded
    if isinstance(value, str) and not re.fullmatch(r"last|weighted|last-[1-9][0-9]*", value):
        raise ValueError(
            f"expected last, weighted, last-n (such as last-4), a depth or a list of depths, got {value!r}"
        )
    if isinstance(value, tuple) and (not value or len(set(value)) < len(value)):
        raise ValueError(f"a list of depths names at least one, and each once, got {list(value)}")
    return value


class ModelSettings(_Settings):
    """The encoder, what of it trains, and what stands on it."""

    encoder: Annotated[RandomEncoder | str | None, BeforeValidator(_encoder_from_text)] = None
    """A Hugging Face id, a folder, a run (its trained encoder), or ``{random: wavlm, layers: 2, width: 64}``; needed
    unless ``start_from`` is given."""
    revision: str | None = None
    """The branch, tag or commit of a Hugging Face id; null takes the default branch."""
    context: Literal["full", "clip"] = "full"
    """Whisper's: full is the 30 s of its training, silence included; clip is the recording alone, faster if short."""
    download_dir: str | None = None
    """Where a Hugging Face id is downloaded to, a folder per id and commit; null is Hugging Face's cache."""
    keep_download: bool = True
    """Whether what had to be downloaded stays once it is loaded; what was there before always does."""
    layers: Annotated[int | str | tuple[int, ...], AfterValidator(_check_layers)] = "last"
    """Which depth is pooled: ``last`` is the encoder's own output, ``weighted`` a learned mix of all; a number is that
    depth (-1 the last one, before the output's norm), a list such as ``[6, 9, 12]`` or ``last-4`` several side by side.
    """
    adapt: AdaptSettings = FrozenAdapt()
    """What of the encoder trains; also by the short names in docs/adaptation.md, such as ``half``."""
    save_encoder: bool = True
    """Whether saved raters hold all weights of the encoder, or only those that training changed (adapters are small);
    without the others a rater needs the same encoder to be loaded."""
    pooling: PoolingSettings = MeanPooling()
    head: HeadSettings = OrdinalHead()
    start_from: str | None = None
    """A run, or its saved rater, to go on from: encoder (adapters folded in), layer mix, pooling and head; traits that
    both rate keep their heads, new ones begin fresh."""
    head_from: str | None = None
    """A run, a saved rater or a saved head whose pooling and head go on this encoder, which must be as wide."""

    @model_validator(mode="after")
    def _check_start(self) -> "ModelSettings":
        if self.start_from is None and self.encoder is None:
            raise ValueError("encoder is missing (or start_from, a run to go on from)")
        if self.start_from is not None and self.encoder is not None:
            raise ValueError("start_from brings its own encoder: leave encoder out, or give head_from instead")
        if self.start_from is not None and self.head_from is not None:
            raise ValueError("start_from brings its own head: leave head_from out")
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

    @model_validator(mode="after")
    def _check(self) -> "RunSettings":
        if isinstance(self.model.adapt, AdaLoraAdapt) and self.train.unfreeze_every is not None:
            raise ValueError("train.unfreeze_every does not go with adalora, which shares its ranks among all blocks")
        if self.data.traits:  # else they are those of the table
            self.model.head.check_groups(self.data.traits)
        return self
