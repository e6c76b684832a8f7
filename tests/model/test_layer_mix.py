import math

import pytest
import torch

from lalia.model.layer_mix import LayerMix


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
