"""The participant flow: how many recordings and speakers came in, what was dropped and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

EXCLUDED_COLUMNS = ("recording", "trait", "rater", "value", "reason")


@dataclass(frozen=True)
class FlowStep:
    """Recordings that were dropped together.

    Args:
        reason: why, in words that stand after "dropped: ".
        recordings: their ids, sorted.
        speakers: how many speakers have no recording left after this step that had one before it.
    """

    reason: str
    recordings: tuple[str, ...]
    speakers: int


@dataclass(frozen=True, eq=False)
class Flow:
    """What became of the recordings of a table.

    Args:
        recordings_in: recordings in the table.
        speakers_in: speakers in the table.
        dropped: the steps, in the order in which they were taken.
        excluded_ratings: the ratings of kept recordings that are not taken as they stand in the table; columns
            recording, trait, rater, value (the cell) and reason.
        notes: what a reader should know, one sentence each.
    """

    recordings_in: int
    speakers_in: int
    dropped: tuple[FlowStep, ...] = ()
    excluded_ratings: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=EXCLUDED_COLUMNS, dtype=object))
    notes: tuple[str, ...] = ()

    def drop(self, recordings: pd.DataFrame, reasons: Mapping[str, str]) -> "Flow":
        """Add a step for each reason.

        Args:
            recordings: those that were still there, columns recording and speaker.
            reasons: recording id to reason.
        """
        steps = []
        reason_of = recordings["recording"].map(reasons)
        for reason in dict.fromkeys(reasons.values()):
            leaves = reason_of == reason
            ids = sorted(set(recordings.loc[leaves, "recording"]))
            left = set(recordings.loc[~leaves, "speaker"])
            gone = set(recordings.loc[leaves, "speaker"]) - left
            recordings, reason_of = recordings[~leaves], reason_of[~leaves]
            if ids:
                steps.append(FlowStep(reason, tuple(ids), len(gone)))
        excluded = self.excluded_ratings[~self.excluded_ratings["recording"].isin(list(reasons))]
        return replace(self, dropped=(*self.dropped, *steps), excluded_ratings=excluded.reset_index(drop=True))

    def to_json(self) -> dict[str, Any]:
        """Return the flow as plain lists and dicts."""
        return {
            "recordings_in": self.recordings_in,
            "speakers_in": self.speakers_in,
            "dropped": [
                {"reason": step.reason, "recordings": list(step.recordings), "speakers": step.speakers}
                for step in self.dropped
            ],
            "excluded_ratings": self.excluded_ratings.to_dict("records"),
            "notes": list(self.notes),
        }
