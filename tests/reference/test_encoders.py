"""Every depth against Hugging Face's own forward with the same random weights."""

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    HubertConfig,
    HubertModel,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder as TransformersWhisperEncoder

from lalia.model.encoders.base import EncoderSource, SpeechEncoder, normalize_waveforms
from lalia.model.encoders.load import encode
from lalia.model.encoders.wav2vec2 import Wav2Vec2Encoder
from lalia.model.encoders.whisper import LogMel, WhisperEncoder
from toy_encoders import run

SIZES = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 40}
STEM = {"conv_dim": [12] * 7, "num_conv_pos_embeddings": 15, "num_conv_pos_embedding_groups": 4}
POST_NORM = {"feat_extract_norm": "group", "do_stable_layer_norm": False}
PRE_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
CASES = {
    "wav2vec2 base": ("wav2vec2", Wav2Vec2Model, Wav2Vec2Config(**SIZES, **STEM, **POST_NORM)),
    "wav2vec2 large": ("wav2vec2", Wav2Vec2Model, Wav2Vec2Config(**SIZES, **STEM, **PRE_NORM)),
    "wav2vec2 with adapters in its blocks": (
        "wav2vec2",
        Wav2Vec2Model,
        Wav2Vec2Config(**SIZES, **STEM, **PRE_NORM, adapter_attn_dim=8),
    ),
    "wav2vec2 with an even positional kernel": (
        "wav2vec2",
        Wav2Vec2Model,
        Wav2Vec2Config(**SIZES, **(STEM | {"num_conv_pos_embeddings": 16}), **POST_NORM),
    ),
    "hubert base": ("hubert", HubertModel, HubertConfig(**SIZES, **STEM, **POST_NORM)),
    "hubert large": ("hubert", HubertModel, HubertConfig(**SIZES, **STEM, **PRE_NORM)),
    "hubert without the projection's norm": (
        "hubert",
        HubertModel,
        HubertConfig(**SIZES, **STEM, **POST_NORM, feat_proj_layer_norm=False),
    ),
    "hubert with batch norm, as mHuBERT": (
        "hubert",
        HubertModel,
        HubertConfig(**SIZES, **STEM, **POST_NORM, conv_pos_batch_norm=True),
    ),
    "wavlm base": ("wavlm", WavLMModel, WavLMConfig(**SIZES, **STEM, **POST_NORM)),
    "wavlm large": ("wavlm", WavLMModel, WavLMConfig(**SIZES, **STEM, **PRE_NORM)),
    "wavlm with few positions": (
        "wavlm",
        WavLMModel,
        WavLMConfig(**SIZES, **STEM, **POST_NORM, num_buckets=8, max_bucket_distance=12),
    ),
}
WHISPER = WhisperConfig(
    d_model=24, encoder_layers=3, encoder_attention_heads=3, encoder_ffn_dim=40, max_source_positions=100
)
DEPTHS = [0, 1, 2, 3, "last"]


def fill(model: PreTrainedModel) -> PreTrainedModel:
    """Give every parameter and statistic values far from those of a new model, where little would show."""
    generator = torch.Generator().manual_seed(1)
    for name, values in model.state_dict().items():
        if values.is_floating_point():
            noise = torch.randn(values.shape, generator=generator)
            # positive where it scales: variances and weight-norm magnitudes
            values.copy_(
                1.0 + 0.3 * noise.abs() if "running_var" in name or "original0" in name else values + 0.1 * noise
            )
    return model.eval()


@pytest.fixture(params=CASES)
def pair(request: pytest.FixtureRequest) -> tuple[SpeechEncoder, PreTrainedModel]:
    family, model_class, config = CASES[request.param]
    reference = fill(model_class(config))
    model = model_class._from_config(config, attn_implementation="eager" if family == "wavlm" else "sdpa")
    model.load_state_dict(reference.state_dict())
    return Wav2Vec2Encoder(model, EncoderSource(family, "reference", None, {}, normalize=False)), reference


def clips(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, generator=generator) for length in lengths]


def depths_of(output: object) -> dict[object, Tensor]:
    return dict(enumerate(output.hidden_states)) | {"last": output.last_hidden_state}  # type: ignore[attr-defined]


def assert_close(values: Tensor, reference: Tensor) -> None:
    # 1e-5 of the largest value: the values of deep pre-norm blocks are not of unit size
    torch.testing.assert_close(values, reference, atol=1e-5 * max(1.0, reference.abs().max().item()), rtol=0)


def test_a_clip_alone_has_hugging_faces_hidden_states(pair: tuple[SpeechEncoder, PreTrainedModel]) -> None:
    encoder, reference = pair
    (clip,) = clips(16_001)
    with torch.no_grad():
        expected = depths_of(reference(clip[None], output_hidden_states=True))
    (frames,) = encode(encoder, [clip], DEPTHS)
    for depth in DEPTHS:
        assert_close(frames[depth], expected[depth][0])


def test_clips_in_a_padded_batch_have_the_hidden_states_of_each_alone(
    pair: tuple[SpeechEncoder, PreTrainedModel],
) -> None:
    encoder, reference = pair
    batch = clips(400, 12_345, 32_000, 8_000)
    for clip, frames in zip(batch, encode(encoder, batch, DEPTHS), strict=True):
        with torch.no_grad():
            expected = depths_of(reference(clip[None], output_hidden_states=True))
        for depth in DEPTHS:
            assert_close(frames[depth], expected[depth][0])


