"""What the optimiser is given: parameter groups with their rates, and how the rates change over the steps."""

import math
from collections.abc import Iterator
from typing import Literal

from torch import nn

from lalia.model.rater import SpeechRater

Schedule = Literal["cosine", "linear", "constant", "exponential"]

# an exponential schedule ends at this share of its highest rate
EXPONENTIAL_END = 0.01


def parameter_groups(
    rater: SpeechRater, *, learning_rate: float, encoder_learning_rate: float, weight_decay: float
) -> list[dict[str, object]]:
    """Sort every trainable parameter into exactly one group of the optimiser.

    The encoder has its own rate. Weights of linear and convolution layers decay; norms, biases and mixes do not.

    Returns:
        Groups with ``params``, ``names``, ``lr``, ``base_rate`` and ``weight_decay``, those with no parameter left out.
    """
    groups: list[dict[str, object]] = []
    for part, rate in (("encoder", encoder_learning_rate), ("rest", learning_rate)):
        for decays in (True, False):
            named = [
                (name, parameter)
                for name, parameter in _trainable(rater)
                if name.startswith("encoder.") == (part == "encoder") and (parameter.ndim > 1) == decays
            ]
            if named:
                groups.append(
                    {
                        "params": [parameter for _, parameter in named],
                        "names": [name for name, _ in named],
                        "lr": rate,
                        "base_rate": rate,
                        "part": part,
                        "weight_decay": weight_decay if decays else 0.0,
                    }
                )
    return groups


def _trainable(rater: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, parameter) for name, parameter in rater.named_parameters() if parameter.requires_grad)


def rate_factor(step: int, *, steps: int, warmup: float, schedule: Schedule) -> float:
    """Return what the rates are multiplied with at an optimiser step.

    Args:
        step: the step about to be taken, from 0.
        steps: all steps of the training.
        warmup: the share of steps in which the factor rises linearly to 1.
        schedule: the fall from 1 after the warm-up: ``cosine`` and ``linear`` towards 0, ``exponential`` to 0.01.

    Example:
        >>> [round(rate_factor(step, steps=10, warmup=0.2, schedule="linear"), 2) for step in (0, 1, 2, 6)]
        [0.5, 1.0, 1.0, 0.5]
    """
    warm_steps = round(warmup * steps)
    if step < warm_steps:
        return (step + 1) / warm_steps
    done = (step - warm_steps) / max(1, steps - warm_steps)
    match schedule:
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * done))
        case "linear":
            return 1.0 - done
        case "exponential":
            return float(EXPONENTIAL_END**done)
        case "constant":
            return 1.0
