"""Elapsed time, on the wall and on the processors, and how many times the one side takes the other's."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Seconds(NamedTuple):
    """How long something took.

    Args:
        wall: what a user waits.
        cpu: of all threads of this process, which another program on the same machine changes less.
    """

    wall: float
    cpu: float

    def __add__(self, other: "Seconds") -> "Seconds":  # type: ignore[override]
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.wall - other.wall, self.cpu - other.cpu)

    def __mul__(self, factor: float) -> "Seconds":  # type: ignore[override]
        return Seconds(self.wall * factor, self.cpu * factor)

    def __truediv__(self, other: "Seconds") -> "Seconds":
        """Return how many times the other."""
        return Seconds(self.wall / other.wall, self.cpu / other.cpu)


NOTHING = Seconds(0.0, 0.0)


def now() -> Seconds:
    """Return the present time; only differences mean something."""
    return Seconds(time.perf_counter(), time.process_time())


def measure(work: Callable[[], object]) -> Seconds:
    """Return how long a call takes."""
    begun = now()
    work()
    return now() - begun


def median(values: Sequence[Seconds]) -> Seconds:
    """Return the medians.

    Example:
        >>> median([Seconds(1.0, 5.0), Seconds(2.0, 4.0), Seconds(9.0, 3.0)])
        Seconds(wall=2.0, cpu=4.0)
    """
    return Seconds(*(float(each) for each in np.median(np.array(values), axis=0)))
