"""How far training moved the weights of an encoder from where they began, depth by depth."""

from typing import NamedTuple

import torch

from lalia.errors import ModelError
from lalia.model.encoders.base import SpeechEncoder


class WeightChange(NamedTuple):
    """What training changed at one depth."""

    depth: int
    """0 is the stem; what follows the last block, such as a norm, counts there."""
    parameters: int
    """How many there are."""
    change: float
    """The norm of the difference divided by the norm of the weights before, of all parameters at once (Frobenius)."""


def compare_weights(trained: SpeechEncoder, before: SpeechEncoder) -> list[WeightChange]:
    """Return how far each depth moved, by depth; one without parameters is left out.

    Args:
        trained: without adapters: ``SpeechRater.merge`` folds them in.
        before: the same architecture, as it was before training.

    Raises:
        ModelError: if the encoders have not the same parameters.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> spec = {"random": "whisper", "layers": 2, "width": 16, "heads": 2}
        >>> before, trained = load_encoder(spec), load_encoder(spec)
        >>> for parameter in trained.blocks[0].parameters():
        ...     _ = parameter.mul_(1.5)
        >>> [(each.depth, round(each.change, 6)) for each in compare_weights(trained, before)]
        [(0, 0.0), (1, 0.5), (2, 0.0)]
    """
    now, then = dict(trained.model.named_parameters()), dict(before.model.named_parameters())
    if {path: each.shape for path, each in now.items()} != {path: each.shape for path, each in then.items()}:
        raise ModelError(
            f"The encoder {before.source.name} has other parameters than the trained one, so they cannot be compared."
        )
    sums: dict[int, list[float]] = {}
    for path, weight in now.items():
        old = then[path].detach().to(torch.float64).cpu()
        moved = weight.detach().to(torch.float64).cpu() - old
        found = sums.setdefault(trained.depth_of(path), [0.0, 0.0, 0.0])
        for place, value in enumerate((weight.numel(), moved.square().sum(), old.square().sum())):
            found[place] += float(value)
    return [
        WeightChange(depth, int(count), (moved / old) ** 0.5 if old else 0.0)
        for depth, (count, moved, old) in sorted(sums.items())
    ]
