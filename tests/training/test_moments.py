"""Statistics of windows, joined to those of their recording."""

import torch

from lalia.model.encoders.base import Frames
from lalia.training.moments import measure_frames, pool_moments


def test_moments_of_two_windows_join_as_those_of_all_frames():
    values = torch.tensor([[[1.0], [2.0], [3.0]], [[6.0], [100.0], [100.0]]])
    first, second = measure_frames(Frames(values, torch.tensor([[True] * 3, [True, False, False]])))
    joined = first.join(second)
    assert (joined.frames, joined.mean.item(), joined.squares.item(), joined.largest.item()) == (4, 3.0, 14.0, 6.0)


def test_the_deviation_is_divided_by_the_number_of_frames():
    frames = Frames(torch.tensor([[[1.0], [3.0], [5.0], [7.0]]]), torch.ones(1, 4, dtype=torch.bool))
    pooled = pool_moments(measure_frames(frames))
    assert pooled["std"].item() == torch.tensor([1.0, 3.0, 5.0, 7.0]).std(correction=0).item()
