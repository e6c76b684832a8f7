"""From a head's probability of presence to a decision: calibrated, and left open where it is too uncertain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lalia.errors import ModelError, suggest

# beyond this the log-odds of a probability would be infinite
_SMALLEST = 1e-7


@dataclass(frozen=True)
class LogisticCalibration:
    """The log-odds of a probability are multiplied by a slope and moved by an intercept.

    With an intercept of 0 that is temperature scaling, the slope being 1 / temperature (Guo et al. 2017, "On
    calibration of modern neural networks"); with one that is fitted it is Platt's (1999, "Probabilistic outputs for
    support vector machines") on log-odds.

    Args:
        slope: above 0, so that recordings keep their order.
        intercept: in log-odds.

    Example:
        >>> LogisticCalibration(slope=1.0, intercept=0.0)(torch.tensor([0.25]))
        tensor([0.2500])
        >>> LogisticCalibration(slope=2.0, intercept=0.0)(torch.tensor([0.25]))
        tensor([0.1000])
    """

    slope: float
    intercept: float
    kind: Literal["logistic"] = "logistic"

    def __call__(self, probability: Tensor) -> Tensor:
        """Return calibrated probabilities; NaN stays NaN."""
        return torch.sigmoid(self.slope * torch.logit(probability, eps=_SMALLEST) + self.intercept)


@dataclass(frozen=True)
class IsotonicCalibration:
    """Probabilities between known ones are interpolated, those beyond take the value of the nearest.

    Args:
        given: rising, at least one.
        calibrated: never falling, as many (Zadrozny and Elkan 2002, "Transforming classifier scores into accurate
            multiclass probability estimates").

    Example:
        >>> IsotonicCalibration(given=(0.2, 0.6), calibrated=(0.0, 0.5))(torch.tensor([0.1, 0.4, 0.9]))
        tensor([0.0000, 0.2500, 0.5000])
    """

    given: tuple[float, ...]
    calibrated: tuple[float, ...]
    kind: Literal["isotonic"] = "isotonic"

    def __call__(self, probability: Tensor) -> Tensor:
        """Return calibrated probabilities; NaN stays NaN."""
        x = torch.tensor(self.given, dtype=torch.float64, device=probability.device)
        y = torch.tensor(self.calibrated, dtype=torch.float64, device=probability.device)
        if len(x) == 1:
            return torch.where(probability.isnan(), probability, y[0].to(probability))
        inside = probability.double().clamp(x[0], x[-1])
        right = torch.searchsorted(x, inside.contiguous()).clamp(1, len(x) - 1)
        share = (inside - x[right - 1]) / (x[right] - x[right - 1])
        return torch.lerp(y[right - 1], y[right], share).to(probability)


Calibration = LogisticCalibration | IsotonicCalibration


@dataclass(frozen=True)
class Abstention:
    """Between which probabilities nothing is decided.

    Args:
        absent_to: the highest probability at which absence is among what is likely enough.
        present_from: the lowest at which presence is; it may lie below ``absent_to``, and both are likely between.

    Example:
        >>> Abstention(absent_to=0.2, present_from=0.7).abstains(torch.tensor([0.1, 0.5, 0.9]))
        tensor([False,  True, False])
    """

    absent_to: float
    present_from: float

    def abstains(self, probability: Tensor) -> Tensor:
        """Return where neither presence nor absence alone is likely enough, or nothing is known."""
        return (probability >= self.present_from) == (probability <= self.absent_to)


def calibrate(probability: Tensor, traits: Sequence[str], calibrations: Mapping[str, Calibration]) -> Tensor:
    """Return probabilities of presence as the calibrations of their traits make them.

    Args:
        probability: shape (recordings, traits).
        traits: the names of its columns.
        calibrations: of the traits that have one.
    """
    if not calibrations:
        return probability
    columns = zip(traits, probability.unbind(dim=-1), strict=True)
    return torch.stack([calibrations[name](each) if name in calibrations else each for name, each in columns], dim=-1)


def find_abstained(probability: Tensor, traits: Sequence[str], abstentions: Mapping[str, Abstention]) -> Tensor:
    """Return where nothing is to be decided, False for traits that are always decided; arguments as for the above."""
    columns = zip(traits, probability.unbind(dim=-1), strict=True)
    found = [
        abstentions[name].abstains(each) if name in abstentions else torch.zeros_like(each, dtype=torch.bool)
        for name, each in columns
    ]
    return torch.stack(found, dim=-1)


def check_decisions(
    traits: Sequence[str],
    thresholds: Mapping[str, float],
    calibrations: Mapping[str, Calibration],
    abstentions: Mapping[str, Abstention],
) -> None:
    """Make sure that decisions are those of a rater's traits.

    Raises:
        ModelError: names the trait that is none, or whose threshold is no probability.
    """
    for what, given in (("threshold", thresholds), ("calibration", calibrations), ("abstention", abstentions)):
        for trait in given:
            if trait not in traits:
                raise ModelError(f"A {what} is given for '{trait}', which is no trait.{suggest(trait, traits)}")
    for trait, threshold in thresholds.items():
        if not 0 <= threshold <= 1:
            raise ModelError(f"The threshold of '{trait}' must be a probability, got {threshold}.")
