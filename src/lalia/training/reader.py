"""Batches as a rater takes them: windows of samples, or what is known of them already where something is frozen."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from lalia.data.dataset import RecordingDataset, load_batches
from lalia.data.read_ahead import note_recording, read_ahead
from lalia.data.table import RecordingTable
from lalia.model.inputs import Inputs, KnownVectors, Windows
from lalia.model.rater import SpeechRater
from lalia.processes import Processes
from lalia.progress import Progress
from lalia.settings import CacheSettings
from lalia.training.cache import ActivationStore, open_store
from lalia.training.entries import (
    Entries,
    compute_entries,
    find_keys,
    forecast_bytes,
    load_entries,
    round_entries,
    save_entries,
)
from lalia.training.frozen import FrozenVectors, find_frozen_part, limit_samples
from lalia.training.masking import draw_masks, goes_on_from
from lalia.training.pooled import read_vectors

# of audio in a forward pass of the frozen part, padding included
_BATCH_SECONDS = 60.0


@dataclass(frozen=True)
class RatedInputs:
    """A batch of recordings.

    Attributes:
        inputs: what the rater takes.
        ratings: NaN where missing, shape (recordings, traits).
        rows: each recording's row in the data set's table, shape (recordings,).
    """

    inputs: Inputs
    ratings: Tensor
    rows: Tensor

    @property
    def n_recordings(self) -> int:
        """The number of recordings."""
        return len(self.rows)

    def to(self, device: torch.device | str) -> "RatedInputs":
        """Return the batch on a device."""
        return RatedInputs(self.inputs.to(device), self.ratings.to(device, non_blocking=True), self.rows)


class InputReader:
    """Reads recordings for a rater, which has to compute no more than what training changes.

    What lies before is taken from a store, and is computed and put there where it is missing. The scores are the same
    with and without, up to how the store rounds.

    Args:
        rater: adapted; which part of it is frozen is looked at here, once.
        store: of activations; None has everything computed each time.
        workers: processes that read ahead; 0 reads in a thread of this one.
        processes: which train together and share what is to be computed for the store; None: this one is alone.

    Attributes:
        part: what of the rater is frozen, None where nothing is or there is no store.
        computed: how many recordings went through the frozen part so far.
    """

    def __init__(
        self,
        rater: SpeechRater,
        store: ActivationStore | None = None,
        *,
        workers: int = 0,
        processes: Processes | None = None,
    ) -> None:
        self.store = store if store is not None and store.max_bytes else None
        self.part = None if self.store is None else find_frozen_part(rater, self.store.dtype)
        self.computed = 0
        self._rater = rater
        self._workers = workers
        self._processes = processes or Processes()
        # of each version of the recordings
        self._keys: WeakKeyDictionary[RecordingDataset, dict[int, list[tuple[str, ...]]]] = WeakKeyDictionary()
        self._vectors: WeakKeyDictionary[RecordingDataset, dict[int, dict[Any, Tensor]]] = WeakKeyDictionary()
        self._filled: WeakKeyDictionary[RecordingDataset, set[int]] = WeakKeyDictionary()

    def fill(self, dataset: RecordingDataset, progress: Progress | None = None) -> None:
        """Compute what the store lacks of some recordings, so that the epochs that follow only read.

        Where the store is full with what is in use, it ends: the rest is computed whenever it is read. Only the first
        time that a version of the recordings is to be filled does something; one that never comes again is not kept.

        Args:
            dataset: the recordings, in the version of its epoch; those that were not hashed are left out.
            progress: is advanced by each recording that is computed.

        Raises:
            LaliaError: as ``compute_entries``.
        """
        version = self._version_kept(dataset)
        if self.part is None or self.store is None or version is None:
            return
        filled = self._filled.setdefault(dataset, set())
        if version in filled:
            return
        keys = self._keys_of(dataset, version)
        self.store.bring(key for of_row in keys for key in of_row)
        with self._alone(keys, progress or Progress()):
            if self._processes.count > 1:
                missing = self._processes.ask_first(lambda: self._missing(keys))
                self._processes.together(lambda: self._store(dataset, keys, self._processes.deal(missing), progress))
            if isinstance(self.part, FrozenVectors):
                self._read_vectors(self.part, dataset, version, progress)
            else:
                # of what the others have stored, all that this process does not see: on another machine, for example
                self._store(dataset, keys, self._missing(keys), progress)
        self.store.settle()
        filled.add(version)

    @contextmanager
    def _alone(self, keys: Sequence[tuple[str, ...]], progress: Progress) -> Iterator[None]:
        """Keep another run from computing the same meanwhile; what it has computed by then is read."""
        assert self.part is not None and self.store is not None
        if not self._processes.is_first or not self._missing(keys):
            yield
            return

        def say() -> None:
            progress.say(f"Waiting for another process that computes {self.part.title if self.part else ''}")

        with self.store.filling(self.part.pass_key, say):
            yield

    def _missing(self, keys: Sequence[tuple[str, ...]]) -> list[int]:
        """Return the rows of which the store lacks an entry."""
        assert self.store is not None
        return [row for row, of_row in enumerate(keys) if any(key not in self.store for key in of_row)]

    def _store(
        self,
        dataset: RecordingDataset,
        keys: Sequence[tuple[str, ...]],
        rows: Sequence[int],
        progress: Progress | None,
    ) -> None:
        """Compute the entries of some rows and store them, as long as they fit."""
        assert self.part is not None and self.store is not None
        if not rows:
            return
        for row, entries in compute_entries(
            self.part,
            self._rater.encoder,
            dataset,
            rows,
            batch_seconds=_BATCH_SECONDS,
            workers=self._workers,
            progress=progress,
        ):
            self.computed += 1
            if not save_entries(self.store, keys[row], entries):
                break

    def read(self, dataset: RecordingDataset, batches: Iterable[list[int]]) -> Iterator[RatedInputs]:
        """Yield batches of recordings.

        Args:
            dataset: the recordings.
            batches: rows of each, such as a ``BucketedBatches``.

        Raises:
            AudioError: names the recording whose file cannot be used.
        """
        version = self._version_kept(dataset)
        if self.part is None or version is None:
            for batch in load_batches(dataset, batches, workers=self._workers):
                windows = Windows(batch.waveforms, batch.n_samples, batch.recording_of_window)
                yield RatedInputs(self._hide(dataset, batch.rows.tolist(), windows), batch.ratings, batch.rows)
        elif version in self._vectors.get(dataset, {}):
            yield from self._pick_vectors(dataset, version, list(batches))
        else:
            assert self.store is not None
            keys = self._keys_of(dataset, version)
            read = partial(_read_rows, dataset, self.store, keys)
            names = dataset.recordings
            for rows, found in read_ahead(read, list(batches), recordings=names, workers=self._workers):
                entries = [
                    self._complete(dataset.recordings[row], keys[row], each)
                    for row, each in zip(rows, found, strict=True)
                ]
                known = self._hide(dataset, rows, self.part.collate(entries))
                yield RatedInputs(known, _ratings(dataset, rows), torch.tensor(rows))

    def gives_vectors(self, dataset: RecordingDataset) -> bool:
        """Return whether nothing but vectors is read of some recordings, in the version of their epoch."""
        return isinstance(self.part, FrozenVectors) and self._version_kept(dataset) is not None

    def _version_kept(self, dataset: RecordingDataset) -> int | None:
        """Return the version that the data set gives, None if nothing of it is kept.

        What is kept was computed with nothing hidden: above depth 0 it is of no use where frames are hidden.
        """
        if self.part is None or dataset.sha256 is None:
            return None
        if dataset.hides_frames and (isinstance(self.part, FrozenVectors) or not goes_on_from(self.part.depths)):
            return None
        return dataset.version

    def _hide(self, dataset: RecordingDataset, rows: Sequence[int], inputs: Inputs) -> Inputs:
        """Return the inputs with what is hidden of them in this epoch."""
        if not dataset.hides_frames or isinstance(inputs, KnownVectors):
            return inputs
        encoder = self._rater.encoder
        if isinstance(inputs, Windows):
            n_frames = encoder.count_frames(inputs.n_samples)
        else:
            n_frames = next(iter(inputs.frames_at.values())).is_real.sum(dim=1)
        return inputs._replace(masks=draw_masks(dataset, rows, n_frames, inputs.recording_of_window, encoder))

    def _keys_of(self, dataset: RecordingDataset, version: int) -> list[tuple[str, ...]]:
        assert self.part is not None
        of_versions = self._keys.setdefault(dataset, {})
        if version not in of_versions:
            of_versions[version] = find_keys(self.part, dataset)
        return of_versions[version]

    def _read_vectors(
        self, part: FrozenVectors, dataset: RecordingDataset, version: int, progress: Progress | None
    ) -> None:
        arrays, computed = read_vectors(
            part,
            self._rater.encoder,
            dataset,
            self.store,
            batch_seconds=_BATCH_SECONDS,
            workers=self._workers,
            progress=progress,
        )
        self.computed += computed
        vectors: dict[Any, Tensor] = {name: torch.from_numpy(values) for name, values in arrays.items()}
        self._vectors.setdefault(dataset, {})[version] = vectors

    def _pick_vectors(
        self, dataset: RecordingDataset, version: int, batches: Sequence[list[int]]
    ) -> Iterator[RatedInputs]:
        assert self.part is not None
        vectors = self._vectors[dataset][version]
        for rows in batches:
            picked = torch.tensor(rows)
            known = KnownVectors(
                self.part.depths, {name: each.index_select(0, picked) for name, each in vectors.items()}
            )
            yield RatedInputs(known, _ratings(dataset, rows), picked)

    def _complete(self, recording: str, keys: tuple[str, ...], found: "Entries | list[Tensor]") -> Entries:
        """Return a recording's entries, computed now if they were not there: evicted, damaged, or never kept."""
        if isinstance(found, tuple):
            return found
        assert self.part is not None and self.store is not None
        encoder = self._rater.encoder
        was_training = encoder.training
        encoder.eval()
        try:
            (entries,) = self.part.encode(encoder, {recording: found}, limit_samples(encoder, _BATCH_SECONDS))
        finally:
            encoder.train(was_training)
        self.computed += 1
        save_entries(self.store, keys, entries)
        return round_entries(self.store, entries)


