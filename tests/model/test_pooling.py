import math

import pytest
import torch

from lalia.errors import EmptyRecordingError, ModelError
from lalia.model.attention_pooling import AttentionPooling, AttentiveStatisticsPooling
from lalia.model.frames import join_windows
from lalia.model.pooling import build_pooling, pool_max, pool_mean, pool_statistics

# a kind with its settings, and how many widths its embedding has
KINDS = [
    ({"kind": "mean"}, 1),
    ({"kind": "max"}, 1),
    ({"kind": "statistics"}, 2),
    ({"kind": "attention", "hidden": 4}, 1),
    ({"kind": "attention", "hidden": 4, "heads": 3}, 3),
    ({"kind": "attentive_statistics", "hidden": 4}, 2),
]
NAMES = ["mean", "max", "statistics", "attention", "three-heads", "attentive-statistics"]
each_kind = pytest.mark.parametrize("settings", [settings for settings, _ in KINDS], ids=NAMES)
# two recordings of 3 and 1 real frames
FRAMES = torch.tensor([[[1.0, -4.0], [2.0, -5.0], [6.0, -6.0]], [[5.0, -1.0], [0.0, 0.0], [0.0, 0.0]]])
IS_REAL = torch.tensor([[True, True, True], [True, False, False]])


def make_pooling(settings, width=2):
    torch.manual_seed(0)
    return build_pooling(**settings, width=width)


def make_ragged(lengths=(9, 4, 1, 6), width=5):
    """Random frames of several lengths, alone and padded into one batch."""
    generator = torch.Generator().manual_seed(1)
    alone = [3 * torch.randn(length, width, generator=generator) + 1 for length in lengths]
    padded = torch.nn.utils.rnn.pad_sequence(alone, batch_first=True, padding_value=torch.nan)
    return alone, padded, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def test_pool_mean_ignores_padding():
    assert pool_mean(FRAMES, IS_REAL).tolist() == [[3.0, -5.0], [5.0, -1.0]]


def test_pool_max_does_not_see_zero_padding_above_negative_frames():
    assert pool_max(FRAMES, IS_REAL).tolist() == [[6.0, -4.0], [5.0, -1.0]]


def test_pool_statistics_are_the_mean_and_the_biased_standard_deviation_by_hand():
    expected = [[3.0, -5.0, math.sqrt((4 + 1 + 9) / 3), math.sqrt(2 / 3)], [5.0, -1.0, 1e-5, 1e-5]]
    torch.testing.assert_close(pool_statistics(FRAMES, IS_REAL), torch.tensor(expected))


def test_standard_deviation_survives_an_offset_that_dwarfs_it():
    frames = torch.tensor([[[4096.0], [4097.0], [4098.0]]])
    spread = pool_statistics(frames, torch.ones(1, 3, dtype=torch.bool))[0, 1]
    torch.testing.assert_close(spread, torch.tensor(math.sqrt(2 / 3)))


def weights_by_reference(pooling, frames):
    return torch.softmax(pooling.attention.score(torch.tanh(pooling.attention.project(frames))), dim=0)


def attend_by_reference(pooling, frames):
    weights = weights_by_reference(pooling, frames)
    return torch.cat([(weights[:, [head]] * frames).sum(dim=0) for head in range(weights.shape[1])])


def attend_statistics_by_reference(pooling, frames):
    mean = (weights := weights_by_reference(pooling, frames)).mul(frames).sum(dim=0)
    return torch.cat([mean, (weights * frames**2).sum(dim=0).sub(mean**2).clamp(min=1e-10).sqrt()])


REFERENCES = [
    lambda pooling, frames: frames.mean(dim=0),
    lambda pooling, frames: frames.max(dim=0).values,
    lambda pooling, frames: torch.cat([frames.mean(dim=0), frames.std(dim=0, unbiased=False).clamp(min=1e-5)]),
    attend_by_reference,
    attend_by_reference,
    attend_statistics_by_reference,
]


@pytest.mark.parametrize(
    ("settings", "widths", "reference"), [(*kind, r) for kind, r in zip(KINDS, REFERENCES, strict=True)], ids=NAMES
)
def test_pooling_of_a_padded_batch_is_that_of_each_recording_by_reference(settings, widths, reference):
    pooling = make_pooling(settings, width=5).double()
    alone, padded, is_real = make_ragged()
    pooled = pooling(padded.double(), is_real)
    assert pooled.shape == (4, widths * 5) == (4, pooling.out_width)
    for row, frames in zip(pooled, alone, strict=True):
        torch.testing.assert_close(row, reference(pooling, frames.double()))


def test_attention_with_equal_scores_is_the_mean():
    pooling = AttentionPooling(width=2, hidden=3, heads=2)
    torch.nn.init.zeros_(pooling.attention.score.weight)
    torch.testing.assert_close(pooling(FRAMES, IS_REAL), pool_mean(FRAMES, IS_REAL).repeat(1, 2))


