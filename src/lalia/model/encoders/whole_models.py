"""Which of transformers' other audio models can be read as a whole, and what of them is the encoder."""

from typing import Any, NamedTuple

from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from lalia.model.encoders.clip_features import NAME_KEY

_AUDIO_INPUTS = ("input_values", "input_features", "audio_mel")


class WholeModel(NamedTuple):
    """An audio model that ``AutoModel`` loads.

    Args:
        config_path: the module and class of its config, below ``transformers.models``.
        model_path: likewise of its modules.
    """

    config_path: str
    model_path: str


def find_whole_model(architecture: str) -> WholeModel | None:
    """Return the classes of an architecture that takes audio, or None where it takes none, or text beside it."""
    if architecture not in CONFIG_MAPPING:
        return None
    config_class = CONFIG_MAPPING[architecture]
    try:
        model_class = MODEL_MAPPING[config_class]
    except (KeyError, ImportError):
        return None
    model_class = model_class[0] if isinstance(model_class, tuple) else model_class
    takes_audio = getattr(model_class, "main_input_name", None) in _AUDIO_INPUTS
    # a model that has text and audio encoders names the text as its main input
    if not takes_audio and "seamless" not in architecture:
        return None
    return WholeModel(_path_of(config_class), _path_of(model_class))


def take_encoder(model: Any) -> Any:
    """Return what of a model turns audio into frames: itself, or its encoder where it also generates."""
    if not model.config.is_encoder_decoder:
        return model
    speech_encoder = getattr(model, "speech_encoder", None)
    return model.get_encoder() if speech_encoder is None else speech_encoder


def whole_architectures() -> list[str]:
    """Return the names of the architectures that have a feature extractor for audio."""
    return sorted(FEATURE_EXTRACTOR_MAPPING_NAMES)


def default_features(architecture: str, config: Any) -> dict[str, Any]:
    """Return the feature extractor that transformers has for an architecture, or for the model that it is part of.

    Empty where it has none.
    """
    names = (architecture, architecture.removesuffix("_encoder"), architecture.removesuffix("_audio"))
    extractors = (FEATURE_EXTRACTOR_MAPPING_NAMES.get(name) for name in names)
    extractor = next((found for found in extractors if found is not None), None)
    if extractor is None:
        return {}
    n_mel_bins = getattr(config, "num_mel_bins", None)
    return {NAME_KEY: extractor} | ({} if n_mel_bins is None else {"feature_size": n_mel_bins})


def _path_of(found: Any) -> str:
    return f"{found.__module__.removeprefix('transformers.models.')}.{found.__qualname__}"
