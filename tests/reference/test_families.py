"""Every family's depths against Hugging Face's own forward and feature extractor, with the same random weights."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder as TransformersWhisperEncoder

from lalia.model.encoders.base import SpeechEncoder
from lalia.model.encoders.clip_features import ClipFeatures
from lalia.model.encoders.families import FAMILIES
from lalia.model.encoders.load import encode
from toy_encoders import ENCODERS, make_encoder, noise

DEPTHS = [0, 1, 2, 3, "last"]
# Hugging Face has no Whisper on the clip: it is compared below
COMPARED = [name for name in ENCODERS if name != "whisper on the clip"]


def fill(model: PreTrainedModel) -> None:
    """Give every parameter and statistic values far from those of a new model, where little would show."""
    generator = torch.Generator().manual_seed(1)
    for name, values in model.state_dict().items():
        if values.is_floating_point():
            spread = 0.1 * torch.randn(values.shape, generator=generator)
            # positive where it scales: variances and weight-norm magnitudes
            is_scale = "running_var" in name or "original0" in name
            values.copy_(1.0 + 3 * spread.abs() if is_scale else values + spread)


def make_pair(name: str) -> tuple[SpeechEncoder, PreTrainedModel]:
    encoder = make_encoder(name, width=24, heads=3)
    model = encoder.model["encoder"] if encoder.family == "whisper" else encoder.model
    fill(model)
    # a copy: a config holds the attention implementation of its model
    config = copy.deepcopy(model.config)
    reference = FAMILIES[encoder.family].model_class._from_config(config, attn_implementation="eager")
    reference.load_state_dict(model.state_dict())
    return encoder, reference.eval()


def hidden_states(encoder: SpeechEncoder, reference: PreTrainedModel, clip: Tensor) -> dict[object, Tensor]:
    """Return Hugging Face's hidden states of one clip by itself."""
    inputs = {"input_values": (clip[None] - clip.mean()) / (clip.var(unbiased=False) + 1e-7).sqrt()}
    if encoder.family == "whisper":
        extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=2)
        inputs = extractor(clip.numpy(), sampling_rate=16_000, return_tensors="pt")
    elif encoder.source.features:
        extract = ClipFeatures(encoder.source.features, 16_000, "reference")
        inputs = extract(clip[None], [len(clip)])[0]
    with torch.no_grad():
        output = reference(**inputs, output_hidden_states=True)
    return dict(enumerate(output.hidden_states)) | {"last": output.last_hidden_state}


def assert_equal_on_real_frames(encoder: SpeechEncoder, frames: Tensor, expected: Tensor, clip: Tensor) -> float:
    """Return the largest difference, as a share of the largest value where that is above 1."""
    if encoder.family == "audio-spectrogram-transformer":
        is_real = encoder(clip[None], torch.tensor([len(clip)]), [0])[0].is_real[0]
        expected = expected[0, is_real]
    else:
        expected = expected[0, : len(frames)]
    # 1e-5 of the largest value: the values of deep pre-norm blocks are not of unit size
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(frames, expected, atol=1e-5 * scale, rtol=0)
    return (frames - expected).abs().max().item() / scale


@pytest.mark.parametrize("name", COMPARED)
def test_a_clip_alone_has_hugging_faces_hidden_states_at_every_depth(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    encoder, reference = make_pair(name)
    (clip,) = noise(16_001)
    expected = hidden_states(encoder, reference, clip)
    (frames,) = encode(encoder, [clip], DEPTHS)
    assert encoder.n_blocks + 2 == len(expected)
    differences = [assert_equal_on_real_frames(encoder, frames[depth], expected[depth], clip) for depth in DEPTHS]
    record_property("difference", max(differences))


@pytest.mark.parametrize("name", COMPARED)
def test_clips_in_a_padded_batch_have_the_hidden_states_of_each_alone(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    encoder, reference = make_pair(name)
    differences = []
    batch = noise(max(400, encoder.min_samples), 12_345, 31_999, 8_000)
    for clip, frames in zip(batch, encode(encoder, batch, DEPTHS), strict=True):
        expected = hidden_states(encoder, reference, clip)
        differences += [assert_equal_on_real_frames(encoder, frames[depth], expected[depth], clip) for depth in DEPTHS]
    record_property("difference", max(differences))


def test_a_full_spectrogram_has_all_tokens_of_hugging_face() -> None:
    encoder, reference = make_pair("audio-spectrogram-transformer")
    (clip,) = noise(encoder.max_samples)
    (frames,) = encode(encoder, [clip], DEPTHS)
    assert frames[3].shape[0] == hidden_states(encoder, reference, clip)[3].shape[1]


@pytest.mark.parametrize("n_samples", [160, 5_000, 20_000, 32_000])
def test_whisper_on_the_clip_is_hugging_faces_encoder_with_as_many_positions(n_samples: int) -> None:
    encoder = make_encoder("whisper on the clip", width=24, heads=3)
    fill(encoder.model["encoder"])
    (clip,) = noise(n_samples)
    n_frames = int(encoder.count_frames(torch.tensor(n_samples)))
    weights = encoder.model["encoder"].state_dict()
    weights["embed_positions.weight"] = weights["embed_positions.weight"][:n_frames]
    config = type(encoder.model["encoder"].config)(**(encoder.source.architecture | {"max_source_positions": n_frames}))
    reference = TransformersWhisperEncoder._from_config(config, attn_implementation="eager").eval()
    reference.load_state_dict(weights)
    # silence behind the clip, as in its training; then as many mel frames as make the clip's
    mel = WhisperFeatureExtractor(feature_size=80)(clip.numpy(), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        output = reference(mel["input_features"][..., : 2 * n_frames], output_hidden_states=True)
    beside = [noise(32_000)[0], clip, noise(9_999)[0]]
    frames = encode(encoder, beside, DEPTHS)[1]
    for depth in [0, 1, 2, 3]:
        expected = output.hidden_states[depth][0]
        torch.testing.assert_close(frames[depth], expected, atol=1e-5 * max(1.0, expected.abs().max().item()), rtol=0)
