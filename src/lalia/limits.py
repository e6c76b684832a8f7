"""What an audio file may be, and what decoding it may take, so that a broken or hostile one costs itself alone."""

from dataclasses import dataclass

# at higher rates the longest recording would not fit in memory
_MAX_FULL_LENGTH_RATE_HZ = 48_000


@dataclass(frozen=True)
class Limits:
    """What is refused of an audio file, and what decoding it may take.

    Args:
        max_seconds: of sound; above 48 kHz, as many samples as that has at 48 kHz.
        min_rate_hz: the lowest rate.
        max_rate_hz: the highest rate.
        max_channels: the most channels.
        max_gb: the size of the file, in units of 10^9 bytes.
        timeout_seconds: decoding may take this long, and a tenth of what it has given so far.
        memory_gb: decoding may take this much memory beside what the decoder needs itself, in units of 10^9 bytes.
    """

    max_seconds: float = 3 * 60 * 60
    min_rate_hz: int = 4_000
    max_rate_hz: int = 384_000
    max_channels: int = 32
    max_gb: float = 4.0
    timeout_seconds: float = 60.0
    memory_gb: float = 1.0

    def max_frames(self, rate_hz: int) -> int:
        """Return how many samples a channel may have.

        Example:
            >>> Limits(max_seconds=10).max_frames(16_000), Limits(max_seconds=10).max_frames(96_000)
            (160000, 480000)
        """
        return int(self.max_seconds * min(rate_hz, _MAX_FULL_LENGTH_RATE_HZ))


class UnusableFile(Exception):
    """What is wrong with a file, worded to follow its name, and what to do."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.advice = advice
