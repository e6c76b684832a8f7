"""What trains: exactly what was declared."""

import pytest
import torch

from lalia.errors import EncoderError
from lalia.model.adapt import (
    Adaptation,
    adapt_frozen,
    adapt_full,
    adapt_partial,
    freeze_unused,
    own_changes,
    train_from,
)
from lalia.model.encoders.base import SpeechEncoder
from toy_encoders import FAMILIES, make_encoder, run

LIKE_WAV2VEC2 = ["wav2vec2", "hubert", "wavlm", "unispeech-sat", "wav2vec2-conformer", "wav2vec2-bert", "whisper"]


def small(family: str, layers: int = 3, **config: object) -> SpeechEncoder:
    return make_encoder(family, layers, **config)


def trainable(encoder: SpeechEncoder) -> set[str]:
    return {path for path, parameter in encoder.model.named_parameters() if parameter.requires_grad}


def moved_by_a_step(encoder: SpeechEncoder) -> tuple[set[str], set[str]]:
    """Return the parameters that one training step changes, and those that got a gradient."""
    before = {path: parameter.detach().clone() for path, parameter in encoder.model.named_parameters()}
    encoder.train()
    optimizer = torch.optim.SGD(encoder.parameters(), lr=1.0, weight_decay=0.5)
    waveforms = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    values_at, is_real = run(encoder, waveforms, torch.tensor([16_000, 9_000]), ["last"])
    (values_at["last"][is_real] - torch.linspace(-1, 1, 16)).square().mean().backward()
    optimizer.step()
    after = dict(encoder.model.named_parameters())
    moved = {path for path, values in before.items() if not torch.equal(values, after[path])}
    return moved, {path for path, parameter in after.items() if parameter.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "adapt",
    [
        lambda encoder: adapt_partial(encoder, last=1),
        lambda encoder: adapt_partial(encoder, unfreeze=[1]),
        lambda encoder: adapt_partial(encoder, unfreeze=[2, f"{encoder.path_of(encoder.blocks[0])}.*norm*"]),
        lambda encoder: adapt_full(encoder, train_stem=False),
        adapt_full,
    ],
    ids=["last", "first", "norms", "blocks", "full"],
)
def test_a_training_step_moves_exactly_what_was_declared(family: str, adapt: object) -> None:
    encoder = small(family)
    adaptation = adapt(encoder)  # type: ignore[operator]
    declared = set(adaptation.trainable)
    moved, with_gradient = moved_by_a_step(encoder)
    assert declared == trainable(encoder) == with_gradient
    # new biases are zero, so weight decay leaves the ones whose gradient is zero too where they are: keys' are,
    # as attention sees only differences between keys
    assert moved <= declared
    assert all(path.endswith("k_proj.bias") for path in declared - moved)


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_trains_nothing(family: str) -> None:
    encoder = small(family)
    adapt_full(encoder)
    assert adapt_frozen(encoder) == Adaptation("frozen", 4, ())
    assert trainable(encoder) == set()
    assert encoder.first_changing_depth == 4


def test_unfreezing_block_1_leaves_block_10_frozen() -> None:
    encoder = small("wavlm", layers=12)
    adaptation = adapt_partial(encoder, unfreeze=[1])
    assert {path.split(".")[2] for path in adaptation.trainable} == {"0"}


def test_naming_layer_1_leaves_layer_10_frozen() -> None:
    encoder = small("wavlm", layers=12)
    adaptation = adapt_partial(encoder, unfreeze=["encoder.layers.1"])
    assert {path.split(".")[2] for path in adaptation.trainable} == {"1"}
    assert adaptation.first_changing_depth == 2


def test_negative_numbers_count_blocks_from_the_end() -> None:
    encoder = small("hubert", layers=4)
    assert adapt_partial(encoder, unfreeze=[-1]) == adapt_partial(encoder, unfreeze=[4])
    assert adapt_partial(encoder, unfreeze=[-4]) == adapt_partial(encoder, unfreeze=[1])


@pytest.mark.parametrize(("last", "first"), [(1, 10), (10, 1), (0.5, 6), (0.01, 10), (0.1, 10), (0.11, 9), (1.0, 1)])
def test_last_is_a_number_of_blocks_or_a_fraction_rounded_up(last: float, first: int) -> None:
    encoder = small("hubert", layers=10)
    adaptation = adapt_partial(encoder, last=last)
    blocks = {int(path.split(".")[2]) + 1 for path in adaptation.trainable}
    assert blocks == set(range(first, 11))
    assert adaptation.first_changing_depth == first == encoder.first_changing_depth


