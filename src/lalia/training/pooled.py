"""Pooled vectors of all depths: what a frozen encoder and a pooling without parameters make of each recording."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lalia.data.audio import Preprocessing
from lalia.data.dataset import Batch, BucketedBatches, RecordingDataset, load_batches
from lalia.data.table import RecordingTable
from lalia.errors import EmptyRecordingError, EncoderError, TableError
from lalia.model.encoders.base import Depth, Frames, SpeechEncoder
from lalia.progress import Progress
from lalia.training.cache import ActivationStore, StorageType, content_key, encoder_fingerprint

Statistic = Literal["mean", "max", "std"]
STATISTICS: Final[tuple[Statistic, ...]] = ("mean", "max", "std")

# of an entry's file: the header of safetensors with names, shapes and checksum
_HEADER_BYTES = 384


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
        workers: processes that read audio ahead; 0 reads in this one.
        progress: is advanced by each recording that is computed.

    Raises:
        TableError: if the recordings have not been scanned.
        AudioError: names a recording that cannot be read.
        EmptyRecordingError: names a recording without a single frame.
        EncoderError: names a recording for which the encoder gave values that are not finite.
    """
    progress = progress or Progress()
    for column in ("duration_seconds", "sha256"):
        if column not in table.recordings:
            raise TableError(f"The table lacks the column '{column}'. Add the columns of scan_recordings first.")
    depths: tuple[Depth, ...] = (*range(encoder.n_blocks + 1), "last")
    recordings = tuple(str(name) for name in table.recordings["recording"])
    shape = (len(recordings), len(depths), encoder.width)
    arrays = {statistic: np.empty(shape, dtype=np.float32) for statistic in statistics}
    keys = [""] * len(recordings) if store is None else _keys(encoder, table, preprocessing, store.dtype)

    missing = []
    for row, key in enumerate(keys):
        found = None if store is None else store.load(key)
        if found is None:
            missing.append(row)
            continue
        for statistic, rows in arrays.items():
            rows[row] = found[statistic].numpy()
    if not missing:
        return PooledDepths(recordings, depths, arrays, computed=0)

    progress.start("encoding recordings", len(missing))
    is_missing = np.isin(np.arange(len(recordings)), missing)
    dataset = RecordingDataset(table.select(is_missing), preprocessing)
    for place, vectors in _encode(encoder, dataset, depths, batch_seconds, workers):
        row = missing[place]
        _refuse_not_finite(vectors, recordings[row], encoder)
        # as it will be read again: the first pass and the second give the same numbers
        vectors = vectors if store is None else _store(store, keys[row], vectors)
        for statistic, rows in arrays.items():
            rows[row] = vectors[statistic].numpy()
        progress.advance()
    return PooledDepths(recordings, depths, arrays, computed=len(missing))


def pooled_bytes(encoder: SpeechEncoder, n_recordings: int, dtype: StorageType) -> int:
    """Return how many bytes the pooled vectors of so many recordings take in a store.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "wavlm", "layers": 2, "width": 16, "heads": 2})
        >>> pooled_bytes(encoder, 100, "float16")
        76800
    """
    n_values = len(STATISTICS) * (encoder.n_blocks + 2) * encoder.width
    return n_recordings * (n_values * (2 if dtype == "float16" else 4) + _HEADER_BYTES)


class Moments(NamedTuple):
    """Statistics of frames from which those of joined frames follow.

    Args:
        frames: how many.
        mean: shape (width,).
        squares: the summed squared differences from the mean, likewise.
        largest: likewise.
    """

    frames: int
    mean: Tensor
    squares: Tensor
    largest: Tensor

    @classmethod
    def of_nothing(cls, width: int) -> "Moments":
        """Return those of no frame."""
        nothing = torch.zeros(width, dtype=torch.float64)
        return cls(0, nothing, nothing, nothing)

    def join(self, other: "Moments") -> "Moments":
        """Return the statistics of both sets of frames (Chan, Golub and LeVeque 1979, equation 2.1)."""
        if not self.frames or not other.frames:
            return self if self.frames else other
        count = self.frames + other.frames
        difference = other.mean - self.mean
        return Moments(
            count,
            self.mean + difference * (other.frames / count),
            self.squares + other.squares + difference.square() * (self.frames * other.frames / count),
            torch.maximum(self.largest, other.largest),
        )


