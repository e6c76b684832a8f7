"""What is in two parts of a split that should be in one: speakers, and the sound of recordings."""

import pandas as pd

from lalia.data.splits import PARTS


def find_shared_speakers(parts: pd.DataFrame) -> pd.DataFrame:
    """Return the speakers with recordings in more than one part.

    Args:
        parts: columns recording, speaker and part.

    Returns:
        A row per such speaker: speaker, parts (joined by " and "), recordings (how many).

    Example:
        >>> rows = pd.DataFrame({"recording": ["1", "2"], "speaker": ["a", "a"], "part": ["test", "train"]})
        >>> find_shared_speakers(rows).to_numpy().tolist()
        [['a', 'train and test', 2]]
    """
    grouped = parts.groupby("speaker")["part"]
    names = grouped.agg(lambda given: " and ".join(part for part in PARTS if part in set(given)))
    shared = pd.DataFrame({"parts": names, "recordings": grouped.size()})
    return shared[names.str.contains(" and ")].reset_index()


def place_duplicates(duplicates: pd.DataFrame, parts: pd.DataFrame) -> pd.DataFrame:
    """Say whose recordings duplicates are, and in which part.

    Args:
        duplicates: of ``find_duplicates``.
        parts: columns recording, speaker and part.

    Returns:
        The duplicates with speaker, other_speaker, part, other_part, is_across_speakers and is_across_parts.
    """
    known = parts.set_index("recording")
    placed = duplicates.assign(
        speaker=known["speaker"].reindex(duplicates["recording"]).to_numpy(),
        other_speaker=known["speaker"].reindex(duplicates["other"]).to_numpy(),
        part=known["part"].reindex(duplicates["recording"]).to_numpy(),
        other_part=known["part"].reindex(duplicates["other"]).to_numpy(),
    )
    return placed.assign(
        is_across_speakers=placed["speaker"] != placed["other_speaker"],
        is_across_parts=placed["part"] != placed["other_part"],
    )
