"""Levels that few people have, of which little can be learned or told."""

import pandas as pd

from lalia.data.stratify import level_presence
from lalia.data.table import RecordingTable
from lalia.errors import list_some


def count_speakers(table: RecordingTable) -> pd.DataFrame:
    """Return how many speakers have each level of each trait in any recording: columns trait, level, speakers."""
    counts = level_presence(table).sum()
    return counts.rename_axis(["trait", "level"]).rename("speakers").reset_index()


def warn_of_few_speakers(table: RecordingTable, least: int) -> str | None:
    """Say in plain words which levels fewer than ``least`` speakers have; None where there is none such.

    A level that nobody has is named too: it cannot be learned.
    """
    counts = count_speakers(table)
    few = counts[counts["speakers"] < least]
    if few.empty:
        return None
    shown = [f"{row.trait} at {row.level:g} ({row.speakers})" for row in few.itertuples()]
    return (
        f"Few people: {list_some(shown, most=12)}: fewer than {least} speakers have these ratings. A model learns "
        "these levels from these few voices, and a test of them says how it does on these few, not on others. Collect "
        "more speakers, join levels (data.scale.recode), or leave the trait out."
    )
