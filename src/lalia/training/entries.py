"""Recordings to entries: what a store has is read from it, the rest is computed and put there."""

from collections.abc import Iterator, Sequence

import torch

from lalia.data.dataset import Batch, BucketedBatches, RecordingDataset, load_batches
from lalia.errors import TableError
from lalia.model.encoders.base import SpeechEncoder
from lalia.progress import Progress
from lalia.training.cache import ActivationStore
from lalia.training.frozen import Entry, FrozenPart, limit_samples

Entries = tuple[Entry, ...]


def find_keys(part: FrozenPart, dataset: RecordingDataset) -> list[tuple[str, ...]]:
    """Return the keys of each recording's entries, in the version that the data set gives now.

    Raises:
        TableError: if the recordings have not been hashed.
    """
    if dataset.sha256 is None:
        raise TableError("The table lacks the column 'sha256'. Add the columns of scan_recordings first.")
    return [part.keys(sha256, dataset.view(row)) for row, sha256 in enumerate(dataset.sha256)]


def load_entries(store: ActivationStore, keys: Sequence[str]) -> Entries | None:
    """Return the entries of one recording, None if one of them is not there or not whole."""
    found = []
    for key in keys:
        entry = store.load(key)
        if entry is None:
            return None
        found.append(entry)
    return tuple(found)


def save_entries(store: ActivationStore, keys: Sequence[str], entries: Entries) -> bool:
    """Store the entries of one recording and return whether all of them were kept."""
    return all(store.save(key, entry) for key, entry in zip(keys, entries, strict=True))


def round_entries(store: ActivationStore, entries: Entries) -> Entries:
    """Return entries as the store gives them back: the first pass and the next ones give the same numbers."""
    return tuple({name: store.round(values) for name, values in entry.items()} for entry in entries)


def forecast_bytes(part: FrozenPart, encoder: SpeechEncoder, dataset: RecordingDataset) -> int:
    """Return how many bytes the entries of recordings will take.

    Example:
        >>> import pandas as pd
        >>> from lalia.data.audio import Preprocessing
        >>> from lalia.data.table import Flow, RecordingTable
        >>> from lalia.model.encoders.load import load_encoder
        >>> from lalia.scale import Scale
        >>> from lalia.training.frozen import frozen_vectors
        >>> encoder = load_encoder({"random": "wavlm", "layers": 2, "width": 16, "heads": 2})
        >>> rows = pd.DataFrame({"recording": ["a"], "path": ["a.wav"], "duration_seconds": [1.0]})
        >>> unrated = pd.DataFrame(columns=["recording", "rater", "trait", "rating"])
        >>> table = RecordingTable(rows, pd.DataFrame(), unrated, Scale((1, 2), present_from=2), Flow(1, 1))
        >>> preprocessing = Preprocessing(16_000, trim_db=None, window_seconds=30.0, hop_seconds=30.0)
        >>> part = frozen_vectors(encoder, preprocessing, "float16")
        >>> forecast_bytes(part, encoder, RecordingDataset(table, preprocessing))
        768
    """
    preprocessing = dataset.preprocessing
    bounds = [preprocessing.window_bounds(round(seconds * preprocessing.rate_hz)) for seconds in dataset.seconds]
    return part.count_bytes(encoder, [[end - start for start, end in windows] for windows in bounds])


def compute_entries(
    part: FrozenPart,
    encoder: SpeechEncoder,
    dataset: RecordingDataset,
    rows: Sequence[int],
    *,
    batch_seconds: float,
    workers: int = 0,
    progress: Progress | None = None,
) -> Iterator[tuple[int, Entries]]:
    """Yield rows of a data set, longest first, with their entries, computed in eval mode and without gradients.

    Args:
        part: what is computed.
        encoder: on its device, and left in its mode.
        dataset: the recordings.
        rows: those to compute.
        batch_seconds: the most audio in a forward pass, padding included; a longer recording takes several.
        workers: processes that read audio ahead; 0 reads in a thread of this one.
        progress: is advanced by each recording.

    Raises:
        AudioError: names a recording that cannot be read.
        EmptyRecordingError: names a recording without a single frame.
        EncoderError: names a recording for which the encoder gives values that are not finite.
    """
    progress = progress or Progress()
    progress.start("encoding recordings", len(rows))
    most_samples = limit_samples(encoder, batch_seconds)
    batches = BucketedBatches(
        [dataset.recordings[row] for row in rows],
        [dataset.seconds[row] for row in rows],
        # where windows are encoded one by one, a batch would only delay what is stored
        batch_seconds=batch_seconds if most_samples else 0.0,
        seed=0,
        shuffle=False,
        preprocessing=dataset.preprocessing,
    )
    was_training = encoder.training
    encoder.eval()
    try:
        for batch in load_batches(dataset, [[rows[place] for place in batch] for batch in batches], workers=workers):
            numbers = batch.rows.tolist()
            names = [dataset.recordings[row] for row in numbers]
            windows = dict(zip(names, split_windows(batch), strict=True))
            for row, entries in zip(numbers, part.encode(encoder, windows, most_samples), strict=True):
                yield row, entries
                progress.advance()
    finally:
        encoder.train(was_training)


def split_windows(batch: Batch) -> list[list[torch.Tensor]]:
    """Return the windows of each recording of a batch, without padding."""
    windows: list[list[torch.Tensor]] = [[] for _ in range(batch.n_recordings)]
    of_batch = zip(batch.recording_of_window.tolist(), batch.waveforms, batch.n_samples.tolist(), strict=True)
    for recording, waveform, length in of_batch:
        windows[recording].append(waveform[:length])
    return windows
