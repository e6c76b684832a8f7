"""What of the training part goes through the rater at once: batches to steps, batches to pieces, windows."""

from collections.abc import Sequence

from lalia.data.audio import Preprocessing

CPU_PIECE_SECONDS = 16.0
"""Of audio in a forward and backward pass on a CPU: what fits its caches, and enough to keep it busy."""


def in_groups(batches: Sequence[list[int]], size: int) -> list[Sequence[list[int]]]:
    """Return ``size`` batches at a time; the last group may be smaller, and still makes a step."""
    return [batches[start : start + size] for start in range(0, len(batches), size)]


def split_rows(rows: Sequence[int], seconds: Sequence[float], most: float) -> list[list[int]]:
    """Return rows in pieces that have at most so many seconds of audio, their order kept; a longer row is alone.

    Example:
        >>> split_rows([3, 0, 1, 2], seconds=[4.0, 5.0, 9.0, 20.0], most=10.0)
        [[3], [0, 1], [2]]
    """
    pieces: list[list[int]] = []
    total = 0.0
    for row in rows:
        total += seconds[row]
        if not pieces or total > most:
            pieces.append([])
            total = seconds[row]
        pieces[-1].append(row)
    return pieces


def windows_within(seconds: float, preprocessing: Preprocessing) -> int:
    """Return how many windows are in some seconds of audio, at least one."""
    return max(1, int(seconds // preprocessing.window_seconds))
