"""Settings of the loss: what is minimised, besides what the head's kind says."""

from typing import Annotated, Literal

from pydantic import Field

from lalia.settings.base import NotNegative, OpenFraction, Positive, Settings


class LossSettings(Settings):
    """What training minimises; each rating that is there counts alike unless weights are given."""

    regression: Literal["squared", "absolute", "concordance"] = "squared"
    """The error of a regression head, in units of half the scale's range; or 1 less the concordance correlation of
    each trait over all recordings of a step."""
    targets: Literal["combined", "raters"] = "combined"
    """What a binary or ordinal head learns of several raters: their combined rating, or the share of them at each
    level."""
    focal_gamma: Annotated[NotNegative, Field(le=10.0)] = 0.0
    """Focal loss of binary and ordinal heads: how strongly what is predicted well is played down; 0: not at all."""
    label_smoothing: OpenFraction = 0.0
    """The share of each rating that binary and ordinal heads are told lies on the neighbouring levels."""
    trait_weights: dict[str, Positive] = Field(default_factory=dict)
    """How much a trait's ratings count, 1 where it is not named; only the ratios matter."""
    level_weights: Literal["none", "inverse_frequency"] = "none"
    """inverse_frequency: rare levels count more, by how often each trait's levels are in the training part. It
    miscalibrates: probabilities and expected levels are too high for rare levels."""
