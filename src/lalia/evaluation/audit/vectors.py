"""One vector for each recording, for the checks that need to hear: an encoder's from the cache, or acoustic ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lalia.data.audio import Preprocessing
from lalia.data.dataset import RecordingDataset
from lalia.data.log_mel import LOG_MEL_COLUMN
from lalia.data.table import RecordingTable
from lalia.model.encoders.base import SpeechEncoder
from lalia.training.cache import ActivationStore
from lalia.training.entries import find_keys, load_entries
from lalia.training.frozen import frozen_vectors


@dataclass(frozen=True, eq=False)
class RecordingVectors:
    """A vector for each recording.

    Attributes:
        values: shape (recordings, width).
        source: what they are, in words.
        is_encoded: whether an encoder made them.
    """

    values: NDArray[np.float32]
    source: str
    is_encoded: bool


def read_cached_vectors(
    encoder: SpeechEncoder, table: RecordingTable, preprocessing: Preprocessing, store: ActivationStore
) -> RecordingVectors | None:
    """Return the mean over the frames at the middle depth where the cache has it of all recordings, otherwise None.

    A run with a frozen encoder and ``lalia probe`` leave them there.

    Args:
        encoder: as it was loaded.
        table: with the columns of ``scan_recordings``.
        preprocessing: from file to windows.
        store: the cache.
    """
    depth = encoder.n_blocks // 2
    part = frozen_vectors(encoder, preprocessing, store.dtype, [depth], ("mean",))
    place = part.all_depths.index(depth)
    vectors = []
    for keys in find_keys(part, RecordingDataset(table, preprocessing)):
        entries = load_entries(store, keys)
        if entries is None:
            return None
        vectors.append(entries[0]["mean"][place].float().numpy())
    return RecordingVectors(np.stack(vectors), f"{encoder.source.name}, depth {depth}", True)


def acoustic_vectors(table: RecordingTable) -> RecordingVectors:
    """Return the log-mel statistics of a scanned table."""
    return RecordingVectors(np.stack(list(table.recordings[LOG_MEL_COLUMN])), "log-mel statistics", False)
