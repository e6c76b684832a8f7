"""The parts that heads are made of: hidden layers per trait, ordered thresholds, the scale as tensors."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lalia.errors import ModelError, suggest
from lalia.model.frame_transformer import FrameTransformer
from lalia.model.pooling import Pooling
from lalia.model.sharing import Sharing
from lalia.scale import Scale

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
}


class ScaleTensors(nn.Module):
    """The rating scale as tensors that move with their head; ``lalia.scale.Scale`` says what they mean.

    Args:
        scale: the rating scale.
    """

    levels: Tensor
    boundaries: Tensor

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        levels = torch.tensor(scale.levels, dtype=torch.float32)
        # they follow from the scale, which is saved as such
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("boundaries", (levels[1:] + levels[:-1]) / 2, persistent=False)
        # where the told levels stand among those above the first
        self.told_steps = [scale.levels.index(level) - 1 for level in scale.told_levels]
        self.present_index = scale.present_index
        self.present_boundary = scale.present_boundary
        self.middle = (scale.levels[0] + scale.levels[-1]) / 2
        self.half_range = (scale.levels[-1] - scale.levels[0]) / 2

    def level_index(self, ratings: Tensor) -> Tensor:
        """Return the index of the nearest level, of two equally near ones the lower; 0 where a rating is NaN."""
        return (ratings.unsqueeze(-1) > self.boundaries).sum(dim=-1)

    def reach_shares(self, ratings: Tensor) -> Tensor:
        """Return the share of each trait's ratings that reach each level above the first, smoothed.

        One rating that is spread evenly over the levels is added, so that no share is 0 or 1.

        Args:
            ratings: NaN where missing, shape (recordings, traits); none at all is allowed.

        Returns:
            Falling shares in float64, shape (traits, levels - 1).

        Example:
            >>> scale = ScaleTensors(Scale((1, 2, 3, 4), present_from=2))
            >>> scale.reach_shares(torch.empty(0, 1)).tolist()
            [[0.75, 0.5, 0.25]]
        """
        n_levels = len(self.levels)
        ratings = ratings.to(self.boundaries.device)
        is_level = functional.one_hot(self.level_index(ratings), n_levels) * ~ratings.isnan().unsqueeze(-1)
        counts = is_level.sum(dim=0) + torch.tensor(1 / n_levels, dtype=torch.float64)
        at_least = counts.flip(-1).cumsum(dim=-1).flip(-1)
        return at_least[:, 1:] / at_least[:, :1]


class TraitLayers(nn.Module):
    """The layers before the outputs: one stack for all traits, for each group, or for each trait.

    A stack is: normalise the embedding, then per hidden layer dropout, linear, normalise, activation, and dropout at
    the end, before the output. Each stack draws its own initial weights, and may have its own transformer over the
    frames, before they are pooled: then it also has its own embedding.

    Args:
        width: the width of the embedding.
        sharing: which traits share a stack.
        transformers: one per stack, or none.
        hidden: and all that follow, those of ``lalia.model.heads.build_head``.

    Raises:
        ModelError: if there is no such activation.
    """

    def __init__(
        self,
        width: int,
        sharing: Sharing,
        transformers: Sequence[FrameTransformer] = (),
        *,
        hidden: Sequence[int],
        dropout: float,
        layer_norm: bool,
        activation: str,
    ) -> None:
        super().__init__()
        if activation not in _ACTIVATIONS:
            choices = ", ".join(_ACTIVATIONS)
            hint = suggest(activation, _ACTIVATIONS)
            raise ModelError(f"Unknown activation '{activation}'.{hint} Choose from {choices}.")
        self.width = width
        self.sharing = sharing
        self.n_traits = sharing.n_traits
        self.out_width = hidden[-1] if hidden else width
        self.config: dict[str, Any] = {
            "hidden": list(hidden),
            "dropout": dropout,
            "layer_norm": layer_norm,
            "activation": activation,
            **sharing.config,
            "transformer": transformers[0].config if transformers else None,
        }
        self.transformers = nn.ModuleList(transformers)
        self.stacks = nn.ModuleList(
            _make_stack(width, hidden, dropout, layer_norm, _ACTIVATIONS[activation]) for _ in range(sharing.n_stacks)
        )

    def pool(self, pooling: Pooling, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Pool frames as the stacks take them.

        Args:
            pooling: frames to embedding.
            frames: shape (recordings, time, width of the frames).
            is_real_frame: False on padding, shape (recordings, time).

        Returns:
            The embedding, shape (recordings, width); with transformers one per stack, (recordings, stacks, width).
        """
        embeddings = [pooling(each, is_real_frame) for each in self.transform(frames, is_real_frame)]
        return torch.stack(embeddings, dim=1) if self.transformers else embeddings[0]

    def transform(self, frames: Tensor, is_real_frame: Tensor) -> list[Tensor]:
        """Return the frames from the transformer of each stack; without transformers the frames as they are, once."""
        return [transformer(frames, is_real_frame) for transformer in self.transformers] or [frames]

    def forward(self, embedding: Tensor) -> list[Tensor]:
        """Return what each trait's output sees, one tensor (recordings, out_width) per trait."""
        embeddings = embedding.unbind(dim=1) if self.transformers else [embedding] * len(self.stacks)
        return self.for_traits([stack(each) for stack, each in zip(self.stacks, embeddings, strict=True)])

    def for_traits(self, of_stacks: Sequence[Tensor]) -> list[Tensor]:
        """Return for each trait what its stack gave, out of one tensor per stack or one for all."""
        return [of_stacks[stack if len(of_stacks) > 1 else 0] for stack in self.sharing.stack_of_trait]


