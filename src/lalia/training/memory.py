"""What a training does when memory runs out: it computes the same steps in smaller pieces."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from lalia.data.audio import Preprocessing
from lalia.errors import TrainingError

ADVICE = (
    "Lower audio.window_seconds, set train.gradient_checkpointing=true or train.precision=bfloat16, train less of the "
    "encoder (model.adapt), or take a smaller one."
)

# what torch says where it has no class for it: CPU allocators on Linux and Windows, MPS, cuBLAS
_MESSAGES = ("can't allocate memory", "not enough memory", "out of memory", "cublas_status_alloc_failed")


class PieceTooLarge(Exception):
    """Memory ran out in the forward or backward pass of some recordings; the gradients of the step are incomplete.

    Args:
        rows: of the recordings, in their data set.
    """

    def __init__(self, rows: Sequence[int]) -> None:
        super().__init__(list(rows))
        self.rows = list(rows)

    def __str__(self) -> str:
        return f"Memory ran out with {len(self.rows)} recordings."


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that a device or the machine has no memory left.

    Example:
        >>> is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
        True
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
        True
        >>> is_out_of_memory(RuntimeError("shape mismatch"))
        False
    """
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(each in str(error).lower() for each in _MESSAGES)


@contextmanager
def computing(rows: Sequence[int]) -> Iterator[None]:
    """Raise ``PieceTooLarge`` where memory runs out with some recordings; any other error stays what it is."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise PieceTooLarge(rows) from None


@contextmanager
def without_smaller_pieces(doing: str, advice: str) -> Iterator[None]:
    """Raise ``TrainingError`` with advice where memory runs out and smaller pieces of a step would not help."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(f"Memory ran out in {doing}. {advice}") from error


def smaller_piece(seconds: Sequence[float], windows_at_once: int, preprocessing: Preprocessing) -> float | None:
    """Return how many seconds of audio to compute at once after memory ran out; None if no less is possible.

    Half of several recordings; of one alone, half of the windows that are encoded at once.

    Args:
        seconds: the length of each recording.
        windows_at_once: how many windows of one recording are encoded at once.
        preprocessing: says how a recording is cut into windows.

    Example:
        >>> preprocessing = Preprocessing(rate_hz=16_000, trim_db=None, window_seconds=10.0, hop_seconds=10.0)
        >>> [smaller_piece(each, 4, preprocessing) for each in ([5.0, 3.0], [90.0], [8.0])]
        [4.0, 20.0, None]
    """
    if len(seconds) > 1:
        return sum(seconds) / 2
    n_windows = len(preprocessing.window_bounds(round(seconds[0] * preprocessing.rate_hz)))
    at_once = min(windows_at_once, n_windows)
    return at_once // 2 * preprocessing.window_seconds if at_once > 1 else None