def measure_frames(frames: Frames) -> list[Moments]:
    """Return the statistics of each window's real frames, on the CPU, in float64 so that they can be joined.

    Example:
        >>> frames = Frames(torch.tensor([[[1.0], [3.0], [99.0]]]), torch.tensor([[True, True, False]]))
        >>> measure_frames(frames)[0].mean, measure_frames(frames)[0].squares
        (tensor([2.], dtype=torch.float64), tensor([2.], dtype=torch.float64))
    """
    found = []
    for values, is_real in zip(frames.values, frames.is_real, strict=True):
        # in two passes float32 is enough, and not every accelerator has float64
        real = values[is_real].float()
        if not len(real):
            found.append(Moments.of_nothing(values.shape[-1]))
            continue
        mean = real.mean(dim=0)
        squares = (real - mean).square().sum(dim=0)
        found.append(Moments(len(real), *torch.stack([mean, squares, real.amax(dim=0)]).cpu().double()))
    return found


def _keys(encoder: SpeechEncoder, table: RecordingTable, preprocessing: Preprocessing, dtype: StorageType) -> list[str]:
    common: dict[str, Any] = {
        "what": "pooled",
        "encoder": encoder_fingerprint(encoder),
        "preprocessing": asdict(preprocessing),
        "dtype": dtype,
    }
    return [content_key(**common, audio=sha256) for sha256 in table.recordings["sha256"]]


def _encode(
    encoder: SpeechEncoder, dataset: RecordingDataset, depths: Sequence[Depth], batch_seconds: float, workers: int
) -> Iterator[tuple[int, dict[Statistic, Tensor]]]:
    """Yield each row of a data set with its statistics, each of shape (depths, width)."""
    batches = BucketedBatches(
        dataset.recordings,
        dataset.seconds,
        batch_seconds=batch_seconds,
        seed=0,
        shuffle=False,
        preprocessing=dataset.preprocessing,
    )
    most_samples = int(batch_seconds * dataset.preprocessing.rate_hz)
    was_training = encoder.training
    encoder.eval()
    try:
        for batch in load_batches(dataset, batches, workers=workers):
            for row, moments in zip(batch.rows.tolist(), _measure(encoder, batch, depths, most_samples), strict=True):
                yield row, _pool(moments, dataset.recordings[row])
    finally:
        encoder.train(was_training)


def _measure(encoder: SpeechEncoder, batch: Batch, depths: Sequence[Depth], most_samples: int) -> list[list[Moments]]:
    """Return the statistics of each recording at each depth."""
    found: list[list[Moments]] = [[] for _ in range(batch.n_recordings)]
    # a batch is longer than it may be where one recording alone is: its windows go a few at a time
    step = max(1, most_samples // max(1, int(batch.n_samples.max())))
    for start in range(0, len(batch.n_samples), step):
        n_samples = batch.n_samples[start : start + step]
        waveforms = batch.waveforms[start : start + step, : int(n_samples.max())].to(encoder.device)
        with torch.inference_mode():
            frames_at = encoder(waveforms, n_samples.to(encoder.device), depths)
            of_windows = zip(*(measure_frames(frames_at[depth]) for depth in depths), strict=True)
        recordings = batch.recording_of_window[start : start + step].tolist()
        for recording, moments in zip(recordings, of_windows, strict=True):
            before = found[recording] or [Moments.of_nothing(encoder.width)] * len(depths)
            found[recording] = [old.join(new) for old, new in zip(before, moments, strict=True)]
    return found


def _pool(moments: Sequence[Moments], recording: str) -> dict[Statistic, Tensor]:
    if not all(one.frames for one in moments):
        raise EmptyRecordingError(
            f"Recording '{recording}' is too short for the encoder: it gives no frame. Leave it out with data.exclude."
        )
    return {
        "mean": torch.stack([one.mean for one in moments]).float(),
        "max": torch.stack([one.largest for one in moments]).float(),
        "std": torch.stack([(one.squares / one.frames).sqrt() for one in moments]).float(),
    }


def _refuse_not_finite(vectors: dict[Statistic, Tensor], recording: str, encoder: SpeechEncoder) -> None:
    if not all(values.isfinite().all() for values in vectors.values()):
        raise EncoderError(
            f"{encoder.source.name} gives values for recording '{recording}' that are not finite numbers. "
            "Listen to it, and leave it out with data.exclude, or take another encoder."
        )


def _store(store: ActivationStore, key: str, vectors: dict[Statistic, Tensor]) -> dict[Statistic, Tensor]:
    store.save(key, {str(statistic): values for statistic, values in vectors.items()})
    return {statistic: store.round(values) for statistic, values in vectors.items()}
