"""Which depths of an encoder are pooled: one, a learned mix of all, or several side by side.

A layer mix says which depths it asks of the encoder and makes one sequence of frames of ``out_width`` from them.
"""

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lalia.errors import ModelError
from lalia.model.encoders.base import Depth

Layers = str | int | Sequence[int]


class OneDepth(nn.Module):
    """The frames of one depth as they are.

    Args:
        depth: a number from 0, or ``"last"`` for the encoder's own output.
        width: of the encoder's frames.
    """

    def __init__(self, depth: Depth, width: int) -> None:
        super().__init__()
        self.depths: tuple[Depth, ...] = (depth,)
        self.out_width = width

    def forward(self, values: Sequence[Tensor]) -> Tensor:
        """Return the one tensor."""
        return values[0]


class WeightedDepths(nn.Module):
    """Weighted sum of the depths of an encoder, with weights that are positive and add up to 1.

    One scalar per depth goes through a softmax; all start equal. The depths are not normalised before
    (Yang et al. 2021, "SUPERB", section 2.2, after ELMo, Peters et al. 2018, equation 1).

    Args:
        n_depths: how many depths are mixed, from 0; an encoder with L blocks has L + 1.
        width: of the encoder's frames.

    Example:
        >>> mix = WeightedDepths(2, width=1)
        >>> mix([torch.tensor([[[1.0]]]), torch.tensor([[[3.0]]])]).tolist()
        [[[2.0]]]
    """

    def __init__(self, n_depths: int, width: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(n_depths))
        self.depths: tuple[Depth, ...] = tuple(range(n_depths))
        self.out_width = width

    @property
    def weights(self) -> Tensor:
        """The weight of each depth, shape (depths,), without gradient."""
        return torch.softmax(self.logits.detach(), dim=0)

    def forward(self, values: Sequence[Tensor]) -> Tensor:
        """Mix the values of all depths.

        Args:
            values: one tensor per depth, from depth 0, all of one shape (..., time, width).

        Returns:
            The weighted sum, of the same shape.

        Raises:
            ValueError: if the number of depths is another one than the mix was made for.
        """
        # a sum in a loop: stacking 25 depths would copy all of them
        mixed = torch.zeros_like(values[0])
        for weight, value in zip(torch.softmax(self.logits, dim=0), values, strict=True):
            mixed = mixed + weight * value
        return mixed


class ConcatenatedDepths(nn.Module):
    """The frames of several depths side by side, not normalised before.

    Args:
        depths: the numbers of the depths, in the order in which they stand along the width.
        width: of the encoder's frames.

    Example:
        >>> ConcatenatedDepths([1, 2], width=1)([torch.tensor([[[1.0]]]), torch.tensor([[[3.0]]])]).tolist()
        [[[1.0, 3.0]]]
    """

    def __init__(self, depths: Sequence[Depth], width: int) -> None:
        super().__init__()
        self.depths = tuple(depths)
        self.out_width = len(self.depths) * width

    def forward(self, values: Sequence[Tensor]) -> Tensor:
        """Return the values of all depths along the width, shape (..., time, out_width)."""
        return torch.cat(list(values), dim=-1)


LayerMix = OneDepth | WeightedDepths | ConcatenatedDepths


def build_layer_mix(layers: Layers, *, n_blocks: int, width: int) -> LayerMix:
    """Return what makes one sequence of frames from an encoder's depths.

    Args:
        layers: as for ``find_depths``.
        n_blocks: of the encoder.
        width: of the encoder's frames.

    Raises:
        ModelError: if the encoder has no such depths.
    """
    depths = find_depths(layers, n_blocks)
    if layers == "weighted":
        return WeightedDepths(len(depths), width)
    return OneDepth(depths[0], width) if len(depths) == 1 else ConcatenatedDepths(depths, width)


def find_depths(layers: Layers, n_blocks: int) -> tuple[Depth, ...]:
    """Return the depths to ask of an encoder.

    Args:
        layers: ``"last"`` for the encoder's own output, which in pre-norm models is the last depth normalised;
            ``"weighted"`` for all depths; a depth, counted from the end where negative; a list of depths; or
            ``"last-4"`` for the last four, which are not normalised.
        n_blocks: of the encoder, which is its last depth.

    Raises:
        ModelError: if the encoder has no such depths, none is asked or one twice.

    Example:
        >>> find_depths("last", 12), find_depths("last-4", 12), find_depths([6, -1], 12)
        (('last',), (9, 10, 11, 12), (6, 12))
    """
    match layers:
        case "last":
            return ("last",)
        case "weighted":
            return tuple(range(n_blocks + 1))
        case str() if re.fullmatch(r"last-[1-9][0-9]*", layers):
            asked = [-place for place in range(int(layers.removeprefix("last-")), 0, -1)]
        case int():
            asked = [layers]
        case _:
            asked = [] if isinstance(layers, str) else list(layers)
    n_depths = n_blocks + 1
    if not asked or any(depth not in range(-n_depths, n_depths) for depth in asked):
        raise ModelError(
            f"Unknown layers {layers!r}. Choose last, weighted, a depth from 0 to {n_blocks} (or -1 for the last one),"
            f" a list of depths, or last-n for the last n of these {n_depths}, such as last-2."
        )
    depths: tuple[Depth, ...] = tuple(depth % n_depths for depth in asked)
    if len(set(depths)) < len(depths):
        raise ModelError(f"Layers {layers!r} name a depth twice; depth -1 is {n_blocks}. Name each once.")
    return depths