@pytest.mark.parametrize("family", LIKE_WAV2VEC2)
def test_paths_are_those_of_hugging_faces_model(family: str) -> None:
    encoder = small(family)
    assert adapt_partial(encoder, unfreeze=["encoder.layers.1"]) == adapt_partial(encoder, unfreeze=[2])


def test_a_glob_matches_whole_paths() -> None:
    encoder = small("wav2vec2", layers=12)
    adaptation = adapt_partial(encoder, unfreeze=["encoder.layers.*.attention.?_proj"])
    assert len(adaptation.trainable) == 12 * 3 * 2
    assert all(path.split(".")[4] in ("q_proj", "k_proj", "v_proj") for path in adaptation.trainable)


def test_a_parameter_can_be_named_alone() -> None:
    encoder = small("wavlm")
    path = "encoder.layers.2.final_layer_norm.bias"
    assert adapt_partial(encoder, unfreeze=[path]) == Adaptation("partial", 3, (path,))


@pytest.mark.parametrize(
    ("family", "path", "depth"),
    [
        ("wavlm", "feature_extractor.conv_layers.0", 0),
        ("wavlm", "feature_projection", 0),
        ("wavlm", "encoder.pos_conv_embed", 0),
        ("wavlm", "encoder.layers.0.attention.rel_attn_embed", 1),
        ("wavlm", "encoder.layer_norm", 3),
        ("whisper", "encoder.conv1", 0),
        ("whisper", "encoder.embed_positions", 0),
        ("whisper", "encoder.layer_norm", 3),
        ("wav2vec2-conformer", "encoder.layer_norm", 3),
        ("sew", "encoder.layer_norm", 0),
        ("sew", "encoder.upsample", 3),
        ("audio-spectrogram-transformer", "embeddings", 0),
        ("audio-spectrogram-transformer", "layers.1", 2),
        ("audio-spectrogram-transformer", "layernorm", 3),
        ("parakeet_encoder", "subsampling", 0),
        ("lasr_encoder", "out_norm", 3),
    ],
)
def test_the_first_changing_depth_is_where_the_lowest_trained_module_acts(family: str, path: str, depth: int) -> None:
    assert adapt_partial(small(family), unfreeze=[path]).first_changing_depth == depth


def test_in_post_norm_models_the_encoders_norm_belongs_to_the_stem() -> None:
    encoder = small("wavlm", do_stable_layer_norm=False)
    assert adapt_partial(encoder, unfreeze=["encoder.layer_norm"]).first_changing_depth == 0
    assert adapt_full(encoder, train_stem=False).first_changing_depth == 1


def test_full_without_the_stem_trains_all_blocks_and_the_norm_behind_them() -> None:
    encoder = small("hubert")
    paths = adapt_full(encoder, train_stem=False).trainable
    assert {path.split(".")[1] for path in paths} == {"layers", "layer_norm"}


def test_full_leaves_whispers_sinusoids_as_they_are() -> None:
    assert "encoder.embed_positions.weight" not in adapt_full(small("whisper")).trainable


def test_adapting_again_starts_from_frozen() -> None:
    encoder = small("hubert")
    adapt_full(encoder)
    adapt_partial(encoder, unfreeze=[3])
    assert {path.split(".")[2] for path in trainable(encoder)} == {"2"}


def test_adapting_in_training_mode_sets_the_modes_of_the_blocks() -> None:
    encoder = small("hubert")
    encoder.train()
    adapt_partial(encoder, unfreeze=[2])
    assert [block.training for block in encoder.blocks] == [False, True, False]


