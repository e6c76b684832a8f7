"""Settings of what stands on an encoder: pooling and head."""

from collections.abc import Collection
from typing import Annotated, Literal, Union

from pydantic import Field, model_validator

from lalia.errors import ConfigError, nearest_choice
from lalia.settings.base import (
    Count,
    OpenFraction,
    Settings,
    read_kind,
)


class MeanPooling(Settings):
    """The mean of the real frames."""

    kind: Literal["mean"] = "mean"


class MaxPooling(Settings):
    """The maximum of the real frames."""

    kind: Literal["max"] = "max"


class StatisticsPooling(Settings):
    """The mean and the standard deviation of the real frames, one after the other."""

    kind: Literal["statistics"] = "statistics"


class AttentionPooling(Settings):
    """A learned weighted mean of the real frames, or several."""

    kind: Literal["attention"] = "attention"
    hidden: Count = 128
    """The width of the layer that scores each frame."""
    heads: Count = 1
    """How many weighted means are taken, one after the other in the embedding."""


class AttentiveStatisticsPooling(Settings):
    """A learned weighted mean and the standard deviation around it."""

    kind: Literal["attentive_statistics"] = "attentive_statistics"
    hidden: Count = 128
    """The width of the layer that scores each frame."""


PoolingSettings = Annotated[
    Union[MeanPooling, MaxPooling, StatisticsPooling, AttentionPooling, AttentiveStatisticsPooling],  # noqa: UP007
    Field(discriminator="kind"),
    read_kind("mean"),
]


class TransformerSettings(Settings):
    """A small transformer over the frames, as wide as they are and without positions."""

    layers: Count = 1
    """The number of layers."""
    heads: Count = 4
    """The attention heads of each layer, a divisor of the frames' width."""
    hidden: Count = 512
    """The width between the two linear layers of each layer."""
    dropout: OpenFraction = 0.1
    """The dropout on the attention and on what each half of a layer adds."""


class _Head(Settings):
    hidden: tuple[Count, ...] = ()
    """The widths of the hidden layers; empty is a linear head."""
    dropout: OpenFraction = 0.1
    """The dropout before each linear layer."""
    layer_norm: bool = True
    """Whether the embedding and each hidden layer are normalised."""
    activation: Literal["gelu", "relu", "tanh", "silu"] = "gelu"
    """The activation of the hidden layers."""
    shared: bool = True
    """Whether the traits share the hidden layers, or each has its own."""
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Traits that share hidden layers, by the group's name: ``{voice: [hoarse, breathy], rate: [slow]}``."""
    transformer: TransformerSettings | None = None
    """A small transformer over the frames before they are pooled, one per stack of hidden layers; null: none."""

    @model_validator(mode="after")
    def _check(self) -> "_Head":
        if self.groups and not self.shared:
            raise ValueError("groups share hidden layers and shared: false shares none; give one of the two")
        empty = [name for name, traits in self.groups.items() if not traits]
        if empty:
            raise ValueError(f"the groups {empty} name no trait")
        self.check_groups({trait: None for traits in self.groups.values() for trait in traits})
        return self

    def check_groups(self, traits: Collection[str]) -> None:
        """Make sure that each trait is in exactly one group, if there are groups.

        Raises:
            ConfigError: names the traits that are unknown, in several groups or in none.
        """
        given = [trait for group in self.groups.values() for trait in group]
        nearest = {trait: nearest_choice(trait, traits) for trait in given if trait not in traits}
        problems = [
            f"'{trait}' is no trait" + (f" (did you mean '{near}'?)" if near else "") for trait, near in nearest.items()
        ]
        problems += [f"'{trait}' stands {given.count(trait)} times" for trait in traits if given.count(trait) > 1]
        problems += [f"'{trait}' is in no group" for trait in traits if trait not in given]
        if self.groups and problems:
            raise ConfigError(f"model.head.groups must name each trait once: {', '.join(problems)}.")


class BinaryHead(_Head):
    """One probability of presence per trait."""

    kind: Literal["binary"] = "binary"


class OrdinalHead(_Head):
    """The probability of reaching each level of the scale."""

    kind: Literal["ordinal"] = "ordinal"
    method: Literal["cumulative", "coral", "corn"] = "cumulative"
    """cumulative: proportional odds with one score and ordered thresholds; coral: the same with free thresholds; corn:
    conditional probabilities."""


class RegressionHead(_Head):
    """One value on the scale per trait."""

    kind: Literal["regression"] = "regression"


HeadSettings = Annotated[
    Union[BinaryHead, OrdinalHead, RegressionHead],  # noqa: UP007
    Field(discriminator="kind"),
    read_kind("ordinal"),
]
