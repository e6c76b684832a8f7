import pytest
import torch

from lalia.errors import EmptyRecordingError, ModelError
from lalia.model.frame_transformer import FrameTransformer

WIDTH = 8


def make_transformer(layers=2, dropout=0.0, heads=2):
    torch.manual_seed(0)
    return FrameTransformer(WIDTH, layers=layers, heads=heads, hidden=16, dropout=dropout).eval()


def make_ragged(lengths=(9, 4, 1, 6), padding=torch.nan):
    """Random frames of several lengths, alone and padded into one batch."""
    generator = torch.Generator().manual_seed(1)
    alone = [torch.randn(length, WIDTH, generator=generator) for length in lengths]
    padded = torch.nn.utils.rnn.pad_sequence(alone, batch_first=True, padding_value=padding)
    return alone, padded, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def make_torchs_own(layer):
    own = torch.nn.TransformerEncoderLayer(
        WIDTH, layer.heads, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    pairs = [
        (own.norm1, layer.attention_norm),
        (own.self_attn.out_proj, layer.attention_output),
        (own.norm2, layer.feed_forward[0]),
        (own.linear1, layer.feed_forward[1]),
        (own.linear2, layer.feed_forward[4]),
    ]
    for theirs, ours in pairs:
        theirs.load_state_dict(ours.state_dict())
    own.self_attn.in_proj_weight.data.copy_(layer.query_key_value.weight)
    own.self_attn.in_proj_bias.data.copy_(layer.query_key_value.bias)
    return own


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_it_computes_what_torchs_own_layers_compute_with_the_same_weights(heads):
    transformer = make_transformer(heads=heads)
    for bias in (layer.query_key_value.bias for layer in transformer.layers):
        torch.nn.init.normal_(bias)  # all zero at the start
    _, padded, is_real = make_ragged(padding=0.0)
    expected = padded
    for layer in transformer.layers:
        expected = make_torchs_own(layer)(expected, src_key_padding_mask=~is_real)
    expected = torch.nn.functional.layer_norm(expected, (WIDTH,))
    torch.testing.assert_close(transformer(padded, is_real)[is_real], expected[is_real], atol=1e-5, rtol=0)


@pytest.mark.parametrize("padding", [0.0, torch.nan, torch.inf, 1e4])
def test_frames_do_not_depend_on_batch_neighbours_or_padding(padding):
    transformer = make_transformer()
    alone, padded, is_real = make_ragged(padding=padding)
    together = transformer(padded, is_real)
    assert together.isfinite().all()
    for row, frames in zip(together, alone, strict=True):
        expected = transformer(frames[None], torch.ones(1, len(frames), dtype=torch.bool))[0]
        torch.testing.assert_close(row[: len(frames)], expected, atol=1e-5, rtol=0)


def test_a_frame_sees_all_real_frames_of_its_recording():
    frames = torch.randn(2, 5, WIDTH, requires_grad=True)
    is_real = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    make_transformer()(frames, is_real)[:, 0].square().sum().backward()
    assert (frames.grad.abs().sum(dim=-1) > 0).tolist() == is_real.tolist()


def test_gradients_are_finite_and_zero_on_padding():
    transformer = make_transformer()
    _, padded, is_real = make_ragged()
    frames = padded.requires_grad_()
    transformer(frames, is_real)[is_real].square().sum().backward()
    assert all(each.grad.isfinite().all() for each in [frames, *transformer.parameters()])
    assert frames.grad[~is_real].abs().max() == 0


def test_it_has_no_positions():
    transformer = make_transformer()
    frames, order = torch.randn(1, 6, WIDTH), torch.randperm(6)
    is_real = torch.ones(1, 6, dtype=torch.bool)
    moved = transformer(frames[:, order], is_real)
    torch.testing.assert_close(moved, transformer(frames, is_real)[:, order], atol=1e-5, rtol=0)


def test_its_layers_start_with_different_weights():
    first, second = make_transformer(layers=2).layers
    assert not torch.equal(first.query_key_value.weight, second.query_key_value.weight)
    assert not torch.equal(first.feed_forward[1].weight, second.feed_forward[1].weight)


def test_dropout_is_only_in_training():
    transformer = make_transformer(dropout=0.5)
    _, padded, is_real = make_ragged()
    assert torch.equal(transformer(padded, is_real), transformer(padded, is_real))
    transformer.train()
    assert not torch.equal(transformer(padded, is_real), transformer(padded, is_real))


def test_a_recording_of_only_padding_is_refused():
    with pytest.raises(EmptyRecordingError, match=r"Recordings \[0\] of the batch have no real frame"):
        make_transformer()(torch.zeros(1, 2, WIDTH), torch.zeros(1, 2, dtype=torch.bool))


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ModelError, match=r"width 8, which 3 attention heads do not divide.*transformer.heads"):
        make_transformer(heads=3)
