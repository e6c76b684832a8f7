"""The optimiser: which ones there are, parameter groups with their rates, how the rates change over the steps."""

import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import nn

from lalia.model.encoders.module_tree import added_parameters
from lalia.model.rater import SpeechRater

Schedule = Literal["cosine", "linear", "constant", "exponential"]

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "adamax": torch.optim.Adamax,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
    "adafactor": torch.optim.Adafactor,
}
"""Those of torch that take a step from one gradient and have a learning rate to be scheduled."""

# an exponential schedule ends at this share of its highest rate
EXPONENTIAL_END = 0.01


def make_optimizer(groups: list[dict[str, object]], *, kind: str, **options: Any) -> torch.optim.Optimizer:
    """Return an optimiser of torch.

    Args:
        groups: of ``parameter_groups``.
        kind: a name in ``OPTIMIZERS``.
        options: of that class, such as ``momentum=0.9``.

    Example:
        >>> weight = nn.Parameter(torch.zeros(2))
        >>> type(make_optimizer([{"params": [weight], "lr": 0.1}], kind="sgd", momentum=0.9)).__name__
        'SGD'
    """
    return OPTIMIZERS[kind](groups, **options)


def parameter_groups(
    rater: SpeechRater,
    *,
    learning_rate: float,
    encoder_learning_rate: float,
    weight_decay: float,
    adapter_learning_rate: float | None = None,
    mix_learning_rate: float | None = None,
    layer_decay: float = 1.0,
) -> list[dict[str, object]]:
    """Sort every trainable parameter into exactly one group of the optimiser.

    The encoder's own weights have their rate and what was added to it, adapters and prompts, have another. Weights of
    linear and convolution layers decay; norms, biases, mixes, prompts and the factors of IA3 and AdaLoRA do not.

    Args:
        rater: what has ``requires_grad`` trains.
        learning_rate: of all but the encoder.
        encoder_learning_rate: of the encoder's own weights.
        weight_decay: of weights.
        adapter_learning_rate: of what was added to the encoder; None takes ``learning_rate``.
        mix_learning_rate: of a learned mix of depths; None takes ``learning_rate``.
        layer_decay: the rate in the encoder at depth d is multiplied by this to the power of ``n_blocks`` - d.

    Returns:
        Groups with ``params``, ``names``, ``lr``, ``base_rate``, ``part`` (encoder, adapter, mix or rest) and
        ``weight_decay``, the highest depth first.
    """
    rates = {
        "encoder": encoder_learning_rate,
        "adapter": learning_rate if adapter_learning_rate is None else adapter_learning_rate,
        "mix": learning_rate if mix_learning_rate is None else mix_learning_rate,
        "rest": learning_rate,
    }
    encoder = rater.encoder
    depth_of = {f"encoder.model.{path}": encoder.depth_of(path) for path, _ in encoder.model.named_parameters()}
    added = {f"encoder.model.{path}" for path in added_parameters(encoder.model)}
    if encoder.prompt is not None:
        prompts = [f"prompt.{name}" for name, _ in encoder.prompt.named_parameters()]
        depth_of |= {f"encoder.{path}": encoder.depth_of(path) for path in prompts}
        added |= {f"encoder.{path}" for path in prompts}
    grouped: dict[tuple[str, float, float], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in _trainable(rater):
        part = "adapter" if name in added else "encoder" if name in depth_of else "rest"
        if name.startswith("layer_mix."):
            part = "mix"
        below_the_last = encoder.n_blocks - depth_of.get(name, encoder.n_blocks)
        rate = rates[part] * layer_decay**below_the_last
        decay = weight_decay if _is_weight(name, parameter) else 0.0
        grouped.setdefault((part, rate, decay), []).append((name, parameter))
    order = list(rates)
    return [
        {
            "params": [parameter for _, parameter in named],
            "names": [name for name, _ in named],
            "lr": rate,
            "base_rate": rate,
            "part": part,
            "weight_decay": decay,
        }
        for (part, rate, decay), named in sorted(
            grouped.items(), key=lambda each: (order.index(each[0][0]), -each[0][1], -each[0][2])
        )
    ]


def _trainable(rater: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, parameter) for name, parameter in rater.named_parameters() if parameter.requires_grad)


def _is_weight(name: str, parameter: nn.Parameter) -> bool:
    # IA3's factors would decay from one to nothing, and a prompt is an input
    is_factor = ".ia3_l." in name or ".lora_E." in name or name.startswith("encoder.prompt.")
    return parameter.ndim > 1 and not is_factor


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
