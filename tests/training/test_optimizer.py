"""Rates over the steps."""

import itertools
import math

import pytest

from lalia.training.optimizer import rate_factor


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
