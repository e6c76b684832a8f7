"""Learned vectors before the frames, attended by the blocks and left out of what they give."""

import torch
from torch import Tensor, nn


class SoftPrompt(nn.Module):
    """Vectors that stand before the frames of depth 0, new ones at every block if there is one set for each.

    With one set this is prompt tuning (Lester et al. 2021, arXiv 2104.08691) on frames in place of tokens; with one
    for each block it is the deep variant of visual prompt tuning (Jia et al. 2022, arXiv 2203.12119), where what a
    block made of the last set is replaced by the next one.

    Args:
        length: vectors of a set.
        width: of the frames.
        n_sets: 1, or the number of blocks.

    Example:
        >>> prompt = SoftPrompt(length=2, width=4, n_sets=1)
        >>> values, is_real = prompt.put_before(torch.zeros(1, 3, 4), torch.tensor([[True, True, False]]))
        >>> tuple(values.shape), is_real
        ((1, 5, 4), tensor([[ True,  True,  True,  True, False]]))
        >>> tuple(prompt.strip(values).shape)
        (1, 3, 4)
    """

    def __init__(self, length: int, width: int, n_sets: int) -> None:
        super().__init__()
        # one parameter for each block, so that the ones above the pooled depth can be left out of training
        self.vectors = nn.ParameterList(nn.init.normal_(torch.empty(length, width), std=0.02) for _ in range(n_sets))
        self.length = length

    def put_before(self, values: Tensor, is_real: Tensor) -> tuple[Tensor, Tensor]:
        """Return frames (windows, length + time, width) and their mask: the vectors count as real."""
        is_vector = is_real.new_ones(len(is_real), self.length)
        return torch.cat([self._of_depth(1, values), values], dim=1), torch.cat([is_vector, is_real], dim=1)

    def renew(self, depth: int, values: Tensor) -> Tensor:
        """Return a block's input with its own vectors in place of the last ones, if it has any."""
        if depth == 1 or depth > len(self.vectors):
            return values
        return torch.cat([self._of_depth(depth, values), self.strip(values)], dim=1)

    def strip(self, values: Tensor) -> Tensor:
        """Return frames without the vectors before them; also takes a mask (windows, length + time)."""
        return values[:, self.length :]

    def _of_depth(self, depth: int, values: Tensor) -> Tensor:
        vectors: Tensor = self.vectors[depth - 1]
        return vectors.to(values.dtype).expand(len(values), -1, -1)
