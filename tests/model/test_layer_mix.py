import math

import pytest
import torch

from lalia.errors import ModelError
from lalia.model.layer_mix import ConcatenatedDepths, OneDepth, WeightedDepths, build_layer_mix, find_depths


def test_weighted_depths_start_as_their_mean():
    values = [torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([6.0])]
    mix = WeightedDepths(3, width=1)
    torch.testing.assert_close(mix(values), torch.tensor([3.0]))
    torch.testing.assert_close(mix.weights, torch.tensor([1 / 3, 1 / 3, 1 / 3]))


def test_weighted_depths_weigh_by_the_softmax():
    mix = WeightedDepths(2, width=1)
    with torch.no_grad():
        mix.logits.copy_(torch.tensor([math.log(3.0), 0.0]))
    torch.testing.assert_close(mix([torch.tensor([4.0]), torch.tensor([8.0])]), torch.tensor([5.0]))


def test_weighted_depths_refuse_another_number_of_depths():
    with pytest.raises(ValueError, match="zip"):
        WeightedDepths(2, width=1)([torch.zeros(1)])


@pytest.mark.parametrize(
    ("layers", "kind", "depths", "out_width"),
    [
        ("last", OneDepth, ("last",), 5),
        ("weighted", WeightedDepths, (0, 1, 2, 3), 5),
        (0, OneDepth, (0,), 5),
        (-1, OneDepth, (3,), 5),
        ([2], OneDepth, (2,), 5),
        ([3, 1], ConcatenatedDepths, (3, 1), 10),
        ([0, -1, -2], ConcatenatedDepths, (0, 3, 2), 15),
        ("last-1", OneDepth, (3,), 5),
        ("last-4", ConcatenatedDepths, (0, 1, 2, 3), 20),
    ],
)
def test_layers_name_depths_and_the_width_of_what_is_pooled(layers, kind, depths, out_width):
    mix = build_layer_mix(layers, n_blocks=3, width=5)
    assert (type(mix), mix.depths, mix.out_width) == (kind, depths, out_width)
    assert mix([torch.zeros(2, 7, 5)] * len(depths)).shape == (2, 7, out_width)


def test_concatenated_depths_stand_side_by_side_in_the_order_asked():
    values = [torch.randn(2, 3, 4), torch.randn(2, 3, 4)]
    mixed = ConcatenatedDepths((2, 1), width=4)(values)
    assert torch.equal(mixed[..., :4], values[0])
    assert torch.equal(mixed[..., 4:], values[1])


@pytest.mark.parametrize("layers", ["frist", "", "last-0", "last-5", "last--1", 4, -5, [], [1, 4]])
def test_layers_that_are_not_there_are_refused_with_what_is(layers):
    with pytest.raises(ModelError, match=r"Unknown layers .*a depth from 0 to 3 .* last n of these 4, such as last-2"):
        find_depths(layers, 3)


def test_a_depth_named_twice_is_refused():
    with pytest.raises(ModelError, match=r"Layers \[3, -1\] name a depth twice; depth -1 is 3. Name each once"):
        find_depths([3, -1], 3)