# transformers 5.23 hands WavLM's attention a bool and a float mask
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
def test_layer_norm_models_have_the_hidden_states_of_hugging_faces_padded_batch(
    pair: tuple[SpeechEncoder, PreTrainedModel],
) -> None:
    encoder, reference = pair
    if reference.config.feat_extract_norm == "group":
        pytest.skip("padding changes Hugging Face's frames: each clip alone is the reference")
    batch = clips(12_345, 32_000)
    mask = torch.zeros(2, 32_000, dtype=torch.long)
    mask[0, :12_345] = mask[1] = 1
    with torch.no_grad():
        padded = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)
        expected = depths_of(reference(padded, attention_mask=mask, output_hidden_states=True))
    for row, frames in enumerate(encode(encoder, batch, DEPTHS)):
        for depth in DEPTHS:
            assert_close(frames[depth], expected[depth][row, : len(frames[depth])])


def test_the_output_is_the_last_depth_only_in_post_norm_models(pair: tuple[SpeechEncoder, PreTrainedModel]) -> None:
    encoder, reference = pair
    (frames,) = encode(encoder, clips(8_000), [3, "last"])
    assert torch.equal(frames[3], frames["last"]) != reference.config.do_stable_layer_norm


def test_gradients_are_hugging_faces(pair: tuple[SpeechEncoder, PreTrainedModel]) -> None:
    encoder, reference = pair
    encoder.model.requires_grad_(True)
    encoder.first_changing_depth = 0
    (clip,) = clips(8_000)
    values_at, _ = run(encoder, clip[None], torch.tensor([8_000]), ["last"])
    values_at["last"].sin().sum().backward()
    reference(clip[None]).last_hidden_state.sin().sum().backward()
    expected = {path: parameter.grad for path, parameter in reference.named_parameters() if parameter.grad is not None}
    # masked_spec_embed is there for SpecAugment alone
    gradients = {path: each.grad for path, each in encoder.model.named_parameters() if path != "masked_spec_embed"}
    assert set(expected) == set(gradients)
    for path, gradient in gradients.items():
        largest = expected[path].abs().max().item()
        torch.testing.assert_close(gradient, expected[path], atol=1e-4 * largest + 1e-4, rtol=0)


def test_normalised_waveforms_are_those_of_the_feature_extractor() -> None:
    batch = [clip * 0.2 + 0.4 for clip in clips(400, 5_000, 16_000)]
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    features = extractor([clip.numpy() for clip in batch], padding=True, sampling_rate=16_000, return_tensors="np")
    n_samples = torch.tensor([len(clip) for clip in batch])
    normalized = normalize_waveforms(torch.nn.utils.rnn.pad_sequence(batch, batch_first=True), n_samples)
    np.testing.assert_allclose(normalized.numpy(), features["input_values"], atol=1e-5)


# --- Whisper ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whisper() -> tuple[SpeechEncoder, PreTrainedModel]:
    reference = fill(TransformersWhisperEncoder(WHISPER))
    model = TransformersWhisperEncoder._from_config(WHISPER, attn_implementation="sdpa")
    model.load_state_dict(reference.state_dict())
    source = EncoderSource(
        "whisper", "reference", None, {}, normalize=False, features={"n_fft": 400, "hop_length": 160}
    )
    return WhisperEncoder(model, source), reference


def log_mel(clip: Tensor) -> Tensor:
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=2)
    features: Tensor = extractor(clip.numpy(), sampling_rate=16_000, return_tensors="pt")["input_features"]
    return features


@pytest.mark.parametrize("lengths", [[32_000], [9_999], [160, 20_000, 31_999]], ids=["full", "short", "batch"])
def test_whisper_has_hugging_faces_hidden_states(
    whisper: tuple[SpeechEncoder, PreTrainedModel], lengths: list[int]
) -> None:
    encoder, reference = whisper
    batch = clips(*lengths)
    for clip, frames in zip(batch, encode(encoder, batch, DEPTHS), strict=True):
        with torch.no_grad():
            expected = depths_of(reference(log_mel(clip), output_hidden_states=True))
        for depth in DEPTHS:
            assert_close(frames[depth], expected[depth][0, : len(frames[depth])])


def test_log_mel_is_that_of_the_feature_extractor() -> None:
    batch = [clip * scale for clip, scale in zip(clips(160, 5_000, 31_999, 32_000), [1, 1e-3, 0.3, 0], strict=True)]
    spectrogram = LogMel(n_mels=80, rate_hz=16_000, n_fft=400, hop_length=160)
    ours = spectrogram(torch.nn.utils.rnn.pad_sequence(batch, batch_first=True), 32_000)
    torch.testing.assert_close(ours, torch.cat([log_mel(clip) for clip in batch]), atol=1e-5, rtol=0)


def test_log_mel_in_128_bands_is_that_of_the_feature_extractor() -> None:
    (clip,) = clips(16_000)
    spectrogram = LogMel(n_mels=128, rate_hz=16_000, n_fft=400, hop_length=160)
    extractor = WhisperFeatureExtractor(feature_size=128)
    expected = extractor(clip.numpy(), sampling_rate=16_000, return_tensors="pt")["input_features"]
    torch.testing.assert_close(spectrogram(clip[None], 480_000), expected, atol=1e-5, rtol=0)