def test_attentive_statistics_with_equal_scores_are_the_statistics():
    pooling = AttentiveStatisticsPooling(width=2, hidden=3)
    torch.nn.init.zeros_(pooling.attention.score.weight)
    torch.testing.assert_close(pooling(FRAMES, IS_REAL), pool_statistics(FRAMES, IS_REAL))


def test_attention_weights_are_the_softmax_of_the_scores_by_hand():
    pooling = AttentionPooling(width=1, hidden=1)
    torch.nn.init.constant_(pooling.attention.project.weight, 0.5)
    torch.nn.init.constant_(pooling.attention.score.weight, 2.0)
    weights = pooling.weights(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]]))
    first, second = math.exp(2 * math.tanh(0.5)), math.exp(2 * math.tanh(1.5))
    expected = [[[first / (first + second), second / (first + second), 0.0]]]
    torch.testing.assert_close(weights, torch.tensor(expected))


@pytest.mark.parametrize("settings", [settings for settings, _ in KINDS[3:]], ids=NAMES[3:])
def test_weights_add_up_to_one_over_real_frames_and_are_zero_on_padding(settings):
    pooling = make_pooling(settings, width=5)
    _, padded, is_real = make_ragged()
    weights = pooling.weights(padded, is_real)
    assert weights.shape == (4, settings.get("heads", 1), 9)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:2]))
    assert weights.transpose(1, 2)[~is_real].abs().max() == 0


def test_the_heads_of_attention_start_with_different_weights():
    _, padded, is_real = make_ragged()
    first, second = make_pooling({"kind": "attention", "heads": 2}, width=5).weights(padded, is_real)[0]
    assert not torch.allclose(first, second)


@each_kind
def test_padding_never_matters_not_even_nan(settings):
    pooling = make_pooling(settings)
    padding = ~IS_REAL.unsqueeze(-1)
    assert torch.equal(pooling(FRAMES.masked_fill(padding, torch.nan), IS_REAL), pooling(FRAMES, IS_REAL))


@each_kind
def test_embedding_of_one_frame_is_that_frame_with_no_spread(settings):
    pooled = make_pooling(settings)(FRAMES, IS_REAL)[1]
    frame = torch.tensor([5.0, -1.0])
    spread = torch.full((2,), 1e-5)
    expected = [frame, spread] if "statistics" in settings["kind"] else [frame] * settings.get("heads", 1)
    torch.testing.assert_close(pooled, torch.cat(expected))


@each_kind
@pytest.mark.parametrize("padding", [0.0, torch.nan, torch.inf])
def test_gradients_are_finite_and_zero_on_padding(settings, padding):
    pooling = make_pooling(settings)
    # the second recording has one frame, the third two equal ones
    frames = torch.cat([FRAMES, torch.full((1, 3, 2), 0.5)])
    is_real = torch.cat([IS_REAL, torch.tensor([[True, True, False]])])
    frames = frames.masked_fill(~is_real.unsqueeze(-1), padding).requires_grad_()
    pooling(frames, is_real).square().sum().backward()
    gradients = [frames.grad, *(parameter.grad for parameter in pooling.parameters())]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert frames.grad[~is_real].abs().max() == 0


@each_kind
def test_gradients_are_those_of_finite_differences(settings):
    pooling = make_pooling(settings, width=3).double()
    _, padded, is_real = make_ragged(lengths=(3, 2), width=3)
    frames = padded.double().nan_to_num().requires_grad_()
    assert torch.autograd.gradcheck(lambda frames: pooling(frames, is_real), frames)


@each_kind
def test_a_recording_of_only_padding_is_refused(settings):
    pooling = make_pooling(settings)
    only_padding = torch.tensor([[True, True, True], [False, False, False]])
    with pytest.raises(EmptyRecordingError, match=r"Recordings \[1\] of the batch have no real frame"):
        pooling(FRAMES, only_padding)


@each_kind
def test_pooling_is_built_again_from_its_config(settings):
    pooling = make_pooling(settings)
    again = build_pooling(**pooling.config, width=2)
    again.load_state_dict(pooling.state_dict())
    assert torch.equal(again(FRAMES, IS_REAL), pooling(FRAMES, IS_REAL))


def test_unknown_pooling_names_the_nearest():
    with pytest.raises(ModelError, match=r"Unknown pooling 'maen'. Did you mean 'mean'\? Choose from mean, max"):
        build_pooling("maen", width=2)


def test_joined_windows_leave_out_the_padding_between_them():
    frames = torch.tensor([[[1.0], [torch.nan]], [[2.0], [3.0]], [[4.0], [torch.nan]]])
    is_real = torch.tensor([[True, False], [True, True], [True, False]])
    joined, is_real = join_windows(frames, is_real, torch.tensor([0, 0, 1]))
    assert joined.squeeze(-1).tolist() == [[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]]
    assert is_real.tolist() == [[True, True, True], [True, False, False]]
