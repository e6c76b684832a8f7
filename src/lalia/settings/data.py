"""Settings of the recordings: their table, their parts, and from file to waveform."""

from typing import Annotated, Literal, Union

from pydantic import Field, field_validator, model_validator

from lalia.limits import Limits
from lalia.scale import Scale
from lalia.settings.base import (
    Count,
    Fraction,
    Number,
    OpenFraction,
    Positive,
    Settings,
    read_kind,
)


class ColumnSettings(Settings):
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


class ScaleSettings(Settings):
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


class LongRaters(Settings):
    """A long table: one row per recording, rater and trait."""

    column: str = "rater"
    """The column of the rater's id."""
    trait: str = "trait"
    """The column of the trait's name."""
    rating: str = "rating"
    """The column of the rating."""
    repeat: str | None = None
    """The column that tells a rater's ratings of the same recording and trait apart, such as a session or a date, the
    first being the lowest; null: each rater rates once."""


class DataSettings(Settings):
    """The recordings, their table and their ratings."""

    metadata: str
    """The table (csv, tsv, json, jsonl, parquet, xlsx, xls or ods), a path or a URL of s3, gs or hf; or a folder that
    another tool wrote."""
    format: Literal["auto", "table", "audiofolder", "datasets", "audformat", "kaldi"] = "auto"
    """What ``metadata`` is, where that cannot be told from what lies in a folder: docs/data_formats.md."""
    audio_dir: str | None = None
    """The folder of the recordings, a path or a URL; null is the folder of the metadata."""
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
    follow_links: bool = False
    """Whether symbolic links in the folder of the recordings may lead out of it."""
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


class RandomSplit(Settings):
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


class ColumnSplit(Settings):
    """Parts given by a column of the metadata."""

    kind: Literal["column"] = "column"
    column: str
    """The column that says train, validation (or dev, val) or test."""
    validation: OpenFraction = 0.15
    """Where no row says validation: the share of the training speakers that becomes it."""


class FoldSplit(Settings):
    """Grouped, stratified folds: each is tested by a rater that was trained on the others."""

    kind: Literal["folds"] = "folds"
    folds: Annotated[int, Field(ge=2)] = 5
    """The number of folds."""
    fold: Count | Literal["all"] = "all"
    """all: as many runs as folds, and their numbers pooled; a number, from 1: one run that tests on this fold."""
    inner: Annotated[int, Field(ge=2)] | None = None
    """Nested cross-validation: into so many folds the speakers that a fold trains on are dealt again, to choose among
    ``choose.grid`` and to fit thresholds and calibration; null fits these on the validation part."""
    validation: OpenFraction = 0.15
    """The share of the other speakers that becomes the validation part."""

    @model_validator(mode="after")
    def _check(self) -> "FoldSplit":
        if self.fold != "all" and self.fold > self.folds:
            raise ValueError(f"fold must be 1 to {self.folds}, got {self.fold}")
        if self.fold != "all" and self.inner is not None:
            raise ValueError("inner goes with fold: all")
        return self


class FileSplit(Settings):
    """Parts read from a file that ``lalia split`` wrote."""

    kind: Literal["file"] = "file"
    path: str
    """The split.csv."""
    sha256: str | None = None
    """The hash that the file must have; null accepts any."""


SplitSettings = Annotated[
    Union[RandomSplit, ColumnSplit, FoldSplit, FileSplit],  # noqa: UP007
    Field(discriminator="kind"),
    read_kind("random"),
]


# --- audio ------------------------------------------------------------------------------------------------------------


class LimitSettings(Settings):
    """What is refused of an audio file, so that a broken or hostile one costs nothing but itself."""

    max_seconds: Positive = Limits.max_seconds
    """The longest recording; above 48 kHz, as many samples as that has at 48 kHz."""
    min_rate_hz: Count = Limits.min_rate_hz
    """The lowest sample rate."""
    max_rate_hz: Count = Limits.max_rate_hz
    """The highest sample rate."""
    max_channels: Count = Limits.max_channels
    """The most channels."""
    max_gb: Positive = Limits.max_gb
    """The largest file, in units of 10^9 bytes."""
    timeout_seconds: Positive = Limits.timeout_seconds
    """Decoding a file may take this long, and a tenth of what has been decoded of it."""
    memory_gb: Positive = Limits.memory_gb
    """Decoding a file may take this much memory, in units of 10^9 bytes."""

    @model_validator(mode="after")
    def _check(self) -> "LimitSettings":
        if self.min_rate_hz > self.max_rate_hz:
            raise ValueError("min_rate_hz must not be more than max_rate_hz")
        return self

    def build(self) -> Limits:
        """Return them as what decodes takes them."""
        return Limits(**self.model_dump())


class AudioSettings(Settings):
    """From file to waveform."""

    trim_db: Positive | None = None
    """Cut leading and trailing silence this many dB below the loudest 25 ms; null cuts nothing."""
    normalize: Literal["auto"] | bool = "auto"
    """Zero mean and unit variance per window; auto follows the encoder's preprocessor_config.json."""
    window_seconds: Positive = 30.0
    """A longer recording is encoded in windows of this length and pooled as one."""
    hop_seconds: Positive = 30.0
    """From the start of one window to the next, at most a window."""
    limits: LimitSettings = LimitSettings()

    @model_validator(mode="after")
    def _check(self) -> "AudioSettings":
        if self.window_seconds < 1:
            raise ValueError(f"window_seconds must be 1 or more, got {self.window_seconds:g}")
        if self.hop_seconds > self.window_seconds:
            raise ValueError("hop_seconds must not be more than window_seconds, or audio would be skipped")
        return self
