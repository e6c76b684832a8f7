"""From the pieces of a step to gradients: each piece by itself, or with a loss that needs all of them together."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lalia.processes import Processes
from lalia.training.memory import computing
from lalia.training.reader import RatedInputs


class Piece(NamedTuple):
    """Some recordings of a step that are computed at once."""

    inputs: RatedInputs
    seed: int
    """Of what is drawn with it: a piece that is computed twice is the same twice."""


Score = Callable[[Piece], Tensor]
"""From a piece to its raw outputs."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""From raw outputs and the rows of their recordings to the sum of their losses."""
Backward = Callable[[Tensor], None]
"""Adds the gradients of a sum of losses to the parameters."""


def backward_apart(
    pieces: Sequence[Piece], score: Score, loss: Loss, backward: Backward, processes: Processes
) -> Tensor:
    """Add the gradients of a loss that is a sum over recordings, and return that sum over all processes.

    Args:
        pieces: those of this process; the gradients are theirs alone.
        score: called once with each piece.
        loss: of the recordings of one piece.
        backward: called once with the loss of each piece.
        processes: which share the pieces of the step.

    Raises:
        PieceTooLarge: if memory runs out with a piece, in any process.
    """

    def compute() -> Tensor:
        total = torch.zeros((), device=processes.device)
        for piece in pieces:
            with computing(piece.inputs.rows.tolist()):
                of_piece = loss(score(piece), piece.inputs.rows)
                total = total + of_piece.detach()
                backward(of_piece)
        return total

    total = processes.together(compute)
    processes.add([total])
    return total


def backward_together(
    pieces: Sequence[Piece], score: Score, loss: Loss, backward: Backward, processes: Processes
) -> Tensor:
    """Add the gradients of a loss over all recordings of a step, and return it.

    The memory is that of one piece. All are scored without gradients first, the loss of all raw outputs says how it
    changes with each, and each piece is then computed again, with the same dropout, to carry that on to the
    parameters (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup"). That costs
    one more forward pass. Several processes tell each other their raw outputs between the two passes.

    Args:
        pieces: and all that follow, those of ``backward_apart``; here the loss is of all recordings of the step.

    Raises:
        PieceTooLarge: if memory runs out with a piece, in any process.
    """
    if processes.count == 1 and len(pieces) == 1:
        return backward_apart(pieces, score, loss, backward, processes)
    outputs = processes.together(lambda: _score_all(pieces, score))
    raws, rows = zip(*processes.collect(outputs), strict=True)
    raw = torch.cat(raws).to(processes.device).requires_grad_()
    of_all = loss(raw, torch.cat(rows))
    (slopes,) = torch.autograd.grad(of_all, raw)
    mine = processes.deal(torch.split(slopes, [len(each) for each in raws]))

    def compute() -> None:
        for piece, of_piece in zip(pieces, mine, strict=True):
            with computing(piece.inputs.rows.tolist()):
                # its gradient with respect to the raw outputs is the loss's
                backward((score(piece) * of_piece).sum())

    processes.together(compute)
    return of_all.detach()


def _score_all(pieces: Sequence[Piece], score: Score) -> list[tuple[Tensor, Tensor]]:
    outputs = []
    for piece in pieces:
        with torch.no_grad(), computing(piece.inputs.rows.tolist()):
            outputs.append((score(piece).cpu(), piece.inputs.rows))
    return outputs