@pytest.mark.parametrize(
    ("unfreeze", "message"),
    [
        (0, r"Blocks are numbered from 1 to 3, as depths are: 0 is the stem"),
        (4, r"random:wavlm has no block 4: it has 1 to 3, or -1 to -3 from the end"),
        (-4, r"no block -4"),
        ("encoder.layer.1", r"matches 'encoder.layer.1'\. Did you mean 'encoder.layers.1'\?"),
        (
            "layers.1",
            r"No module or parameter of random:wavlm matches 'layers.1'.*such as 'encoder.layers.0' for block 1",
        ),
        ("encoder.layers.1.q", r"matches 'encoder.layers.1.q'"),
        ("11", r"matches '11'"),
        ("decoder.*", r"matches 'decoder\.\*'"),
        ("encoder.dropout", r"matches only modules without parameters"),
    ],
)
def test_a_block_or_path_that_is_not_there_is_refused(unfreeze: int | str, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        adapt_partial(small("wavlm"), unfreeze=[unfreeze])


@pytest.mark.parametrize(
    ("last", "message"),
    [(0, "last must be 1 to 3.*got 0"), (4, "got 4"), (0.0, "above 0 and at most 1, got 0"), (1.5, "got 1.5")],
)
def test_a_number_of_last_blocks_that_is_not_there_is_refused(last: float, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        adapt_partial(small("wavlm"), last=last)


@pytest.mark.parametrize("arguments", [{}, {"last": 1, "unfreeze": [1]}])
def test_partial_needs_either_last_or_unfreeze(arguments: dict[str, object]) -> None:
    with pytest.raises(EncoderError, match="either last or unfreeze"):
        adapt_partial(small("wavlm"), **arguments)  # type: ignore[arg-type]


def test_a_refused_adaptation_changes_nothing() -> None:
    encoder = small("wavlm")
    adapt_partial(encoder, last=1)
    before = trainable(encoder)
    with pytest.raises(EncoderError):
        adapt_partial(encoder, unfreeze=[1, "nothing"])
    assert trainable(encoder) == before


@pytest.mark.parametrize(
    ("layers", "left"),
    [
        ("last", {"0", "1", "2", "norm"}),
        ("weighted", {"0", "1", "2"}),
        (3, {"0", "1", "2"}),
        (-2, {"0", "1"}),
        ([0, 2], {"0", "1"}),
        ("last-2", {"0", "1", "2"}),
        (1, {"0"}),
        (0, set()),
    ],
)
def test_what_lies_above_the_pooled_depth_is_frozen(layers: int | str, left: set[str]) -> None:
    encoder = small("wavlm")
    adapt_full(encoder, train_stem=False)
    freeze_unused(encoder, layers)  # type: ignore[arg-type]
    blocks = {path.split(".")[2] if ".layers." in path else "norm" for path in trainable(encoder)}
    assert blocks == left


def test_whispers_norm_is_used_by_its_last_depth() -> None:
    encoder = small("whisper")
    adapt_full(encoder)
    freeze_unused(encoder, "weighted")
    assert "encoder.layer_norm.weight" in trainable(encoder)


@pytest.mark.parametrize(
    ("off", "frozen"),
    [
        ("train_stem", {"feature_extractor", "feature_projection", "encoder.pos_conv_embed"}),
        ("train_features", {"feature_extractor", "feature_projection"}),
        ("train_positions", {"encoder.pos_conv_embed", "rel_attn_embed", "gru_rel_pos_linear", "gru_rel_pos_const"}),
    ],
)
def test_full_freezes_the_kinds_that_are_switched_off(off: str, frozen: set[str]) -> None:
    encoder = small("wavlm")
    declared = set(adapt_full(encoder, **{off: False}).trainable)
    left_out = {path for path, _ in encoder.model.named_parameters()} - declared
    assert all(any(part in path for part in frozen) for path in left_out)
    assert all(any(part in path for path in left_out) for part in frozen)
    assert not any(part in path for path in declared for part in frozen)


def test_full_without_norms_trains_everything_but_norm_layers() -> None:
    encoder = small("wavlm")
    declared = set(adapt_full(encoder, train_norms=False).trainable)
    left_out = {path for path, _ in encoder.model.named_parameters()} - declared
    norms = {f"{path}." for path, each in encoder.model.named_modules() if isinstance(each, torch.nn.LayerNorm)}
    assert left_out == {path for path, _ in encoder.model.named_parameters() if path.startswith(tuple(norms))}


def test_without_features_the_norm_beside_the_blocks_still_trains_where_it_is_part_of_the_stem() -> None:
    encoder = small("hubert", do_stable_layer_norm=False)
    declared = adapt_full(encoder, train_features=False).trainable
    assert {path.split(".")[1] for path in declared} == {"pos_conv_embed", "layer_norm", "layers"}


def test_what_trained_before_is_remembered_when_something_else_trains() -> None:
    encoder = small("hubert")
    first = set(adapt_partial(encoder, unfreeze=[1]).trainable)
    second = set(adapt_partial(encoder, unfreeze=[2]).trainable)
    assert own_changes(encoder) == first | second


def test_training_from_a_depth_leaves_what_is_below_frozen() -> None:
    encoder = small("hubert")
    declared = adapt_full(encoder).trainable
    train_from(encoder, declared, 2)
    assert {path.split(".")[2] for path in trainable(encoder) if ".layers." in path} == {"1", "2"}
    assert encoder.first_changing_depth == 2
    train_from(encoder, declared, 0)
    assert trainable(encoder) == set(declared)
