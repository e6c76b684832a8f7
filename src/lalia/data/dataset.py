"""From rows to batches: a recording's windows and ratings, padded together, in batches of similar length."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, Sampler

from lalia.data.audio import Preprocessing, load_waveform
from lalia.data.augment import Augmentation, hash_ids
from lalia.data.decoding import Waveform
from lalia.data.read_ahead import note_recording, read_ahead
from lalia.data.single_ratings import single_ratings
from lalia.data.spec_augment import Hidden
from lalia.data.table import RecordingTable
from lalia.errors import AudioError, LaliaError, TableError

T = TypeVar("T")


class Item(NamedTuple):
    """One recording: its row, its windows (each 1-d, in order) and its ratings, shape (traits,), NaN where missing."""

    row: int
    windows: list[Waveform]
    ratings: NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """Recordings whose windows are encoded together.

    Args:
        waveforms: the windows of all recordings, zero after their end, shape (windows, samples).
        n_samples: the real samples of each window, shape (windows,).
        recording_of_window: which of the batch's recordings a window belongs to, from 0, never falling, shape
            (windows,).
        ratings: NaN where missing, shape (recordings, traits).
        rows: each recording's row in the data set's table, shape (recordings,).
    """

    waveforms: Tensor
    n_samples: Tensor
    recording_of_window: Tensor
    ratings: Tensor
    rows: Tensor

    @property
    def n_recordings(self) -> int:
        """The number of recordings."""
        return len(self.rows)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Batch":
        """Return the batch on a device."""
        return Batch(*(getattr(self, field.name).to(device, non_blocking=non_blocking) for field in fields(self)))

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory, from which a GPU copies while it computes."""
        return Batch(*(getattr(self, field.name).pin_memory() for field in fields(self)))


class RecordingDataset(Dataset[Item]):
    """The recordings of a table, read from their files when asked for.

    Args:
        table: with the columns of ``scan_recordings``.
        preprocessing: of the encoder that takes the windows.
        augmentation: distorts each recording before it is cut into windows, for the training part only; other
            recordings that it mixes in are those of this table, of other speakers.

    Raises:
        TableError: if the recordings have not been scanned.
    """

    def __init__(
        self, table: RecordingTable, preprocessing: Preprocessing, augmentation: Augmentation | None = None
    ) -> None:
        if "duration_seconds" not in table.recordings:
            raise TableError("The table lacks the column 'duration_seconds'. Add the columns of scan_recordings first.")
        self.preprocessing = preprocessing
        self.recordings: list[str] = table.recordings["recording"].tolist()
        self.seconds: list[float] = table.recordings["duration_seconds"].tolist()
        self.sha256: list[str] | None = table.recordings["sha256"].tolist() if "sha256" in table.recordings else None
        self.ratings: NDArray[np.float32] = table.ratings.to_numpy(dtype=np.float32)
        # a number each; recordings to rate may come without speakers
        speakers = table.recordings["speaker"] if "speaker" in table.recordings else table.recordings["recording"]
        self.speakers: NDArray[np.int64] = pd.factorize(speakers)[0]
        self.single_ratings = single_ratings(table)
        self._paths: list[str] = table.recordings["path"].tolist()
        self._augmentation = augmentation
        self._epoch = 0
        if augmentation is not None and augmentation.mixes:
            self._hashes = hash_ids(self.recordings)

    def set_epoch(self, epoch: int) -> None:
        """Choose what augmentation draws, before batches are loaded; without it every epoch is the same."""
        self._epoch = epoch

    @property
    def version(self) -> int | None:
        """Which version of its recordings it gives: 0 without augmentation, with views the epoch's turn among them.

        None where every epoch draws anew, so that no version comes again. Frames are hidden later: that makes none.
        """
        if self._augmentation is None or not self._augmentation.steps:
            return 0
        views = self._augmentation.views
        return None if views is None else self._epoch % views

    def view(self, row: int) -> dict[str, Any] | None:
        """Return what a recording depends on besides its file, as JSON can hold it; None without augmentation."""
        if self._augmentation is None or not self._augmentation.steps:
            return None
        view = self._augmentation.describe_draw(self.recordings[row], self._epoch)
        if self._augmentation.mixes:
            partner = self._partner(row)
            view["partner"] = None if partner is None or self.sha256 is None else self.sha256[partner]
        return view

    @property
    def hides_frames(self) -> bool:
        """Whether frames of its recordings are hidden from the encoder's blocks."""
        return self._augmentation is not None and self._augmentation.spec_augment is not None

    def draw_hidden(
        self, row: int, n_frames: Sequence[int], *, frame_rate_hz: float, width: int
    ) -> tuple[list[Hidden], Hidden]:
        """Return what is hidden of a recording in this epoch, as ``Augmentation.draw_hidden`` does."""
        assert self._augmentation is not None
        return self._augmentation.draw_hidden(
            self.recordings[row], self._epoch, n_frames, frame_rate_hz=frame_rate_hz, width=width
        )

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, row: int) -> Item:
        """Return a row's recording.

        Raises:
            AudioError: names the recording if its file cannot be used.
        """
        try:
            return self._item(row)
        except LaliaError:
            raise
        except Exception as error:
            # a bug of ours: it is looked for at the recording that it shows with
            error.add_note(f"While reading recording '{self.recordings[row]}'.")
            raise

    def _item(self, row: int) -> Item:
        waveform = self._load(row)
        if self._augmentation is not None:
            waveform = self._augmentation.apply(
                waveform,
                self.preprocessing.rate_hz,
                self.recordings[row],
                self._epoch,
                partner=lambda: self._load_partner(row),
            )
        return Item(row, self.preprocessing.windows(waveform), self.ratings[row])

    def _load(self, row: int) -> Waveform:
        note_recording(row)
        try:
            sha256 = None if self.sha256 is None else self.sha256[row]
            return load_waveform(self._paths[row], self.preprocessing, sha256)
        except AudioError as error:
            raise AudioError(f"Recording '{self.recordings[row]}': {error}") from error

    def _load_partner(self, row: int) -> Waveform | None:
        """Return the recording that is mixed into a row's, None where only one speaker is there."""
        partner = self._partner(row)
        if partner is None:
            return None
        waveform = self._load(partner)
        note_recording(row)
        return waveform

    def _partner(self, row: int) -> int | None:
        assert self._augmentation is not None
        is_other = self.speakers != self.speakers[row]
        return self._augmentation.partner_of(self.recordings[row], self._epoch, self._hashes, is_other)


