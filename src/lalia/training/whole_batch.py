"""From the pieces of a step to gradients: each piece by itself, or with a loss that needs all of them together."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lalia.training.generators import generator_states, restore_generators
from lalia.training.memory import computing
from lalia.training.reader import RatedInputs

Score = Callable[[RatedInputs], Tensor]
"""From a piece to its raw outputs."""
Loss = Callable[[Tensor, Sequence[RatedInputs]], Tensor]
"""From the raw outputs of pieces, one piece after the other, to the sum of their losses."""
Backward = Callable[[Tensor], None]
"""Adds the gradients of a sum of losses to the parameters."""


def backward_apart(pieces: Sequence[RatedInputs], score: Score, loss: Loss, backward: Backward) -> list[Tensor]:
    """Add the gradients of a loss that is a sum over recordings, and return what each piece has of it.

    Raises:
        PieceTooLarge: if memory runs out with a piece.
    """
    losses = []
    for piece in pieces:
        with computing(piece.rows.tolist()):
            of_piece = loss(score(piece), [piece])
            losses.append(of_piece.detach())
            backward(of_piece)
    return losses


def backward_together(pieces: Sequence[RatedInputs], score: Score, loss: Loss, backward: Backward) -> list[Tensor]:
    """Add the gradients of a loss over all recordings of a step, and return it.

    The memory is that of one piece. All are scored without gradients first, the loss of all raw outputs says how it
    changes with each, and each piece is then computed again, with the same dropout, to carry that on to the
    parameters (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup"). That costs
    one more forward pass.

    Raises:
        PieceTooLarge: if memory runs out with a piece.
    """
    if len(pieces) == 1:
        return backward_apart(pieces, score, loss, backward)
    states, raws = [], []
    for piece in pieces:
        states.append(generator_states())
        with torch.no_grad(), computing(piece.rows.tolist()):
            raws.append(score(piece))
    raw = torch.cat(raws).requires_grad_()
    of_all = loss(raw, pieces)
    (slopes,) = torch.autograd.grad(of_all, raw)
    for piece, state, of_piece in zip(pieces, states, torch.split(slopes, [len(each) for each in raws]), strict=True):
        restore_generators(state)
        with computing(piece.rows.tolist()):
            # its gradient with respect to the raw outputs is the loss's
            backward((score(piece) * of_piece).sum())
    return [of_all.detach()]
