"""An exponential moving average of the weights that train, which stands in for them where they are judged and kept."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lalia.errors import TrainingError


class WeightAverage:
    """The moving average of some parameters over the optimiser steps (Polyak and Juditsky 1992).

    After step number n, from 0, an average moves towards its parameter by 1 - d of the way between them, with
    d = min(decay, (1 + n) / (10 + n)) as in TensorFlow's ``ExponentialMovingAverage``: the weights that the training
    began with are forgotten soon, in a short training too. Buffers are not averaged: a rater with averaged weights has
    the buffers of its last step.

    Args:
        parameters: by name.
        decay: how much of the averages stays from step to step in a long training.

    Example:
        >>> weight = nn.Parameter(torch.tensor([0.0]))
        >>> average = WeightAverage({"weight": weight}, decay=0.999)
        >>> _ = weight.data.fill_(1.0)
        >>> average.update(0)
        >>> with average.in_place():
        ...     weight.item()
        0.8999999761581421
        >>> weight.item()
        1.0
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters = dict(parameters)
        self._averages = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        self._decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the averages towards the weights, after an optimiser step.

        Args:
            step: the number of the step, from 0.
        """
        share = 1.0 - min(self._decay, (1 + step) / (10 + step))
        for name, parameter in self._parameters.items():
            # lerp leaves what is equal as it is, to the last bit: what does not train yet stays
            self._averages[name].lerp_(parameter.detach(), share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the averages in the place of the weights, and the weights back at the end."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint must hold: the averages by name."""
        return dict(self._averages)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to the averages that ``state`` gave.

        Raises:
            TrainingError: if they are not those of the same parameters.
        """
        if state.keys() != self._averages.keys():
            raise TrainingError("The checkpoint averages other weights than those that train. Train with --overwrite.")
        for name, value in state.items():
            self._averages[name].copy_(value)

    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            parameter.data, self._averages[name] = self._averages[name], parameter.data
