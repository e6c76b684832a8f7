"""The protocol of encoders: frames, masks, depths, training mode, whatever the family."""

import copy
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn

from lalia.errors import EncoderError
from lalia.model.adapt import adapt_full, adapt_partial
from lalia.model.encoders.base import SpeechEncoder, normalize_waveforms
from lalia.model.encoders.conv_stem import convolve, convolve_batch
from lalia.model.encoders.load import build_from_architecture, encode, load_encoder
from toy_encoders import ENCODERS, make_encoder, noise, pad, run


@pytest.fixture(params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> SpeechEncoder:
    return make_encoder(request.param)


def small(**settings: object) -> SpeechEncoder:
    return load_encoder({"layers": 3, "width": 16, "heads": 2, **settings})


def test_frames_do_not_depend_on_batch_neighbours_or_padding(
    encoder: SpeechEncoder, record_property: Callable[[str, object], None]
) -> None:
    short, long = noise(5_000, 31_999)
    alone = encoder(*pad([short]), [0, 1, 2, 3, "last"])
    together = encoder(*pad([long, short]), [0, 1, 2, 3, "last"])
    differences = []
    for depth, (values, is_real) in alone.items():
        beside = together[depth].values[1, together[depth].is_real[1]]
        torch.testing.assert_close(beside, values[0, is_real[0]], atol=1e-5, rtol=0)
        differences.append((beside - values[0, is_real[0]]).abs().max().item())
    record_property("difference", max(differences))


def test_what_lies_behind_the_real_samples_is_not_used(encoder: SpeechEncoder) -> None:
    short, long = noise(5_000, 31_999)
    zeros, is_real = run(encoder, *pad([long, short]), ["last"])
    junk, _ = run(encoder, *pad([long, short], behind=7.0), ["last"])
    torch.testing.assert_close(junk["last"][is_real], zeros["last"][is_real], atol=1e-5, rtol=0)


LENGTHS = [400, 401, 719, 720, 1_039, 1_040, 2_319, 2_320, 9_999, 16_000, 16_001, 31_999, 99_999, 199_999, 200_000]


@pytest.mark.parametrize("name", [name for name in ENCODERS if "whisper" not in name and "spectrogram" not in name])
def test_frame_counts_are_those_of_hugging_faces_own_output(name: str) -> None:
    encoder = make_encoder(name, layers=1, width=4)
    for length in LENGTHS:
        if length < encoder.min_samples:
            continue
        frames = encoder(torch.zeros(1, length), torch.tensor([length]), ["last", 0])
        count = int(encoder.count_frames(torch.tensor(length)))
        assert frames[0].is_real.sum() == count
        expected = count * encoder.model.config.squeeze_factor if encoder.family == "sew" else count
        assert frames["last"].is_real.sum() == expected
        if encoder.family not in ("wav2vec2-bert", "parakeet_encoder", "lasr_encoder"):
            assert frames[0].values.shape[1] == count


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm", "unispeech-sat", "data2vec-audio", "sew"])
def test_frame_counts_are_those_of_the_convolutions(family: str) -> None:
    encoder = make_encoder(family)
    convolutions = copy.deepcopy(encoder.model.feature_extractor).to("meta")
    squeeze = getattr(encoder.model.config, "squeeze_factor", 1)
    counts = [convolutions(torch.empty(1, length, device="meta")).shape[-1] // squeeze for length in LENGTHS]
    assert encoder.count_frames(torch.tensor(LENGTHS)).tolist() == counts


def test_whisper_counts_a_frame_for_every_two_mel_frames_begun() -> None:
    encoder = small(random="whisper")
    lengths = torch.tensor([160, 319, 320, 480, 16_000, 479_999, 480_000])
    assert encoder.count_frames(lengths).tolist() == [1, 1, 1, 2, 50, 1_500, 1_500]


def test_a_mask_marks_as_many_frames_as_the_real_samples_give(encoder: SpeechEncoder) -> None:
    waveforms, n_samples = pad(noise(encoder.min_samples, 16_000, 9_999))
    _, is_real = run(encoder, waveforms, n_samples, [0])
    assert is_real.sum(dim=1).tolist() == encoder.count_frames(n_samples).tolist()
    # those of the spectrogram transformer are patches, all times of a band before the next band
    if encoder.family != "audio-spectrogram-transformer":
        assert all(row.tolist() == sorted(row.tolist(), reverse=True) for row in is_real)


SHORTEST = {
    "whisper": 160,
    "sew": 720,
    "wav2vec2-bert": 560,
    "audio-spectrogram-transformer": 400,
    "parakeet_encoder": 320,
    "lasr_encoder": 2_320,
}


@pytest.mark.parametrize("name", [name for name in ENCODERS if name != "sew with group norm"])
def test_the_shortest_waveform_of_a_family_is_known(name: str) -> None:
    encoder = make_encoder(name)
    assert encoder.min_samples == SHORTEST.get(encoder.family, 400)


def test_the_shortest_waveform_gives_finite_frames(encoder: SpeechEncoder) -> None:
    frames = encode(encoder, noise(encoder.min_samples), depths=[0, "last"])[0]
    # the spectrogram transformer has two special tokens and a patch of each of two bands
    assert len(frames[0]) == (4 if encoder.family == "audio-spectrogram-transformer" else 1)
    assert frames["last"].isfinite().all()


def test_a_waveform_that_is_too_short_is_refused(encoder: SpeechEncoder) -> None:
    shortest = encoder.min_samples
    with pytest.raises(EncoderError, match=rf"has {shortest - 1} samples, but random:.* needs at least {shortest}"):
        encoder(*pad(noise(shortest - 1, 16_000)), ["last"])


def test_whisper_refuses_more_than_its_context_and_names_the_setting() -> None:
    encoder = make_encoder("whisper")
    assert encoder.max_samples == 32_000
    with pytest.raises(EncoderError, match=r"2\.00 s long.*at most 2 s\. Set audio\.window_seconds to 2 or less"):
        encoder(*pad(noise(32_001)), ["last"])


def test_numbers_of_samples_beyond_the_waveform_are_refused(encoder: SpeechEncoder) -> None:
    with pytest.raises(EncoderError, match=r"shape \(1, 3000\) and \[3001\]"):
        encoder(torch.zeros(1, 3_000), torch.tensor([3_001]), ["last"])


@pytest.mark.parametrize("depth", [4, -1, "first"])
def test_a_depth_that_does_not_exist_is_refused(encoder: SpeechEncoder, depth: object) -> None:
    with pytest.raises(EncoderError, match=r"has no depth .*: it has 0 \(the stem\) to 3, and 'last'"):
        encoder(*pad(noise(3_000)), [0, depth])


def test_normalised_waveforms_have_zero_mean_and_unit_variance_over_real_samples() -> None:
    waveforms, n_samples = pad([waveform * 3 + 5 for waveform in noise(1_000, 400)], behind=99.0)
    normalized = normalize_waveforms(waveforms, n_samples)
    for row, n in zip(normalized, n_samples.tolist(), strict=True):
        assert row[:n].mean().item() == pytest.approx(0.0, abs=1e-5)
        assert row[:n].var(unbiased=False).item() == pytest.approx(1.0, abs=1e-4)
        assert not row[n:].any()


def test_silence_can_be_normalised() -> None:
    assert not normalize_waveforms(torch.full((1, 400), 0.25), torch.tensor([400])).any()


def test_a_normalising_encoder_does_not_hear_level_and_offset() -> None:
    encoder = small(random="wavlm")
    (waveform,) = noise(8_000)
    plain, changed = encode(encoder, [waveform, waveform * 4 + 1], depths=["last"])
    torch.testing.assert_close(changed["last"], plain["last"], atol=1e-3, rtol=0)


def test_every_tensor_is_on_the_encoders_device(encoder: SpeechEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    if encoder.source.features.get("feature_extractor_type"):
        pytest.skip("Hugging Face's feature extractor computes on the CPU, from real samples")
    # operations between the meta device and the CPU fail, as those between a GPU and the CPU do; it has no autocast
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    encoder.to("meta")
    waveforms, n_samples = pad(noise(5_000, 9_000))
    values_at, is_real = run(encoder, waveforms.to("meta"), n_samples, [0, 3, "last"])
    assert {values.device.type for values in [*values_at.values(), is_real]} == {"meta"}


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm"])
def test_a_layer_norm_stem_gives_the_same_features_for_a_padded_batch(family: str) -> None:
    # which is how it runs on a GPU
    encoder = small(random=family)
    waveforms, n_samples = pad(noise(31_999, 5_000))
    layers = encoder.model.feature_extractor.conv_layers
    batched = convolve_batch(layers, waveforms)
    clips = convolve(layers, waveforms, n_samples.tolist(), has_group_norm=False)
    for row, clip in enumerate(clips):
        n_real = int(encoder.count_frames(n_samples[row]))
        torch.testing.assert_close(batched[row, :n_real], clip[:n_real], atol=1e-5, rtol=0)


def test_bfloat16_gives_nearly_the_same_frames(encoder: SpeechEncoder) -> None:
    waveforms, n_samples = pad(noise(9_000, 5_000))
    exact, is_real = run(encoder, waveforms, n_samples, ["last"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded, _ = run(encoder, waveforms, n_samples, ["last"])
    is_real = is_real if encoder.family != "sew" else slice(None)
    error = rounded["last"][is_real].float() - exact["last"][is_real]
    assert error.square().mean().sqrt() < 0.05 * exact["last"][is_real].square().mean().sqrt()


# --- random encoders --------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(encoder: SpeechEncoder) -> None:
    again = the_same_with_seed(encoder, seed=0).state_dict()
    other = the_same_with_seed(encoder, seed=1).state_dict()
    state = encoder.state_dict()
    assert all(torch.equal(again[name], values) for name, values in state.items())
    assert any(not torch.equal(other[name], values) for name, values in state.items())


def the_same_with_seed(encoder: SpeechEncoder, seed: int) -> SpeechEncoder:
    keys = {key: value for key, value in encoder.source.architecture.items() if value is not None}
    again = {"random": encoder.family, "layers": 3, "width": 16, "heads": 2, "seed": seed, "config": keys}
    return load_encoder(again, context=encoder.source.context)


def test_random_weights_leave_the_global_random_state_as_it_was() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    small(random="wavlm")
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm", "hubert", "data2vec-audio", "wav2vec2-bert", "whisper"])
def test_random_encoders_give_50_frames_a_second_and_finite_values(name: str) -> None:
    (frames,) = encode(make_encoder(name), noise(32_000))
    assert all(abs(len(values) - 100) <= 1 and values.isfinite().all() for values in frames.values())


@pytest.mark.parametrize(("alias", "family"), [("ast", "audio-spectrogram-transformer"), ("xls-r", "wav2vec2")])
def test_a_family_can_be_asked_for_by_the_name_that_people_use(alias: str, family: str) -> None:
    assert load_encoder({"random": alias, "layers": 1, "width": 16, "heads": 2}).family == family


def test_a_short_name_gives_the_default_sizes() -> None:
    encoder = load_encoder("random:wavlm")
    assert (encoder.family, encoder.n_blocks, encoder.width, encoder.source.name) == ("wavlm", 2, 64, "random:wavlm")


def test_config_overrides_the_architectures_own_keys() -> None:
    encoder = small(random="hubert", config={"intermediate_size": 24, "num_conv_pos_embeddings": 16})
    assert encoder.blocks[0].feed_forward.intermediate_dense.out_features == 24


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"random": "wavln"},
            "unknown architecture 'wavln'. Did you mean 'wavlm'\\? Known by their parts are wav2vec2, hubert",
        ),
        ({"random": "wavlm", "layer": 2}, "got random, layer. Did you mean 'layers'\\?"),
        ({"layers": 2}, "of which random is needed; got layers."),
        ({"random": "wavlm", "width": 30, "heads": 4}, "width must be a multiple of heads, got 30 and 4"),
        ({"random": "wavlm", "layers": 0}, "layers must be a whole number of 1 or more, got 0"),
        ({"random": "wavlm", "config": {"hiden_act": "gelu"}}, "'hiden_act' is not a key.* Did you mean 'hidden_act'"),
        ({"random": "wavlm", "config": {"hidden_dropout": "much"}}, "config cannot be used.*'hidden_dropout'"),
        ({"random": "wavlm", "config": {"conv_dim": [8, 8]}}, "config cannot be used.*convolutional layers"),
        ({"random": "wavlm", "config": {"hidden_act": "gelo"}}, "config cannot be used.*gelo"),
        ({"random": "wavlm", "config": {"num_conv_pos_embedding_groups": 7}}, "config cannot be used.*groups"),
    ],
)
def test_a_random_encoder_that_cannot_be_made_says_why(settings: dict[str, object], message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        load_encoder(settings)


# --- building again from a saved description --------------------------------------------------------------------------


def test_an_encoder_built_from_its_description_takes_the_weights_and_gives_the_same_frames(
    encoder: SpeechEncoder,
) -> None:
    built = build_from_architecture(json.loads(json.dumps(asdict(encoder.source), allow_nan=False)))
    built.load_state_dict(encoder.state_dict())
    (expected,), (frames,) = encode(encoder, noise(8_000)), encode(built, noise(8_000))
    assert built.source == encoder.source
    assert all(torch.equal(frames[depth], values) for depth, values in expected.items())


def test_an_encoder_built_from_its_description_has_no_weights_of_its_own(encoder: SpeechEncoder) -> None:
    built = build_from_architecture(asdict(encoder.source))
    assert all(parameter.isnan().all() for parameter in built.parameters())
    assert {name: values.shape for name, values in built.state_dict().items()} == {
        name: values.shape for name, values in encoder.state_dict().items()
    }


def test_a_description_of_another_architecture_is_not_built(encoder: SpeechEncoder) -> None:
    with pytest.raises(EncoderError, match="unknown architecture 'bert'"):
        build_from_architecture(asdict(encoder.source) | {"family": "bert"})
    with pytest.raises(EncoderError, match="described by family, name, .*; got family"):
        build_from_architecture({"family": "wavlm"})


# --- frozen means eval mode and no gradients --------------------------------------------------------------------------


def test_a_loaded_encoder_is_frozen_whatever_the_mode(encoder: SpeechEncoder) -> None:
    encoder.train()
    assert encoder.first_changing_depth == encoder.n_blocks + 1
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not any(module.training for module in encoder.modules() if module is not encoder)
    values_at, _ = run(encoder, *pad(noise(4_000)), [0, 3, "last"])
    assert not any(values.requires_grad for values in values_at.values())


def test_below_the_first_changing_depth_no_graph_is_built(encoder: SpeechEncoder) -> None:
    adapt_partial(encoder, last=1)
    encoder.train()
    values_at, _ = run(encoder, *pad(noise(4_000)), [0, 1, 2, 3, "last"])
    assert [values.requires_grad for values in values_at.values()] == [False, False, False, True, True]


def test_frozen_blocks_have_no_dropout_in_training_and_training_blocks_have(encoder: SpeechEncoder) -> None:
    adapt_partial(encoder, unfreeze=[2])
    encoder.train()
    waveforms, n_samples = pad(noise(4_000))
    first, _ = run(encoder, waveforms, n_samples, [1, 2])
    second, _ = run(encoder, waveforms, n_samples, [1, 2])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[2], second[2])
    assert [block.training for block in encoder.blocks] == [False, True, False]


def test_in_eval_mode_nothing_is_random(encoder: SpeechEncoder) -> None:
    adapt_full(encoder)
    encoder.train()
    encoder.eval()
    waveforms, n_samples = pad(noise(4_000))
    first, _ = run(encoder, waveforms, n_samples, ["last"])
    second, _ = run(encoder, waveforms, n_samples, ["last"])
    assert torch.equal(first["last"], second["last"])


def test_batch_norm_stays_in_eval_mode_in_training() -> None:
    encoder = make_encoder("hubert with batch norm")
    adapt_full(encoder)
    encoder.train()
    assert encoder.model.encoder.pos_conv_embed.conv.training
    assert not encoder.model.encoder.pos_conv_embed.batch_norm.training


def test_every_depth_has_the_same_length_in_training(encoder: SpeechEncoder) -> None:
    adapt_full(encoder)
    encoder.train()
    for _ in range(5):
        values_at, _ = run(encoder, *pad(noise(2_400, 3_000)), [0, 1, 2, 3])
        assert len({values.shape for values in values_at.values()}) == 1


def test_parts_of_a_training_block_without_trainable_parameters_stay_in_eval_mode() -> None:
    encoder = small(random="wavlm")
    adapt_partial(encoder, unfreeze=["encoder.layers.1.attention"])
    encoder.train()
    block = encoder.blocks[1]
    assert block.attention.training
    assert block.dropout.training
    assert not block.feed_forward.training


# --- WavLM's attention ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("projection", ["q_proj", "k_proj", "v_proj", "out_proj"])
def test_wavlm_calls_its_projections_as_modules(projection: str) -> None:
    encoder = small(random="wavlm")
    adapt_full(encoder)
    calls = []
    for block in encoder.blocks:
        getattr(block.attention, projection).register_forward_hook(lambda *_: calls.append(1))
    values_at, _ = run(encoder, *pad(noise(4_000)), ["last"])
    values_at["last"].square().mean().backward()
    assert len(calls) == 3
    assert all(getattr(block.attention, projection).weight.grad.any() for block in encoder.blocks)


def test_wavlm_with_one_changed_projection_gives_other_frames() -> None:
    encoder = small(random="wavlm")
    (before,) = encode(encoder, noise(4_000), depths=[1])
    encoder.blocks[0].attention.q_proj = nn.Sequential(encoder.blocks[0].attention.q_proj, nn.Linear(16, 16))
    (after,) = encode(encoder, noise(4_000), depths=[1])
    assert not torch.allclose(before[1], after[1])


# --- encode -----------------------------------------------------------------------------------------------------------


def test_encode_gives_the_frames_of_each_waveform_in_order(encoder: SpeechEncoder) -> None:
    waveforms = noise(3_000, 20_000, 2_400, 8_000)
    together = encode(encoder, waveforms)
    for waveform, frames in zip(waveforms, together, strict=True):
        (alone,) = encode(encoder, [waveform])
        assert list(frames) == [0, 1, 2, 3]
        for depth, values in frames.items():
            assert values.shape == (encoder.count_frames(torch.tensor(len(waveform))), 16)
            torch.testing.assert_close(values, alone[depth], atol=1e-5, rtol=0)


def test_encode_takes_numpy_arrays_of_either_precision() -> None:
    encoder = small(random="hubert")
    (waveform,) = noise(4_000)
    expected, single, double = encode(
        encoder, [waveform, waveform.numpy(), waveform.numpy().astype(np.float64)], depths=["last"]
    )
    assert torch.equal(single["last"], expected["last"])
    assert torch.equal(double["last"], expected["last"])


def test_encode_leaves_the_training_mode_as_it_was() -> None:
    encoder = small(random="hubert")
    adapt_full(encoder)
    encoder.train()
    first, second = encode(encoder, noise(4_000))[0], encode(encoder, noise(4_000))[0]
    assert torch.equal(first[3], second[3])
    assert encoder.blocks[0].training


def test_encode_refuses_more_than_one_channel() -> None:
    with pytest.raises(EncoderError, match=r"Waveform 1 is torch.float64 of shape \(2, 4000\): one row of floats"):
        encode(small(random="hubert"), [np.zeros(4_000), np.zeros((2, 4_000))])


def test_encode_refuses_whole_numbers() -> None:
    with pytest.raises(EncoderError, match="Waveform 0 is torch.int16 .*between -1 and 1"):
        encode(small(random="hubert"), [np.zeros(4_000, dtype=np.int16)])


def test_encode_of_nothing_is_nothing() -> None:
    assert encode(small(random="hubert"), []) == []
