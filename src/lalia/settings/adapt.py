"""Settings of what trains in an encoder, a variant for each way."""

from collections.abc import Mapping
from typing import Annotated, Literal, Union

from pydantic import BeforeValidator, Field, model_validator

from lalia.settings.base import (
    Count,
    NotNegative,
    OpenFraction,
    Positive,
    Settings,
)

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


class FrozenAdapt(Settings):
    """Nothing in the encoder trains."""

    kind: Literal["frozen"] = "frozen"


class PartialAdapt(Settings):
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


class FullAdapt(Settings):
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


class LastBlocks(Settings):
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


class _Adapters(Settings):
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


class SoftPromptAdapt(Settings):
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
