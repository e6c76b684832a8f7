import math

import pytest
import torch

from lalia.errors import EmptyRecordingError, ModelError
from lalia.model.layer_mix import LayerMix
from lalia.model.pooling import AttentionPooling, build_pooling, pool_max, pool_mean

KINDS = ["mean", "max", "attention"]
# two recordings of 3 and 1 real frames
FRAMES = torch.tensor([[[1.0, -4.0], [2.0, -5.0], [6.0, -6.0]], [[5.0, -1.0], [0.0, 0.0], [0.0, 0.0]]])
IS_REAL = torch.tensor([[True, True, True], [True, False, False]])


def test_pool_mean_ignores_padding():
    assert pool_mean(FRAMES, IS_REAL).tolist() == [[3.0, -5.0], [5.0, -1.0]]


def test_pool_max_does_not_see_zero_padding_above_negative_frames():
    assert pool_max(FRAMES, IS_REAL).tolist() == [[6.0, -4.0], [5.0, -1.0]]


def test_attention_with_equal_scores_is_the_mean():
    pooling = AttentionPooling(width=2, hidden=3)
    torch.nn.init.zeros_(pooling.score.weight)
    torch.testing.assert_close(pooling(FRAMES, IS_REAL), pool_mean(FRAMES, IS_REAL))


def test_attention_weights_are_the_softmax_of_the_scores_by_hand():
    pooling = AttentionPooling(width=1, hidden=1)
    torch.nn.init.constant_(pooling.project.weight, 0.5)
    torch.nn.init.constant_(pooling.score.weight, 2.0)
    weights = pooling.weights(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]]))
    first, second = math.exp(2 * math.tanh(0.5)), math.exp(2 * math.tanh(1.5))
    expected = [[first / (first + second), second / (first + second), 0.0]]
    torch.testing.assert_close(weights, torch.tensor(expected))


@pytest.mark.parametrize("kind", KINDS)
def test_padding_never_matters_not_even_nan(kind):
    pooling = build_pooling(kind, width=2, hidden=4)
    padding = ~IS_REAL.unsqueeze(-1)
    assert torch.equal(pooling(FRAMES.masked_fill(padding, torch.nan), IS_REAL), pooling(FRAMES, IS_REAL))


@pytest.mark.parametrize("kind", KINDS)
def test_embedding_of_one_frame_is_that_frame(kind):
    pooling = build_pooling(kind, width=2, hidden=4)
    torch.testing.assert_close(pooling(FRAMES, IS_REAL)[1], torch.tensor([5.0, -1.0]))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_and_zero_on_padding(kind):
    pooling = build_pooling(kind, width=2, hidden=4)
    frames = FRAMES.clone().requires_grad_()
    pooling(frames, IS_REAL).square().sum().backward()
    gradients = [frames.grad, *(parameter.grad for parameter in pooling.parameters())]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert frames.grad[~IS_REAL].abs().max() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_of_only_padding_is_refused(kind):
    pooling = build_pooling(kind, width=2, hidden=4)
    only_padding = torch.tensor([[True, True, True], [False, False, False]])
    with pytest.raises(EmptyRecordingError, match=r"Recordings \[1\] of the batch have no real frame"):
        pooling(FRAMES, only_padding)


@pytest.mark.parametrize("kind", KINDS)
def test_pooling_is_built_again_from_its_config(kind):
    pooling = build_pooling(kind, width=2, hidden=4)
    again = build_pooling(**pooling.config, width=2)
    again.load_state_dict(pooling.state_dict())
    assert torch.equal(again(FRAMES, IS_REAL), pooling(FRAMES, IS_REAL))


def test_unknown_pooling_names_the_nearest():
    with pytest.raises(ModelError, match=r"Unknown pooling 'maen'. Did you mean 'mean'\? Choose from mean, max"):
        build_pooling("maen", width=2)


def test_layer_mix_starts_as_the_mean_of_the_depths():
    values = [torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([6.0])]
    mix = LayerMix(3)
    torch.testing.assert_close(mix(values), torch.tensor([3.0]))
    torch.testing.assert_close(mix.weights, torch.tensor([1 / 3, 1 / 3, 1 / 3]))


def test_layer_mix_weighs_by_the_softmax():
    mix = LayerMix(2)
    with torch.no_grad():
        mix.logits.copy_(torch.tensor([math.log(3.0), 0.0]))
    torch.testing.assert_close(mix([torch.tensor([4.0]), torch.tensor([8.0])]), torch.tensor([5.0]))


def test_layer_mix_refuses_another_number_of_depths():
    with pytest.raises(ValueError, match="zip"):
        LayerMix(2)([torch.zeros(1)])
