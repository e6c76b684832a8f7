"""Pooled vectors of all depths: what a frozen encoder and a pooling without parameters make of each recording."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lalia.data.audio import Preprocessing
from lalia.data.dataset import RecordingDataset
from lalia.data.table import RecordingTable
from lalia.model.encoders.base import Depth, SpeechEncoder
from lalia.model.pooling import STATISTICS, Statistic
from lalia.progress import Progress
from lalia.training.cache import ActivationStore
from lalia.training.entries import compute_entries, find_keys, load_entries, round_entries, save_entries
from lalia.training.frozen import Entry, FrozenVectors, frozen_vectors


@dataclass(frozen=True, eq=False)
class PooledDepths:
    """What ``pooled_depths`` gives.

    Attributes:
        recordings: the ids, in the order of the table.
        depths: 0 to the number of blocks, and ``"last"`` for the encoder's own output.
        vectors: for each statistic an array of float32, shape (recordings, depths, width).
        computed: how many recordings went through the encoder; the others came from the store.
    """

    recordings: tuple[str, ...]
    depths: tuple[Depth, ...]
    vectors: dict[Statistic, NDArray[np.float32]]
    computed: int


def pooled_depths(
    encoder: SpeechEncoder,
    table: RecordingTable,
    preprocessing: Preprocessing,
    *,
    store: ActivationStore | None = None,
    statistics: Sequence[Statistic] = STATISTICS,
    batch_seconds: float = 60.0,
    workers: int = 0,
    progress: Progress | None = None,
) -> PooledDepths:
    """Return mean, max and standard deviation over the frames of each recording, at every depth.

    What the store has is read from it; the rest is computed in eval mode and without gradients and put there, recording
    by recording, so that a stopped pass goes on where it was. All three statistics are stored, whichever are asked for.

    Args:
        encoder: used as it is, on the device that it is on, and left in its mode.
        table: with the columns of ``scan_recordings``; ``sha256`` says which audio an entry is of.
        preprocessing: from file to windows.
        store: where the vectors are kept; None computes all of them.
        statistics: which to return.
        batch_seconds: the most audio in a forward pass, padding included; a longer recording takes several.
        workers: processes that read audio ahead; 0 reads in a thread of this one.
        progress: is advanced by each recording that is computed.

    Raises:
        TableError: if the recordings have not been scanned.
        AudioError: names a recording that cannot be read.
        EmptyRecordingError: names a recording without a single frame.
        EncoderError: names a recording for which the encoder gave values that are not finite.
    """
    dtype = "float32" if store is None else store.dtype
    part = frozen_vectors(encoder, preprocessing, dtype, statistics=statistics)
    dataset = RecordingDataset(table, preprocessing)
    arrays, computed = read_vectors(
        part, encoder, dataset, store, batch_seconds=batch_seconds, workers=workers, progress=progress
    )
    return PooledDepths(tuple(dataset.recordings), part.depths, arrays, computed)


def read_vectors(
    part: FrozenVectors,
    encoder: SpeechEncoder,
    dataset: RecordingDataset,
    store: ActivationStore | None,
    *,
    batch_seconds: float,
    workers: int = 0,
    progress: Progress | None = None,
) -> tuple[dict[Statistic, NDArray[np.float32]], int]:
    """Return the vectors that a part takes of each recording, and how many recordings had to be computed.

    Args:
        part: says which depths and statistics.
        dataset: the recordings.
        encoder: and all that follow, those of ``pooled_depths``.

    Returns:
        For each statistic an array of shape (recordings, depths, width).
    """
    places = [part.all_depths.index(depth) for depth in part.depths]
    shape = (len(dataset), len(places), encoder.width)
    arrays = {name: np.empty(shape, dtype=np.float32) for name in part.statistics}

    def keep(row: int, entry: Entry) -> None:
        for name, rows in arrays.items():
            rows[row] = entry[name].numpy()[places]

    keys = find_keys(part, dataset)
    if store is not None:
        store.bring(key for of_row in keys for key in of_row)
    missing = []
    for row, of_row in enumerate(keys):
        found = None if store is None else load_entries(store, of_row)
        if found is None:
            missing.append(row)
        else:
            keep(row, found[0])
    if missing:
        for row, entries in compute_entries(
            part, encoder, dataset, missing, batch_seconds=batch_seconds, workers=workers, progress=progress
        ):
            if store is not None:
                save_entries(store, keys[row], entries)
                entries = round_entries(store, entries)
            keep(row, entries[0])
        if store is not None:
            store.settle()
    return arrays, len(missing)
