"""A learned mix of the encoder's depths, the weighted sum of SUPERB."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LayerMix(nn.Module):
    """Weighted sum of the depths of an encoder, with weights that are positive and add up to 1.

    One scalar per depth goes through a softmax; all start equal. The depths are not normalised before
    (Yang et al. 2021, "SUPERB", section 2.2, after ELMo, Peters et al. 2018, equation 1).

    Args:
        n_depths: how many depths are mixed; an encoder with L blocks has L + 1.

    Example:
        >>> mix = LayerMix(2)
        >>> mix([torch.tensor([[[1.0]]]), torch.tensor([[[3.0]]])]).tolist()
        [[[2.0]]]
    """

    def __init__(self, n_depths: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(n_depths))

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
