"""What is added to an encoder: where it goes, what it does, how it becomes plain weights again."""

import math

import pytest
import torch

from lalia.errors import EncoderError, ModelError
from lalia.model.adapt import adapt_full, freeze_unused
from lalia.model.adapters import adapt_adalora, adapt_ia3, adapt_lora, adapt_soft_prompt, add_again, merge_adapters
from lalia.model.encoders.encode import encode
from toy_encoders import FAMILIES, make_encoder, run


def waveforms(*lengths):
    generator = torch.Generator().manual_seed(0)
    clips = [torch.randn(length, generator=generator) for length in lengths]
    return torch.nn.utils.rnn.pad_sequence(clips, batch_first=True), torch.tensor(lengths)


def last_frames(encoder):
    values, is_real = run(encoder, *waveforms(12_000, 5_000), ["last"])
    return values["last"][is_real]


def shake(encoder, scale=0.1):
    """Give the added parameters values far from those that change nothing."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, parameter in encoder.adaptable():
            if parameter.requires_grad:
                parameter += scale * torch.randn(parameter.shape, generator=generator)


# --- where they go ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_goes_around_the_four_projections_of_every_block(family):
    encoder = make_encoder(family)
    adapt_lora(encoder)
    assert len(encoder.added["modules"]) == 4 * encoder.n_blocks
    assert not any("rel" in path or "pos" in path for path in encoder.added["modules"])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_projection_that_lora_goes_around_is_called(family):
    encoder = make_encoder(family)
    adapt_lora(encoder, rank=1)
    before = last_frames(encoder)
    for path in encoder.added["modules"]:
        layer = encoder.model.get_submodule(path)
        # random: norms take out what is added to all channels alike
        layer.lora_B["default"].weight.data.normal_()
        assert not torch.equal(last_frames(encoder), before), path
        layer.lora_B["default"].weight.data.zero_()
    assert torch.equal(last_frames(encoder), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_ia3_scales_keys_values_and_the_inside_of_feed_forward_parts(family):
    encoder = make_encoder(family)
    adapt_ia3(encoder)
    n_blocks, inputs = encoder.n_blocks, encoder.added["scaled_inputs"]
    assert len(encoder.added["modules"]) - len(inputs) == 2 * n_blocks
    assert len(inputs) in (n_blocks, 2 * n_blocks)  # Conformers have two such parts
    inside = {4 * encoder.width, 2 * encoder.width, encoder.width}
    assert all(encoder.model.get_submodule(path).ia3_l["default"].shape[1] in inside for path in inputs)


@pytest.mark.parametrize(
    ("blocks", "depths"),
    [({}, [1, 2, 3]), ({"last": 1}, [3]), ({"last": 0.5}, [2, 3]), ({"blocks": [1, -1]}, [1, 3])],
)
def test_blocks_are_all_the_last_or_numbered(blocks, depths):
    encoder = make_encoder("wavlm")
    adaptation = adapt_lora(encoder, **blocks)
    assert sorted({encoder.depth_of(path) for path in adaptation.trainable}) == depths
    assert adaptation.first_changing_depth == depths[0] == encoder.first_changing_depth


@pytest.mark.parametrize(
    ("target", "layers"),
    [
        ("q_proj", ["attention.q_proj"]),
        ("attention.v_proj", ["attention.v_proj"]),
        ("feed_forward.*", ["feed_forward.intermediate_dense", "feed_forward.output_dense"]),
        ("attention.gru_rel_pos_linear", ["attention.gru_rel_pos_linear"]),
    ],
)
def test_targets_are_names_paths_or_globs_within_a_block(target, layers):
    encoder = make_encoder("wavlm")
    adapt_lora(encoder, targets=[target], last=1)
    assert encoder.added["modules"] == [f"encoder.layers.2.{layer}" for layer in layers]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"targets": ["q_prj"]},
            r"of random:wavlm matches 'q_prj'\. Did you mean 'q_proj'\? They are attention.k_proj",
        ),
        ({"targets": ["attention"]}, r"matches 'attention'"),
        ({"blocks": [4]}, "no block 4: it has 1 to 3"),
        ({"last": 4}, "last must be 1 to 3"),
        ({"last": 1, "blocks": [1]}, "either the last blocks or the numbers of blocks"),
    ],
)
def test_what_is_not_there_is_refused_and_nothing_is_added(options, message):
    encoder = make_encoder("wavlm")
    with pytest.raises(EncoderError, match=message):
        adapt_lora(encoder, **options)
    assert not encoder.added


@pytest.mark.parametrize("adapt", [adapt_lora, adapt_ia3, adapt_adalora, adapt_soft_prompt])
def test_an_encoder_takes_one_addition(adapt):
    encoder = make_encoder("hubert")
    adapt_lora(encoder)
    with pytest.raises(EncoderError, match="random:hubert was given lora before. Load the encoder anew"):
        adapt(encoder)


def test_a_rank_that_cannot_fall_is_refused():
    with pytest.raises(EncoderError, match="start_rank must be more than rank, to which it falls; got 8 and 8"):
        adapt_adalora(make_encoder("hubert"), rank=8, start_rank=8)


# --- what they do -----------------------------------------------------------------------------------------------------


def test_lora_adds_the_scaled_product_of_its_factors():
    encoder = make_encoder("wavlm")
    adapt_lora(encoder, rank=4, alpha=6.0)
    shake(encoder)
    layer = encoder.blocks[0].attention.q_proj
    frames = torch.randn(2, encoder.width)
    update = frames @ layer.lora_A["default"].weight.T @ layer.lora_B["default"].weight.T
    torch.testing.assert_close(layer(frames), layer.base_layer(frames) + 6.0 / 4 * update)


def test_rslora_divides_by_the_root_of_the_rank():
    encoder = make_encoder("wavlm")
    adapt_lora(encoder, rank=4, alpha=6.0, rslora=True)
    assert encoder.blocks[0].attention.q_proj.scaling == {"default": 6.0 / math.sqrt(4)}


def test_dora_learns_a_length_for_each_row_of_the_weights():
    encoder = make_encoder("wavlm")
    adaptation = adapt_lora(encoder, dora=True, last=1)
    lengths = [path for path in adaptation.trainable if "lora_magnitude_vector" in path]
    assert len(lengths) == 4
    layer = encoder.blocks[2].attention.q_proj
    expected = layer.base_layer.weight.norm(dim=1)
    torch.testing.assert_close(layer.lora_magnitude_vector["default"].weight, expected)


def test_a_block_with_adapters_is_in_training_mode_as_a_whole_and_no_other():
    encoder = make_encoder("wavlm")
    adapt_lora(encoder, dropout=0.5, blocks=[2])
    encoder.train()
    modes = [{module.training for module in block.modules()} for block in encoder.blocks]
    assert modes == [{False}, {True}, {False}]
    encoder.eval()
    assert not any(module.training for module in encoder.modules())


def test_below_the_lowest_adapter_no_graph_is_built():
    encoder = make_encoder("hubert")
    adapt_lora(encoder, last=1)
    values, _ = run(encoder, *waveforms(5_000), [0, 1, 2, 3])
    assert [each.requires_grad for each in values.values()] == [False, False, False, True]


@pytest.mark.parametrize("adapt", [adapt_lora, adapt_ia3, adapt_adalora])
def test_adapters_above_the_pooled_depth_are_taken_out_again(adapt):
    encoder = make_encoder("hubert")
    adapt(encoder)
    freeze_unused(encoder, 2)
    assert {encoder.depth_of(path) for path in encoder.added["modules"]} == {1, 2}
    assert type(encoder.blocks[2].attention.k_proj) is torch.nn.Linear
    freeze_unused(encoder, 0)
    assert encoder.added == {}
    assert encoder.ranks is None


# --- AdaLoRA's ranks --------------------------------------------------------------------------------------------------


def train_adalora(encoder, steps):
    optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=0.1)
    budgets = []
    for step in range(steps):
        (last_frames(encoder) - 1.0).square().mean().backward()
        encoder.ranks.penalty().backward()
        optimizer.step()
        encoder.ranks.after_step(step, steps)
        optimizer.zero_grad()
        budgets.append(sum(encoder.ranks.ranks().values()))
    return budgets


def test_the_ranks_fall_to_the_mean_that_was_asked_for_and_stay():
    encoder = make_encoder("wavlm")
    adapt_adalora(encoder, rank=2, start_rank=4, warmup=0.25, settle=0.25)
    budgets = train_adalora(encoder, 20)
    modules = len(encoder.added["modules"])
    assert budgets[4] == 4 * modules
    assert budgets[15:] == [2 * modules] * 5
    assert budgets == sorted(budgets, reverse=True)


def test_ranks_fall_only_among_the_blocks_that_are_used():
    encoder = make_encoder("wavlm")
    adapt_adalora(encoder, rank=1, start_rank=2)
    freeze_unused(encoder, "weighted")
    freeze_unused(encoder, 3)
    assert train_adalora(encoder, 10)[-1] == 12


def test_the_penalty_is_the_mean_distance_from_orthogonal_factors():
    encoder = make_encoder("wavlm")
    adapt_adalora(encoder, rank=1, start_rank=2, targets=["q_proj"], last=1, orthogonality=0.25)
    layer = encoder.blocks[2].attention.q_proj
    layer.lora_A["default"].data = torch.eye(16)[:2] * 2.0  # A A' = 4 I: distance sqrt(9 + 9)
    layer.lora_B["default"].data = torch.eye(16)[:, :2]
    assert encoder.ranks.penalty().item() == pytest.approx(0.25 * math.sqrt(18) / 2)


def test_a_training_too_short_for_ranks_to_fall_is_refused():
    encoder = make_encoder("wavlm")
    adapt_adalora(encoder)
    with pytest.raises(ModelError, match="at least 2 optimiser steps to find its ranks, and this training has 1"):
        encoder.ranks.after_step(0, 1)


# --- adding again, merging --------------------------------------------------------------------------------------------


def test_adapters_are_added_again_around_the_same_layers_and_frozen():
    encoder = make_encoder("wavlm")
    adapt_lora(encoder, rank=3, last=1)
    fresh = make_encoder("wavlm")
    add_again(fresh, encoder.added)
    assert fresh.added == encoder.added
    assert list(fresh.state_dict()) == list(encoder.state_dict())
    assert not any(parameter.requires_grad for parameter in fresh.parameters())


def test_adapters_for_layers_that_are_not_there_are_refused():
    encoder = make_encoder("wavlm", layers=4)
    adapt_lora(encoder, last=1)
    with pytest.raises(EncoderError, match=r"has no layer 'encoder.layers.3.attention.k_proj' for an adapter"):
        add_again(make_encoder("wavlm", layers=3), encoder.added)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["lora", "dora", "ia3", "adalora"])
def test_merged_adapters_give_the_same_frames_under_hugging_faces_names(family, kind):
    encoder = make_encoder(family)
    names = list(encoder.model.state_dict())
    options = {"dora": True} if kind == "dora" else {}
    {"lora": adapt_lora, "dora": adapt_lora, "ia3": adapt_ia3, "adalora": adapt_adalora}[kind](encoder, **options)
    shake(encoder)
    before = last_frames(encoder)
    merge_adapters(encoder)
    torch.testing.assert_close(last_frames(encoder), before, atol=1e-5, rtol=1e-5)
    assert list(encoder.model.state_dict()) == names
    assert (encoder.added, encoder.ranks) == ({}, None)


# transformers 5.23 hands WavLM's attention a bool and a float mask
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
def test_merged_weights_give_the_same_frames_in_transformers_own_wavlm():
    from transformers import WavLMConfig, WavLMModel

    encoder = make_encoder("wavlm")
    adapt_lora(encoder)
    shake(encoder)
    (clip,), _ = waveforms(8_000)
    merge_adapters(encoder)
    reference = WavLMModel(WavLMConfig(**encoder.source.architecture)).eval()
    reference.load_state_dict(encoder.model.state_dict())
    normalized = (clip - clip.mean()) / clip.std(correction=0)
    with torch.no_grad():
        expected = reference(normalized[None]).last_hidden_state[0]
    torch.testing.assert_close(encode(encoder, [clip], ["last"])[0]["last"], expected, atol=1e-4, rtol=1e-4)


def test_merging_without_adapters_changes_nothing():
    encoder = make_encoder("hubert")
    adapt_full(encoder)
    merge_adapters(encoder)
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_a_soft_prompt_cannot_be_merged():
    encoder = make_encoder("hubert")
    adapt_soft_prompt(encoder)
    with pytest.raises(ModelError, match="A soft prompt cannot be folded into weights"):
        merge_adapters(encoder)
