"""Gradual unfreezing: the highest block of an encoder trains first, and the ones below join epoch by epoch."""

from lalia.model.adapt import train_from, trainable_paths
from lalia.model.encoders.base import SpeechEncoder


class GradualUnfreezing:
    """Which of the parameters that an adaptation lets train do so in an epoch.

    As in Howard and Ruder 2018 (arXiv 1801.06146). What does not train yet is frozen as if it never would: no gradient,
    no decay, eval mode, and nothing is kept for the backward pass below the lowest depth that trains. The head and what
    else stands on the encoder trains always.

    Args:
        encoder: adapted; changed in place.
        every: epochs after which the next depth joins; None lets all train from the start.

    Example:
        >>> from lalia.model.adapt import adapt_full
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "hubert", "layers": 3, "width": 16, "heads": 2})
        >>> _ = adapt_full(encoder)
        >>> unfreezing = GradualUnfreezing(encoder, every=2)
        >>> [unfreezing.lowest_depth(epoch) for epoch in range(1, 9)]
        [3, 3, 2, 2, 1, 1, 0, 0]
    """

    def __init__(self, encoder: SpeechEncoder, every: int | None) -> None:
        self._encoder = encoder
        self._every = every
        self._declared = trainable_paths(encoder)
        self._depths = sorted({encoder.depth_of(path) for path in self._declared}, reverse=True)

    def lowest_depth(self, epoch: int) -> int:
        """Return the lowest depth that trains in an epoch, from 1; depths at which nothing ever trains are left out."""
        if self._every is None or not self._depths:
            return 0
        return self._depths[min((epoch - 1) // self._every, len(self._depths) - 1)]

    def begin_epoch(self, epoch: int) -> None:
        """Set what trains in an epoch; the same after a stop as without one."""
        if self._every is not None:
            train_from(self._encoder, self._declared, self.lowest_depth(epoch))

    def end(self) -> None:
        """Let everything train again that the adaptation lets train."""
        if self._every is not None:
            train_from(self._encoder, self._declared, 0)
