"""Which optimisers there are, and the rates over the steps."""

import inspect
import itertools
import math

import pytest
import torch
from pydantic import TypeAdapter

from lalia.settings import OptimizerSettings
from lalia.training.optimizer import OPTIMIZERS, make_optimizer, rate_factor

READ = TypeAdapter(OptimizerSettings).validate_python


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimizer_by_its_name_has_the_defaults_of_torch(kind):
    options = READ(kind).model_dump()
    assert options.pop("kind") == kind
    defaults = inspect.signature(OPTIMIZERS[kind]).parameters
    assert options == {name: defaults[name].default for name in options}


def test_every_optimizer_of_the_settings_can_be_made():
    kinds = [each.model_fields["kind"].default for each in OptimizerSettings.__origin__.__args__]
    assert kinds == list(OPTIMIZERS)


def test_the_options_reach_the_optimizer():
    weight = torch.nn.Parameter(torch.zeros(1))
    options = READ({"kind": "sgd", "momentum": 0.9, "nesterov": True}).model_dump()
    optimizer = make_optimizer([{"params": [weight], "lr": 0.1, "weight_decay": 0.5}], **options)
    (group,) = optimizer.param_groups
    assert type(optimizer) is torch.optim.SGD
    assert (group["momentum"], group["nesterov"], group["weight_decay"], group["lr"]) == (0.9, True, 0.5, 0.1)


def factors(schedule: str, steps: int = 20, warmup: float = 0.1) -> list[float]:
    return [rate_factor(step, steps=steps, warmup=warmup, schedule=schedule) for step in range(steps)]


def test_rates_rise_linearly_to_the_full_rate_in_the_warmup():
    assert factors("constant", steps=40)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_without_warmup_the_first_step_has_the_full_rate():
    assert factors("cosine", warmup=0.0)[0] == 1.0


def test_cosine_is_half_way_down_in_the_middle():
    assert rate_factor(10, steps=20, warmup=0.0, schedule="cosine") == pytest.approx(0.5)


def test_cosine_and_linear_end_near_zero_and_never_rise():
    for schedule in ("cosine", "linear"):
        values = factors(schedule)
        assert values[-1] < 0.06
        assert values[2:] == sorted(values[2:], reverse=True)


def test_exponential_falls_by_the_same_ratio_at_each_step_to_a_hundredth():
    values = factors("exponential", warmup=0.0)
    ratios = [later / earlier for earlier, later in itertools.pairwise(values)]
    assert ratios == pytest.approx([0.01 ** (1 / 20)] * 19)
    assert math.isclose(values[-1] * ratios[0], 0.01)