@dataclass(frozen=True)
class Forecast:
    """What a run will keep of its recordings.

    Attributes:
        title: in words.
        size_bytes: of all of it.
    """

    title: str
    size_bytes: int


def forecast(
    rater: SpeechRater,
    table: RecordingTable,
    settings: CacheSettings,
    *,
    augmented: RecordingTable | None = None,
    views: int = 0,
) -> Forecast | None:
    """Return what a run will keep of its recordings, None where nothing is frozen or nothing is to be kept.

    Args:
        rater: adapted.
        table: with the columns of ``scan_recordings``.
        settings: of the store.
        augmented: the recordings that are heard in views as well.
        views: their number.
    """
    part = find_frozen_part(rater, settings.dtype) if settings.max_gb else None
    if part is None:
        return None
    size = forecast_bytes(part, rater.encoder, RecordingDataset(table, rater.preprocessing))
    if augmented is not None:
        size += views * forecast_bytes(part, rater.encoder, RecordingDataset(augmented, rater.preprocessing))
    return Forecast(part.title, size)


def open_reader(
    rater: SpeechRater, settings: CacheSettings, *, workers: int = 0, processes: Processes | None = None
) -> InputReader:
    """Return the reader of a rater with the store of a run's settings.

    Raises:
        CacheError: if the store's folder cannot be made or written.
    """
    store = open_store(settings) if settings.max_gb else None
    return InputReader(rater, store, workers=workers, processes=processes)


def _read_rows(
    dataset: RecordingDataset, store: ActivationStore, keys: Sequence[tuple[str, ...]], rows: list[int]
) -> tuple[list[int], list["Entries | list[Tensor]"]]:
    """Return the entries of each row, or its windows where they are not all there."""
    found: list[Entries | list[Tensor]] = []
    for row in rows:
        note_recording(row)
        entries = load_entries(store, keys[row])
        found.append([torch.from_numpy(each) for each in dataset[row].windows] if entries is None else entries)
    return rows, found


def _ratings(dataset: RecordingDataset, rows: Sequence[int]) -> Tensor:
    return torch.from_numpy(dataset.ratings[np.asarray(rows)])
