"""The families of encoders: which classes read them, and how one is built from its config alone."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    HubertConfig,
    HubertModel,
    PreTrainedConfig,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder as TransformersWhisperEncoder

from lalia.errors import EncoderError, suggest
from lalia.model.encoders.base import EncoderSource, SpeechEncoder
from lalia.model.encoders.wav2vec2 import Wav2Vec2Encoder
from lalia.model.encoders.whisper import WhisperEncoder


class Family(NamedTuple):
    """A family of encoders.

    Args:
        config_class: Hugging Face's config of the architecture.
        model_class: Hugging Face's modules without any head or decoder.
        encoder_class: how lalia reads them.
        attention: Hugging Face's attention implementation; WavLM has only one, which lalia replaces.
        features: what is fixed about the input of the stem.
    """

    config_class: Any
    model_class: Any
    encoder_class: type[Wav2Vec2Encoder] | type[WhisperEncoder]
    attention: str
    features: dict[str, Any]


FAMILIES: dict[str, Family] = {
    "wav2vec2": Family(Wav2Vec2Config, Wav2Vec2Model, Wav2Vec2Encoder, "sdpa", {}),
    "hubert": Family(HubertConfig, HubertModel, Wav2Vec2Encoder, "sdpa", {}),
    "wavlm": Family(WavLMConfig, WavLMModel, Wav2Vec2Encoder, "eager", {}),
    "whisper": Family(
        WhisperConfig, TransformersWhisperEncoder, WhisperEncoder, "sdpa", {"n_fft": 400, "hop_length": 160}
    ),
}

# what lalia leaves out of every encoder: random depths, masked input, and a strided module behind the last block
_SWITCHED_OFF = {
    "layerdrop": 0.0,
    "encoder_layerdrop": 0.0,
    "apply_spec_augment": False,
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
    "add_adapter": False,
}


def find_family(name: object, origin: str) -> Family:
    """Return the family of an architecture's name.

    Raises:
        EncoderError: if lalia does not know the architecture; ``origin`` says where the name stands.
    """
    if not isinstance(name, str) or name not in FAMILIES:
        raise EncoderError(
            f"{origin}: unknown architecture {name!r}.{suggest(name, FAMILIES)} Known are {', '.join(FAMILIES)}."
        )
    return FAMILIES[name]


def architecture_keys(family: Family) -> list[str]:
    """Return the config keys of an architecture itself, without those of all Hugging Face configs."""
    common = {field.name for field in fields(PreTrainedConfig)}
    return [field.name for field in fields(family.config_class) if field.name not in common]


def make_config(family: Family, values: Mapping[str, Any], origin: str) -> Any:
    """Return an architecture's config from its own keys, others left aside.

    Raises:
        EncoderError: if a value is of the wrong kind, or values do not fit together.
    """
    known = architecture_keys(family)
    chosen = {key: value for key, value in values.items() if key in known}
    chosen |= {key: value for key, value in _SWITCHED_OFF.items() if key in known}
    try:
        return family.config_class(**chosen)
    except (StrictDataclassError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise EncoderError(f"{origin}: the encoder's config cannot be used. {reason}") from error


def describe_config(family: Family, config: Any) -> dict[str, Any]:
    """Return an architecture's own keys and values as JSON holds them."""
    values = {key: getattr(config, key) for key in architecture_keys(family)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def build_model(family: Family, config: Any, origin: str, seed: int) -> Any:
    """Return Hugging Face's modules with new random weights, leaving the global random state as it was.

    Raises:
        EncoderError: if the sizes in the config do not fit together.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _make_modules(family, config, origin)


def _build_without_weights(family: Family, config: Any, origin: str) -> Any:
    # random weights for a large encoder take seconds, to be overwritten at once: the meta device draws none
    with torch.device("meta"):
        model = _make_modules(family, config, origin)
    model.to_empty(device="cpu")
    with torch.no_grad():
        for values in model.state_dict().values():
            values.fill_(float("nan") if values.is_floating_point() else 0)
    return model


def _make_modules(family: Family, config: Any, origin: str) -> Any:
    try:
        return family.model_class._from_config(config, attn_implementation=family.attention, dtype=torch.float32)
    except (ValueError, RuntimeError, TypeError, IndexError, KeyError) as error:
        raise EncoderError(f"{origin}: the encoder's config cannot be used. {error}") from error


def build_from_architecture(source: Mapping[str, Any]) -> SpeechEncoder:
    """Build the encoder that a saved rater describes; its weights are NaN until the rater's are read into it.

    Args:
        source: the fields of an :class:`~lalia.model.encoders.base.EncoderSource`, such as
            ``dataclasses.asdict(encoder.source)`` read back from JSON.

    Raises:
        EncoderError: if a field is missing or unknown, or the architecture is not one of lalia's families.

    Example:
        >>> from dataclasses import asdict
        >>> from lalia.model.encoders.random import make_random_encoder
        >>> encoder = make_random_encoder("hubert", layers=1, width=16, heads=2)
        >>> build_from_architecture(asdict(encoder.source)).width
        16
    """
    names = [field.name for field in fields(EncoderSource)]
    if sorted(source) != sorted(names):
        raise EncoderError(f"A saved encoder is described by {', '.join(names)}; got {', '.join(source) or 'nothing'}.")
    described = EncoderSource(**source)
    origin = f"Encoder '{described.name}'"
    family = find_family(described.family, origin)
    config = make_config(family, described.architecture, origin)
    return family.encoder_class(_build_without_weights(family, config, origin), described)
