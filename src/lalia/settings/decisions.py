"""Settings of decisions: how the probability of presence is calibrated, and where nothing is decided."""

from typing import Annotated, Literal

from pydantic import Field

from lalia.settings.base import OpenFraction, Settings, read_kind


class ConformalAbstain(Settings):
    """Nothing is decided where a wrong decision is too likely, for present and absent recordings each by itself."""

    kind: Literal["conformal"] = "conformal"
    error: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.1
    """The share of present recordings that may be called absent, and of absent ones that may be called present."""


class EntropyAbstain(Settings):
    """Nothing is decided of the recordings whose probability is closest to the threshold."""

    kind: Literal["entropy"] = "entropy"
    coverage: Annotated[OpenFraction, Field(gt=0.0)] = 0.8
    """The share of the validation part's recordings that is decided."""


AbstainSettings = Annotated[ConformalAbstain | EntropyAbstain, Field(discriminator="kind"), read_kind("conformal")]


class DecisionSettings(Settings):
    """What turns a probability of presence into a decision; all of it is fitted on the validation part."""

    calibration: Literal["temperature", "platt", "isotonic"] | None = None
    """How the probability of presence is made as frequent as it says; null leaves it as the head gives it."""
    abstain: AbstainSettings | None = None
    """Where nothing is decided; null decides always."""
