"""Settings of the model: the encoder, what of it trains, and what stands on it."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lalia.settings.adapt import AdaptSettings, FrozenAdapt
from lalia.settings.base import (
    Count,
    Settings,
)
from lalia.settings.head import HeadSettings, MeanPooling, OrdinalHead, PoolingSettings


class RandomEncoder(Settings):
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


def _check_layers(value: int | str | tuple[int, ...]) -> int | str | tuple[int, ...]:
    # whether the encoder has these depths shows when it is loaded
    if isinstance(value, str) and not re.fullmatch(r"last|weighted|last-[1-9][0-9]*", value):
        raise ValueError(
            f"expected last, weighted, last-n (such as last-4), a depth or a list of depths, got {value!r}"
        )
    if isinstance(value, tuple) and (not value or len(set(value)) < len(value)):
        raise ValueError(f"a list of depths names at least one, and each once, got {list(value)}")
    return value


class ModelSettings(Settings):
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
    rater_heads: bool = False
    """Whether each rater also gets a linear head, which learns that rater's own ratings on the same embedding; only
    training uses them."""
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
        if self.start_from is not None and self.revision is not None:
            raise ValueError("start_from brings its own encoder: leave revision out")
        if self.start_from is not None and self.head_from is not None:
            raise ValueError("start_from brings its own head: leave head_from out")
        return self
