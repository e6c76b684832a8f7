"""Settings of the loss: what is minimised, besides what the head's kind says."""

from typing import Annotated, Literal

from pydantic import Field

from lalia.settings.base import Fraction, NotNegative, OpenFraction, Positive, Settings


class RankSettings(Settings):
    """A ranking of pairs of recordings, mixed with the loss of binary and ordinal heads."""

    margin: NotNegative = 1.0
    """How far the score of the higher rated recording should lie above the other's, in log-odds."""
    bce_weight: Fraction = 0.5
    """The share of the loss that is the head's own cross-entropy; the rest is that of the ranking."""
    across_speakers: bool = True
    """Whether only recordings of different speakers are paired."""


class LossSettings(Settings):
    """What training minimises; each rating that is there counts alike unless weights are given."""

    regression: Literal["squared", "absolute", "concordance"] = "squared"
    """The error of a regression head, in units of half the scale's range; or 1 less the concordance correlation of
    each trait over all recordings of a step."""
    targets: Literal["combined", "raters"] = "combined"
    """What a binary or ordinal head learns of several raters: their combined rating, or the share of them at each
    level."""
    rank: RankSettings | None = None
    """Binary and ordinal heads also learn which of two recordings of a step is rated higher; null: they do not."""
    focal_gamma: Annotated[NotNegative, Field(le=10.0)] = 0.0
    """Focal loss of binary and ordinal heads: how strongly what is predicted well is played down; 0: not at all."""
    label_smoothing: OpenFraction = 0.0
    """The share of each rating that binary and ordinal heads are told lies on the neighbouring levels."""
    rater_weight: NotNegative = 1.0
    """With ``model.rater_heads``: how much the mean loss of a rating's raters counts beside that of the rating."""
    trait_weights: dict[str, Positive] = Field(default_factory=dict)
    """How much a trait's ratings count, 1 where it is not named; only the ratios matter."""
    level_weights: Literal["none", "inverse_frequency"] = "none"
    """inverse_frequency: rare levels count more, by how often each trait's levels are in the training part. It
    miscalibrates: probabilities and expected levels are too high for rare levels."""