class CumulativeOutput(nn.Module):
    """One latent against thresholds that stay in order: logits of reaching each level above the first.

    The first threshold is free, each further one lies a softplus of its step above the one before.

    Args:
        width: the width of the input.
        n_thresholds: levels - 1.
    """

    def __init__(self, width: int, n_thresholds: int) -> None:
        super().__init__()
        # no bias: it would move all thresholds together, which the first one does
        self.latent = nn.Linear(width, 1, bias=False)
        self.first = nn.Parameter(torch.zeros(1))
        self.steps = nn.Parameter(torch.zeros(n_thresholds - 1))

    @property
    def thresholds(self) -> Tensor:
        """The rising thresholds, shape (levels - 1,)."""
        return torch.cat([self.first, self.first + functional.softplus(self.steps).cumsum(dim=0)])

    @torch.no_grad()
    def set_thresholds(self, thresholds: Tensor) -> None:
        """Set the thresholds, which must rise, shape (levels - 1,)."""
        gaps = thresholds.diff()
        self.first.copy_(thresholds[:1])
        self.steps.copy_(gaps + torch.log(-torch.expm1(-gaps)))  # the inverse of softplus, stable for wide gaps

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of P(y >= level k), falling, shape (recordings, levels - 1)."""
        latent: Tensor = self.latent(features)
        return latent - self.thresholds


class CoralOutput(nn.Module):
    """One latent with a bias of its own for each level above the first (CORAL).

    The weights are shared by the thresholds, the biases are free: they are in order where the loss is lowest (Cao,
    Mirjalili and Raschka 2020, "Rank consistent ordinal regression", theorem on ordered biases), not by construction.

    Args:
        width: the width of the input.
        n_thresholds: levels - 1.
    """

    def __init__(self, width: int, n_thresholds: int) -> None:
        super().__init__()
        self.latent = nn.Linear(width, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(n_thresholds))

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of P(y >= level k), shape (recordings, levels - 1)."""
        latent: Tensor = self.latent(features)
        return latent + self.bias


def _make_stack(
    width: int, hidden: Sequence[int], dropout: float, layer_norm: bool, activation: Callable[[], nn.Module]
) -> nn.Sequential:
    stack: list[nn.Module] = [nn.LayerNorm(width)] if layer_norm else []
    for in_width, out_width in zip([width, *hidden], hidden, strict=False):
        stack += [nn.Dropout(dropout), nn.Linear(in_width, out_width)]
        if layer_norm:
            stack.append(nn.LayerNorm(out_width))
        stack.append(activation())
    return nn.Sequential(*stack, nn.Dropout(dropout))
