"""From an architecture's config to Hugging Face's modules, and to an encoder."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig
from transformers.initialization import no_init_weights

from lalia.errors import EncoderError
from lalia.model.encoders.base import EncoderSource, SpeechEncoder
from lalia.model.encoders.families import Family, find_family
from lalia.model.untrusted import find_impossible

# what lalia leaves out of every encoder: masked input and a strided module behind the last block; and, by the ending of
# their keys, random depths
_SWITCHED_OFF = {
    "apply_spec_augment": False,
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
    "add_adapter": False,
    "use_intermediate_ffn_before_adapter": False,
}


def architecture_keys(family: Family) -> list[str]:
    """Return the config keys of an architecture itself, without those of all Hugging Face configs."""
    common = {field.name for field in fields(PreTrainedConfig)}
    return [field.name for field in fields(family.config_class) if field.name not in common]


def make_config(family: Family, values: Mapping[str, Any], origin: str) -> Any:
    """Return an architecture's config from its own keys, others left aside.

    Args:
        family: of the architecture.
        values: its keys, or those of an architecture that holds them as ``encoder_config``.
        origin: where they stand, for messages.

    Raises:
        EncoderError: if a value is of the wrong kind, or values do not fit together.
    """
    if values.get("model_type") in family.held_by:
        held = values.get("encoder_config")
        if not isinstance(held, Mapping):
            raise EncoderError(f"{origin}: its config.json has no encoder_config, which {values['model_type']} needs.")
        values = held
    known = architecture_keys(family)
    chosen = {key: value for key, value in values.items() if key in known}
    chosen |= {key: value for key, value in _SWITCHED_OFF.items() if key in known}
    chosen |= {key: 0.0 for key in known if key.endswith("layerdrop")}
    wrong = find_impossible(chosen)
    if wrong is not None:
        raise EncoderError(f"{origin}: the encoder's config cannot be used. {wrong}.")
    try:
        return family.config_class(**chosen)
    except (StrictDataclassError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise EncoderError(f"{origin}: the encoder's config cannot be used. {reason}") from error


def takes_waveform(family: Family, config: Any) -> bool:
    """Return whether a family's stem takes the waveform itself, which can be normalised, rather than a spectrogram."""
    return not family.is_whole and not family.features(config)


def check_context(family: Family, context: Literal["full", "clip"], origin: str) -> Literal["full", "clip"]:
    """Return the context, if the family has a choice of it.

    Raises:
        EncoderError: if it has none, or there is no such context.
    """
    if context not in ("full", "clip"):
        raise EncoderError(f"{origin}: context must be full or clip, got {context!r}.")
    if context == "clip" and family.name != "whisper":
        raise EncoderError(f"{origin}: only Whisper has a choice of context. Set model.context to full.")
    return context


def describe_config(family: Family, config: Any) -> dict[str, Any]:
    """Return an architecture's own keys and values as JSON holds them."""
    values = {key: getattr(config, key) for key in architecture_keys(family)}
    return {key: _as_json(value) for key, value in values.items()}


def _as_json(value: Any) -> Any:
    if isinstance(value, PreTrainedConfig):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value


def build_model(family: Family, config: Any, origin: str, seed: int) -> Any:
    """Return Hugging Face's modules with new random weights, leaving the global random state as it was.

    Raises:
        EncoderError: if the sizes in the config do not fit together.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make_modules(family, config, origin)


def build_without_weights(family: Family, config: Any, origin: str) -> Any:
    """Return Hugging Face's modules with NaN for weights, in the time that the memory takes."""
    # random weights for a large encoder take seconds, to be overwritten at once; buffers that no state dict holds, such
    # as rotary frequencies, are computed all the same
    with no_init_weights():
        model = make_modules(family, config, origin)
    with torch.no_grad():
        for values in model.state_dict().values():
            values.fill_(float("nan") if values.is_floating_point() else 0)
    return model


def make_modules(family: Family, config: Any, origin: str) -> Any:
    """Return Hugging Face's modules on the current default device, their weights drawn from the global generator.

    Raises:
        EncoderError: if the sizes in the config do not fit together.
    """
    attention = family.attention if not family.is_whole else None
    try:
        return family.model_class._from_config(config, attn_implementation=attention, dtype=torch.float32)
    except (ValueError, RuntimeError, TypeError, IndexError, KeyError) as error:
        raise EncoderError(f"{origin}: the encoder's config cannot be used. {error}") from error


def count_numbers(family: Family, config: Any, origin: str) -> int:
    """Return how many numbers the modules of a config hold, without taking memory for them.

    Raises:
        EncoderError: if the sizes in the config do not fit together.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = make_modules(family, config, origin)
    return sum(each.numel() for each in (*model.parameters(), *model.buffers()))


def describe_size(source: Mapping[str, Any]) -> int:
    """Return how many numbers the encoder holds that a saved rater describes, without taking memory for them.

    Args:
        source: as for ``build_from_architecture``.

    Raises:
        EncoderError: if the architecture is not one of lalia's families, or its sizes do not fit together.
    """
    origin = f"Encoder '{source['name']}'"
    family = find_family(source["family"], origin)
    return count_numbers(family, make_config(family, source["architecture"], origin), origin)


def build_from_architecture(source: Mapping[str, Any]) -> SpeechEncoder:
    """Build the encoder that a saved rater describes; its weights are NaN until the rater's are read into it.

    Those of an encoder that is read as a whole are random: it must run to be measured.

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
    wrong = find_impossible(described.features)
    if wrong is not None:
        raise EncoderError(f"{origin}: its features cannot be used. {wrong}.")
    config = make_config(family, described.architecture, origin)
    if family.is_whole:
        return family.make_encoder(build_model(family, config, origin, seed=0), described)
    return family.make_encoder(build_without_weights(family, config, origin), described)
