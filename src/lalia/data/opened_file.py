"""What every way of opening an audio file gives: its header, its samples in blocks, and whether they were all there."""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Room = Callable[[], NDArray[np.float32]]
"""Gives a place for the next samples of a file that is mono, shape (samples,)."""

ADVICE = "Check it by ear and export it again, or list it in data.exclude"
CONVERT = "Convert it to WAV or FLAC, or list it in data.exclude"


class OpenedFile(Protocol):
    """An audio file whose header has been read.

    Attributes:
        rate_hz: samples per second.
        channels: side by side.
        promised_frames: samples per channel by the header; None where it does not say or only roughly.
    """

    rate_hz: int
    channels: int
    promised_frames: int | None

    def blocks(self, n_frames: int, room: Room | None = None) -> Iterator[NDArray[np.float32]]:
        """Yield the samples in order, shape (at most n_frames, channels); each block is overwritten by the next.

        The blocks of a mono file may be put where ``room`` says, and are as long as that then.
        """
        ...

    def check_end(self, n_frames: int) -> None:
        """Refuse the file if its header promised more than the samples that were there.

        Raises:
            UnusableFile: says both.
        """
        ...


def cut_off(promised_seconds: float, seconds: float) -> tuple[str, str]:
    """Return what is wrong with a file that ends too early, and what to do."""
    return (
        f"is cut off: its header promises {promised_seconds:.2f} s, {seconds:.2f} s are there",
        "Copy it again from its source, or list it in data.exclude",
    )
