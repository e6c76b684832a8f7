"""Embedding -> raw outputs -> scores per trait: binary, ordinal and regression heads.

A head is the layers of its traits and one output per trait. It starts at the base rates of the ratings that it is
given (``start_from_ratings``), and without ratings where each level of the scale is equally likely.

Shape notation: embedding (recordings, width), ratings (recordings, traits) with NaN where a rating is missing,
raw (recordings, traits, outputs). A head with transformers takes one embedding per stack of layers, of shape
(recordings, stacks, width), as ``head.layers.pool`` gives them.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lalia.errors import ModelError, suggest
from lalia.model.frame_transformer import FrameTransformer
from lalia.model.head_layers import CoralOutput, CumulativeOutput, ScaleTensors, TraitLayers
from lalia.model.sharing import Sharing
from lalia.scale import Scale


class Scores(NamedTuple):
    """What a rater says about each recording and trait; every tensor has the shape (recordings, traits)."""

    score: Tensor
    """In units of the scale; of a binary head the probability of presence."""
    level: Tensor
    """A level of the scale; NaN of a binary head."""
    probability: Tensor
    """The probability that the trait is present."""


class BinaryHead(nn.Module):
    """One logit per trait: is the trait present?

    Args:
        layers: the layers before the outputs.
        scale: says from which level on a trait is present.

    Attributes:
        told_levels: the levels that ``reach`` is about, for every head.
    """

    def __init__(self, layers: TraitLayers, scale: Scale) -> None:
        super().__init__()
        self.scale = ScaleTensors(scale)
        self.told_levels: tuple[float, ...] = (scale.present_from,)
        self.layers = layers
        self.outputs = nn.ModuleList(nn.Linear(layers.out_width, 1) for _ in range(layers.n_traits))
        self.start_from_ratings(torch.empty(0, layers.n_traits))

    @property
    def config(self) -> dict[str, Any]:
        """What ``build_head`` needs besides width, traits and scale to build it again."""
        return {"kind": "binary", **self.layers.config}

    @torch.no_grad()
    def start_from_ratings(self, ratings: Tensor) -> None:
        """Set the biases so that a zero input gives each trait's share of presence in the ratings, smoothed."""
        present = self.scale.reach_shares(ratings)[:, self.scale.present_index - 1]
        for output, logit in zip(self.outputs, torch.logit(present), strict=True):
            output.get_parameter("bias").fill_(logit)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the logit of presence, shape (recordings, traits, 1)."""
        return _apply(self.outputs, self.layers(embedding))

    def log_odds(self, raw: Tensor) -> Tensor:
        """Return the log-odds of presence, shape (recordings, traits, 1)."""
        return raw

    def decode(self, raw: Tensor) -> Scores:
        """Turn raw outputs into scores."""
        probability = torch.sigmoid(raw.squeeze(-1))
        return Scores(probability, torch.full_like(probability, torch.nan), probability)

    def reach(self, raw: Tensor) -> Tensor:
        """Return the probability of reaching each of ``told_levels``, shape (recordings, traits, 1)."""
        return torch.sigmoid(raw)


class OrdinalHead(nn.Module):
    """The probability of reaching each level above the first.

    Args:
        layers: the layers before the outputs.
        scale: the levels.
        method: ``cumulative``: proportional odds, one latent per trait against ordered thresholds, raw outputs are the
            logits of P(y >= level k) (McCullagh 1980). ``coral``: the same with free biases in place of ordered
            thresholds (Cao, Mirjalili and Raschka 2020, "Rank consistent ordinal regression"). ``corn``: raw outputs
            are the logits of P(y >= level k | y >= level k-1) (Shi, Cao and Raschka 2021, "Deep neural networks for
            rank-consistent ordinal regression based on conditional probabilities").
    """

    def __init__(
        self, layers: TraitLayers, scale: Scale, method: Literal["cumulative", "coral", "corn"] = "cumulative"
    ) -> None:
        super().__init__()
        self.scale = ScaleTensors(scale)
        self.told_levels = scale.told_levels
        self.layers = layers
        self.method = method
        make = {"cumulative": CumulativeOutput, "coral": CoralOutput, "corn": nn.Linear}[method]
        n_outputs = len(scale.levels) - 1
        self.outputs = nn.ModuleList(make(layers.out_width, n_outputs) for _ in range(layers.n_traits))
        self.start_from_ratings(torch.empty(0, layers.n_traits))

    @property
    def config(self) -> dict[str, Any]:
        """What ``build_head`` needs besides width, traits and scale to build it again."""
        return {"kind": "ordinal", "method": self.method, **self.layers.config}

    @torch.no_grad()
    def start_from_ratings(self, ratings: Tensor) -> None:
        """Set thresholds or biases so that a zero input gives each trait's levels their share of the ratings, smoothed.

        Smoothing adds one rating, spread evenly over the levels, so that a level that nobody gave stays possible.
        """
        for output, reach in zip(self.outputs, self.scale.reach_shares(ratings), strict=True):
            if isinstance(output, CumulativeOutput):
                output.set_thresholds(-torch.logit(reach))
            elif isinstance(output, CoralOutput):
                output.bias.copy_(torch.logit(reach))
            else:
                given_the_level_below = reach / torch.cat([torch.ones_like(reach[:1]), reach[:-1]])
                output.get_parameter("bias").copy_(torch.logit(given_the_level_below))

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the logits, shape (recordings, traits, levels - 1)."""
        return _apply(self.outputs, self.layers(embedding))

    def reach_probabilities(self, raw: Tensor) -> Tensor:
        """Return P(y >= level k) for each level above the first, shape (recordings, traits, levels - 1).

        They fall, those of ``coral`` after some training only.
        """
        probabilities = torch.sigmoid(raw)
        return probabilities.cumprod(dim=-1) if self.method == "corn" else probabilities

    def log_odds(self, raw: Tensor) -> Tensor:
        """Return the log-odds of P(y >= level k), shape (recordings, traits, levels - 1)."""
        if self.method != "corn":
            return raw
        # below 0 by more than rounding, as the log-odds of certainty are infinite
        log_reach = functional.logsigmoid(raw).cumsum(dim=-1).clamp(max=-1e-6)
        return log_reach - torch.log(-torch.expm1(log_reach))

    def decode(self, raw: Tensor) -> Scores:
        """Turn raw outputs into scores: the expected level, and the highest level that is likely reached."""
        reach = self.reach_probabilities(raw)
        levels = self.scale.levels
        score = levels[0] + (reach * levels.diff()).sum(dim=-1)
        level = levels[(reach > 0.5).sum(dim=-1)]
        return Scores(score, level.where(~score.isnan(), torch.nan), reach[..., self.scale.present_index - 1])

    def reach(self, raw: Tensor) -> Tensor:
        """Return the probability of reaching each of ``told_levels``, shape (recordings, traits, told levels)."""
        return self.reach_probabilities(raw)[..., self.scale.told_steps]


class RegressionHead(nn.Module):
    """One value per trait, in units of the scale but not held to its ends.

    Inside, the value is counted from the middle of the scale in half ranges, so that training is as well conditioned
    on a scale of 0-100 as on one of 1-4.

    Args:
        layers: the layers before the outputs.
        scale: the levels.
    """

    residual_sd: Tensor

    def __init__(self, layers: TraitLayers, scale: Scale) -> None:
        super().__init__()
        self.scale = ScaleTensors(scale)
        self.told_levels = scale.told_levels
        self.layers = layers
        self.outputs = nn.ModuleList(nn.Linear(layers.out_width, 1) for _ in range(layers.n_traits))
        self.register_buffer("residual_sd", torch.full((layers.n_traits,), self.scale.half_range))
        self.start_from_ratings(torch.empty(0, layers.n_traits))

    @property
    def config(self) -> dict[str, Any]:
        """What ``build_head`` needs besides width, traits and scale to build it again."""
        return {"kind": "regression", **self.layers.config}

    @torch.no_grad()
    def start_from_ratings(self, ratings: Tensor) -> None:
        """Set the biases so that a zero input gives each trait's mean rating, the middle of the scale where none is."""
        means = ratings.nanmean(dim=0).nan_to_num(nan=self.scale.middle)
        for output, mean in zip(self.outputs, means, strict=True):
            output.get_parameter("bias").fill_((mean - self.scale.middle) / self.scale.half_range)

    @torch.no_grad()
    def set_residual_sd(self, residual_sd: Tensor) -> None:
        """Set the standard deviation of rating minus score, which turns a score into a probability of presence.

        It starts at half the range of the scale.

        Args:
            residual_sd: per trait in units of the scale, shape (traits,), from recordings that were not trained on.
                NaN keeps the present one; less than a thousandth of half the range counts as that.
        """
        floor = 1e-3 * self.scale.half_range
        new = residual_sd.to(self.residual_sd).clamp(min=floor)
        self.residual_sd.copy_(torch.where(new.isnan(), self.residual_sd, new))

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the value in units of the scale, shape (recordings, traits, 1)."""
        return self.scale.middle + self.scale.half_range * _apply(self.outputs, self.layers(embedding))

    def decode(self, raw: Tensor) -> Scores:
        """Turn raw outputs into scores; present is a rating above the boundary below ``present_from``."""
        score = raw.squeeze(-1)
        level = self.scale.levels[self.scale.level_index(score)]
        probability = torch.special.ndtr((score - self.scale.present_boundary) / self.residual_sd)
        return Scores(score, level.where(~score.isnan(), torch.nan), probability)

    def reach(self, raw: Tensor) -> Tensor:
        """Return the probability of reaching each of ``told_levels``, shape (recordings, traits, told levels).

        It is that of a rating above the boundary below the level, if ratings are normal around the score.
        """
        boundaries = self.scale.boundaries[self.scale.told_steps]
        reach: Tensor = torch.special.ndtr((raw - boundaries) / self.residual_sd.unsqueeze(-1))
        return reach


Head = BinaryHead | OrdinalHead | RegressionHead


def build_head(
    kind: str,
    *,
    width: int,
    n_traits: int,
    scale: Scale,
    hidden: Sequence[int] = (),
    dropout: float = 0.0,
    layer_norm: bool = True,
    activation: str = "gelu",
    shared: bool = True,
    groups: Mapping[str, Sequence[int]] = MappingProxyType({}),
    transformer: Mapping[str, Any] | None = None,
    frame_width: int | None = None,
    method: str = "cumulative",
) -> Head:
    """Return a head with new weights from torch's global generator.

    Args:
        kind: binary, ordinal or regression.
        width: the width of the embedding.
        n_traits: how many traits it rates.
        scale: the rating scale.
        hidden: the widths of the hidden layers; empty is a linear head.
        dropout: the dropout before each linear layer, 0 to below 1.
        layer_norm: whether the embedding and each hidden layer are normalised.
        activation: gelu, relu, tanh or silu.
        shared: whether the traits share the hidden layers, or each has its own with its own initial weights.
        groups: positions, from 0, of the traits that share hidden layers, by the name of the group; empty where
            ``shared`` decides.
        transformer: the settings of a ``FrameTransformer`` per stack of hidden layers, without the width; None for
            none.
        frame_width: the width of the frames that the transformer takes; None: the embedding's.
        method: ordinal only, cumulative, coral or corn.

    Raises:
        ModelError: if there is no such kind, method or activation, a trait is not in exactly one group, or the frames'
            width is no multiple of the transformer's heads.
    """
    sharing = Sharing(n_traits, shared, groups)
    n_transformers = 0 if transformer is None else sharing.n_stacks
    layers = TraitLayers(
        width,
        sharing,
        [FrameTransformer(frame_width or width, **transformer or {}) for _ in range(n_transformers)],
        hidden=hidden,
        dropout=dropout,
        layer_norm=layer_norm,
        activation=activation,
    )
    match kind, method:
        case "binary", _:
            return BinaryHead(layers, scale)
        case "ordinal", "cumulative" | "coral" | "corn":
            return OrdinalHead(layers, scale, method)
        case "regression", _:
            return RegressionHead(layers, scale)
    knows_kind = kind == "ordinal"
    what, word = ("ordinal method", method) if knows_kind else ("head", kind)
    choices = ("cumulative", "coral", "corn") if knows_kind else ("binary", "ordinal", "regression")
    raise ModelError(f"Unknown {what} '{word}'.{suggest(word, choices)} Choose from {', '.join(choices)}.")


def _apply(outputs: nn.ModuleList, features: list[Tensor]) -> Tensor:
    return torch.stack([output(feature) for output, feature in zip(outputs, features, strict=True)], dim=1)
