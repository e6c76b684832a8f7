"""From a name, a folder or a small description to an encoder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lalia.errors import EncoderError
from lalia.model.encoders.base import SpeechEncoder
from lalia.model.encoders.families import build_from_architecture
from lalia.model.encoders.random import make_random_encoder

__all__ = ["build_from_architecture", "load_encoder"]


def load_encoder(
    encoder: str | Path | Mapping[str, Any],
    *,
    revision: str | None = None,
    normalize: Literal["auto"] | bool = "auto",
) -> SpeechEncoder:
    """Load a speech encoder in float32, frozen and in eval mode."""
    if isinstance(encoder, str) and encoder.startswith("random:"):
        encoder = {"random": encoder.removeprefix("random:")}
    if isinstance(encoder, Mapping):
        settings = dict(encoder)
        return make_random_encoder(settings.pop("random"), **settings)
    raise EncoderError("not yet")