def collate(items: Sequence[Item]) -> Batch:
    """Join recordings into a batch.

    Example:
        >>> short, long = np.ones(1, np.float32), np.ones(2, np.float32)
        >>> nan = np.array([np.nan], np.float32)
        >>> batch = collate([Item(7, [long, short], nan), Item(3, [short], nan)])
        >>> batch.waveforms
        tensor([[1., 1.],
                [1., 0.],
                [1., 0.]])
        >>> batch.recording_of_window
        tensor([0, 0, 1])
    """
    windows = [torch.from_numpy(window) for item in items for window in item.windows]
    counts = torch.tensor([len(item.windows) for item in items])
    return Batch(
        waveforms=pad_sequence(windows, batch_first=True),
        n_samples=torch.tensor([len(window) for window in windows]),
        recording_of_window=torch.repeat_interleave(torch.arange(len(items)), counts),
        ratings=torch.from_numpy(np.stack([item.ratings for item in items])),
        rows=torch.tensor([item.row for item in items]),
    )


class BucketedBatches(Sampler[list[int]]):
    """Batches of recordings of similar length, as lists of rows.

    A batch's windows times its longest one stay within ``batch_seconds``, unless one recording alone has more. The
    batches depend on the ids, the lengths, the seed and the epoch, not on the order of the rows.

    Shuffled, the recordings are sorted by their length times a random factor, so that every epoch mixes other
    recordings of similar length (sorting within large chunks, as others do, would make the same batches in every epoch
    of a data set smaller than a chunk), and the batches come in random order. Otherwise the longest come first.

    Args:
        recordings: the ids.
        seconds: the length of each recording after trimming.
        batch_seconds: the most that a batch holds, padding included.
        seed: of the order.
        shuffle: True for training.
        preprocessing: says how a long recording is cut into windows; None leaves every recording whole.
    """

    JITTER = 0.15
    """The random factor of the lengths is from 1 less this to 1 more this."""

    def __init__(
        self,
        recordings: Sequence[str],
        seconds: Sequence[float],
        *,
        batch_seconds: float,
        seed: int,
        shuffle: bool,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self._rows = sorted(range(len(recordings)), key=lambda row: recordings[row])
        lengths = [_window_lengths(seconds[row], preprocessing) for row in self._rows]
        self._counts = [len(windows) for windows in lengths]
        self._longest = np.array([max(windows) for windows in lengths])
        self._batch_seconds = batch_seconds
        self._seed = seed
        self._shuffle = shuffle
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Make the batches of an epoch."""
        generator = np.random.default_rng([self._seed, epoch])
        keys = self._longest
        if self._shuffle:
            keys = keys * generator.uniform(1 - self.JITTER, 1 + self.JITTER, len(keys))
        batches = self._pack(np.argsort(-keys, kind="stable").tolist())
        if self._shuffle:
            batches = [batches[number] for number in generator.permutation(len(batches))]
        self._batches = batches

    def _pack(self, order: Iterable[int]) -> list[list[int]]:
        batches: list[list[int]] = []
        n_windows, longest = 0, np.inf
        for place in order:
            n_windows += self._counts[place]
            longest = max(longest, self._longest[place])
            if n_windows * longest > self._batch_seconds:
                batches.append([])
                n_windows, longest = self._counts[place], self._longest[place]
            batches[-1].append(self._rows[place])
        return batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


def load_batches(dataset: RecordingDataset, batches: Iterable[list[int]], workers: int = 0) -> Iterator[Batch]:
    """Read batches from their files, ahead of time.

    Args:
        dataset: the recordings.
        batches: rows of each batch, such as a ``BucketedBatches``.
        workers: processes that read; 0 reads in a thread of this one.

    Raises:
        AudioError: names the recording whose file cannot be used.
    """
    read = partial(_read_batch, dataset)
    return read_ahead(read, list(batches), recordings=dataset.recordings, workers=workers)


def _read_batch(dataset: RecordingDataset, rows: list[int]) -> Batch:
    items = [dataset[row] for row in rows]
    note_recording(None)
    return collate(items)


def _window_lengths(seconds: float, preprocessing: Preprocessing | None) -> list[float]:
    if preprocessing is None:
        return [seconds]
    rate_hz = preprocessing.rate_hz
    return [(end - start) / rate_hz for start, end in preprocessing.window_bounds(round(seconds * rate_hz))]
