"""The families of encoders: which classes of transformers and of lalia read which architecture."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from typing import Any

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
