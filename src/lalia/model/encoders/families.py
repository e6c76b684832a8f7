"""The families of encoders: which classes read them, and how one is built from its config alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, partial
from importlib import import_module
from typing import Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig
from transformers.initialization import no_init_weights

from lalia.errors import EncoderError, suggest
from lalia.model.encoders.ast import ASTEncoder
from lalia.model.encoders.base import EncoderSource, SpeechEncoder
from lalia.model.encoders.clip_features import NAME_KEY
from lalia.model.encoders.conformer import ConformerEncoder
from lalia.model.encoders.mel_encoders import LasrEncoder, ParakeetEncoder, Wav2Vec2BertEncoder
from lalia.model.encoders.sew import SEWEncoder
from lalia.model.encoders.wav2vec2 import Wav2Vec2Encoder
from lalia.model.encoders.whisper import WhisperEncoder
from lalia.model.encoders.whole import WholeEncoder
from lalia.model.encoders.whole_models import default_features, find_whole_model, take_encoder, whole_architectures


def _no_features(config: Any) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Family:
    """A family of encoders.

    Args:
        name: the architecture, Hugging Face's ``model_type``.
        config_path: the module and class of the architecture's config, below ``transformers.models``.
        model_path: likewise of its modules without any head or decoder.
        encoder_class: how lalia reads them.
        attention: Hugging Face's attention implementation.
        features: of a config, what it demands of the feature extractor, the extractor's class among it; empty for
            stems that take the waveform itself.
        held_by: architectures whose config holds this one's as ``encoder_config``.
        aliases: other names by which people ask for it.
    """

    name: str
    config_path: str
    model_path: str
    encoder_class: Callable[[Any, EncoderSource], SpeechEncoder]
    attention: str = "sdpa"
    features: Callable[[Any], dict[str, Any]] = _no_features
    held_by: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    @cached_property
    def config_class(self) -> Any:
        """Hugging Face's config of the architecture."""
        return _import(self.config_path)

    @cached_property
    def model_class(self) -> Any:
        """Hugging Face's modules."""
        return _import(self.model_path)

    def make_encoder(self, model: Any, source: EncoderSource) -> SpeechEncoder:
        """Return the encoder in Hugging Face's modules."""
        return self.encoder_class(take_encoder(model) if self.is_whole else model, source)

    @property
    def is_whole(self) -> bool:
        """Whether lalia reads the architecture only as a whole."""
        return self.encoder_class is WholeEncoder


def _import(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(f"transformers.models.{module}"), name)


def _convolutional(name: str, module: str, prefix: str, encoder_class: Any = Wav2Vec2Encoder, **more: Any) -> Family:
    folder = module.removesuffix("_audio")
    return Family(
        name,
        f"{folder}.configuration_{module}.{prefix}Config",
        f"{folder}.modeling_{module}.{prefix}Model",
        encoder_class,
        **more,
    )


_KNOWN = (
    _convolutional("wav2vec2", "wav2vec2", "Wav2Vec2", aliases=("xls-r", "mms")),
    _convolutional("hubert", "hubert", "Hubert"),
    # Hugging Face has only one attention for WavLM, which lalia replaces
    _convolutional("wavlm", "wavlm", "WavLM", attention="eager"),
    _convolutional("unispeech", "unispeech", "UniSpeech"),
    _convolutional("unispeech-sat", "unispeech_sat", "UniSpeechSat"),
    _convolutional("data2vec-audio", "data2vec_audio", "Data2VecAudio"),
    _convolutional("wav2vec2-conformer", "wav2vec2_conformer", "Wav2Vec2Conformer", ConformerEncoder),
    _convolutional("sew", "sew", "SEW", SEWEncoder),
    _convolutional(
        "wav2vec2-bert",
        "wav2vec2_bert",
        "Wav2Vec2Bert",
        Wav2Vec2BertEncoder,
        aliases=("w2v-bert", "w2v-bert-2.0"),
        # two mel frames side by side
        features=lambda config: {
            NAME_KEY: "SeamlessM4TFeatureExtractor",
            "feature_size": config.feature_projection_input_dim // 2,
            "num_mel_bins": config.feature_projection_input_dim // 2,
            "stride": 2,
        },
    ),
    Family(
        "whisper",
        "whisper.configuration_whisper.WhisperConfig",
        "whisper.modeling_whisper.WhisperEncoder",
        WhisperEncoder,
        features=lambda config: {"n_fft": 400, "hop_length": 160},
    ),
    Family(
        "audio-spectrogram-transformer",
        "audio_spectrogram_transformer.configuration_audio_spectrogram_transformer.ASTConfig",
        "audio_spectrogram_transformer.modeling_audio_spectrogram_transformer.ASTModel",
        ASTEncoder,
        features=lambda config: {
            NAME_KEY: "ASTFeatureExtractor",
            "num_mel_bins": config.num_mel_bins,
            "max_length": config.max_length,
        },
        aliases=("ast",),
    ),
    Family(
        "parakeet_encoder",
        "parakeet.configuration_parakeet.ParakeetEncoderConfig",
        "parakeet.modeling_parakeet.ParakeetEncoder",
        ParakeetEncoder,
        features=lambda config: {NAME_KEY: "ParakeetFeatureExtractor", "feature_size": config.num_mel_bins},
        held_by=("parakeet_ctc", "parakeet_tdt", "parakeet_rnnt"),
        aliases=("parakeet",),
    ),
    Family(
        "lasr_encoder",
        "lasr.configuration_lasr.LasrEncoderConfig",
        "lasr.modeling_lasr.LasrEncoder",
        LasrEncoder,
        features=lambda config: {NAME_KEY: "LasrFeatureExtractor", "feature_size": config.num_mel_bins},
        held_by=("lasr_ctc",),
        aliases=("lasr",),
    ),
)
FAMILIES: dict[str, Family] = {family.name: family for family in _KNOWN}

# what lalia leaves out of every encoder: masked input and a strided module behind the last block; and, by the ending of
# their keys, random depths
_SWITCHED_OFF = {
    "apply_spec_augment": False,
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
    "add_adapter": False,
    "use_intermediate_ffn_before_adapter": False,
}


def find_family(name: object, origin: str) -> Family:
    """Return the family of an architecture's name: one that lalia knows by its parts, or any other audio model.

    Raises:
        EncoderError: if it is neither; ``origin`` says where the name stands.
    """
    if isinstance(name, str):
        for family in _KNOWN:
            if name in (family.name, *family.held_by, *family.aliases):
                return family
        whole = find_whole_model(name)
        if whole is not None:
            return Family(name, *whole, WholeEncoder, features=partial(default_features, name))
    choices = [*FAMILIES, *whole_architectures()]
    raise EncoderError(
        f"{origin}: unknown architecture {name!r}.{suggest(name, choices)} Known by their parts are"
        f" {', '.join(FAMILIES)}; read as a whole are the other audio models of transformers."
    )


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
    config = make_config(family, described.architecture, origin)
    if family.is_whole:
        return family.make_encoder(build_model(family, config, origin, seed=0), described)
    return family.make_encoder(build_without_weights(family, config, origin), described)
