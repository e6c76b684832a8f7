"""What a sweep found."""

from dataclasses import dataclass
from pathlib import Path

from lalia.sweep.leaderboard import Standing
from lalia.sweep.trials import Outcome


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Attributes:
        folder: of its files.
        outcomes: of all trials, in the order in which they were proposed.
        standings: of the settings that were trained to the end, the best first.
        scores: of each trial on its validation part, NaN where it failed.
    """

    folder: Path
    outcomes: tuple[Outcome, ...]
    standings: tuple[Standing, ...]
    scores: tuple[float, ...]

    @property
    def failed(self) -> list[Outcome]:
        """Trials that could not be trained, with the reason in each."""
        return [outcome for outcome in self.outcomes if not outcome.is_done]
