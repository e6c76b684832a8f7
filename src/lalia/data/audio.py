"""From a file to a waveform: mono, resampled, trimmed, in windows; and what is measured of it once."""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lalia.data.decoder_pool import MOST_DECODERS
from lalia.data.decoding import Decoded, Waveform, decode, naming
from lalia.data.storage import fetching_ahead, local_file, why_no_object
from lalia.errors import StorageError
from lalia.limits import Limits, UnusableFile

SHORTEST_WINDOW_SECONDS = 1.0
"""The last window of a longer recording is at least this long."""
SILENCE_DB = 40.0
"""A frame this far below the loudest one counts as silence in ``silence_share``."""
FLOOR_DB = -120.0
"""The level of digital silence, so that no level is minus infinity."""

_FRAME_SECONDS, _FRAME_HOP_SECONDS = 0.025, 0.010


@dataclass(frozen=True)
class Preprocessing:
    """What is done to every recording before the encoder, in training and in prediction alike.

    Args:
        rate_hz: the encoder's sample rate.
        trim_db: cut what is more than this below the loudest 25 ms at the start and the end; None cuts nothing.
        window_seconds: a longer recording is encoded in windows of this length.
        hop_seconds: from the start of one window to the next, at most a window.
        limits: what is refused of a file; they change no waveform, and are no part of a saved rater.
    """

    rate_hz: int
    trim_db: float | None
    window_seconds: float
    hop_seconds: float
    limits: Limits = field(default=Limits(), compare=False)

    def describe(self) -> dict[str, Any]:
        """Return all that a waveform depends on, as JSON can hold it."""
        return {name: value for name, value in asdict(self).items() if name != "limits"}

    def window_bounds(self, n_samples: int) -> list[tuple[int, int]]:
        """Return where the windows of a recording of ``n_samples`` start and end."""
        window, hop, shortest = (
            round(seconds * self.rate_hz)
            for seconds in (self.window_seconds, self.hop_seconds, SHORTEST_WINDOW_SECONDS)
        )
        return window_bounds(n_samples, window, hop, shortest)

    def windows(self, waveform: Waveform) -> list[Waveform]:
        """Return the windows of a waveform; one that is not longer than a window is returned whole."""
        return [waveform[start:end] for start, end in self.window_bounds(len(waveform))]


def read_audio(path: str | Path, limits: Limits = Limits()) -> tuple[Waveform, int]:  # noqa: B008
    """Return the samples of a file, mean over its channels, and its rate in Hz.

    Whatever libsndfile decodes is read (WAV, FLAC, AIFF, MP3, Ogg Vorbis and Opus, NIST SPHERE, ...) and, where PyAV is
    installed, the sound of M4A, MP4, WebM, AMR, WMA, ... Decoding happens in another process.

    Args:
        path: of the file, or its URL.
        limits: what it may be.

    Raises:
        StorageError: if what is at a URL cannot be read.
        AudioError: if the file is missing, no file, cannot be decoded, is shorter than its header says (formats that
            state their length exactly, by more than 50 ms), holds no samples or samples that are not finite numbers,
            is beyond a limit, or ends the process that decodes it.
    """
    with naming(path):
        decoded = decode(local_file(path), limits)
    return decoded.waveform, decoded.rate_hz


def load_waveform(path: str | Path, preprocessing: Preprocessing, sha256: str | None = None) -> Waveform:
    """Return a recording as the encoder takes it: mono, at ``preprocessing.rate_hz``, trimmed, shape (samples,).

    Trimming compares frames of 25 ms (every 10 ms) with the loudest of them, and cuts only before the first and after
    the last that is loud enough. The level is left as it is: normalisation belongs to the encoder.

    Args:
        path: of the file, or its URL.
        preprocessing: what is done to it.
        sha256: of the content that a URL's object must have, as it was scanned; None takes what is there.

    Raises:
        AudioError: as ``read_audio``, or if nothing is left after trimming.
        StorageError: if what is at a URL cannot be read.
    """
    with naming(path):
        return _prepare(decode(local_file(path, sha256), preprocessing.limits), preprocessing)


def load_windows(path: str | Path, preprocessing: Preprocessing) -> list[Waveform]:
    """Return the windows of a recording; one that is not longer than a window is returned whole.

    Raises:
        AudioError: as ``load_waveform``.
    """
    return preprocessing.windows(load_waveform(path, preprocessing))


def window_bounds(n_samples: int, window: int, hop: int, shortest: int) -> list[tuple[int, int]]:
    """Return where the windows of a recording start and end, all in samples.

    A window starts every ``hop`` until one reaches the end. A last one shorter than ``shortest`` starts earlier:
    nothing is cut off, and at most ``shortest`` samples are heard twice on its account.

    Raises:
        ValueError: if ``hop`` is not from 1 to ``window``, so that samples would be skipped.

    Example:
        >>> window_bounds(70, window=30, hop=30, shortest=5)
        [(0, 30), (30, 60), (60, 70)]
        >>> window_bounds(62, window=30, hop=30, shortest=5)
        [(0, 30), (30, 60), (57, 62)]
    """
    if not 1 <= hop <= window:
        raise ValueError(f"hop must be 1 to {window} samples (a window), got {hop}")
    last = max(0, -(-(n_samples - window) // hop)) * hop
    bounds = [(start, start + window) for start in range(0, last, hop)]
    if last:
        last = min(last, n_samples - min(shortest, window))
    return [*bounds, (last, n_samples)]


def scan_recordings(
    recordings: pd.DataFrame,
    preprocessing: Preprocessing,
    *,
    min_seconds: float,
    progress: Callable[[], object] | None = None,
    workers: int | None = None,
    describe: Callable[[Decoded], Mapping[str, object]] | None = None,
) -> pd.DataFrame:
    """Decode every recording once and measure it; what cannot be used gets its reason, not an exception.

    Args:
        recordings: columns ``recording`` and ``path``.
        preprocessing: of the encoder that will take them.
        min_seconds: shorter recordings (after trimming) get a problem.
        progress: called once per file.
        workers: threads that ask for decoded files; None takes as many as there may be processes that decode.
        describe: measures more of each file that has been decoded, as further columns.

    Returns:
        One row per recording in the order given: ``recording``; ``duration_seconds`` after trimming; ``file_seconds``,
        ``rate_hz`` and ``channels`` of the file; ``peak_db``, the highest sample of the file as mono, in dB below full
        scale; ``level_db``, the RMS after trimming, likewise (both at least -120); ``silence_share``, the share of
        25 ms frames (every 10 ms) after trimming that are more than 40 dB below the loudest one, 1 for digital
        silence; ``sha256`` of the file's bytes; ``problem``, empty or what is wrong, worded to follow the name. What
        could not be measured is missing.

    Raises:
        StorageError: if a store does not answer.
    """

    def measure(path: str) -> dict[str, object]:
        return _measure(path, preprocessing, min_seconds, describe)

    rows = []
    executor = ThreadPoolExecutor(workers or MOST_DECODERS)
    try:
        with fetching_ahead(recordings["path"]):
            for row in executor.map(measure, recordings["path"]):
                rows.append(row)
                if progress is not None:
                    progress()
    finally:
        executor.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the files that are left
    columns = {
        "duration_seconds": "float64",
        "file_seconds": "float64",
        "rate_hz": "Int64",
        "channels": "Int64",
        "level_db": "float64",
        "peak_db": "float64",
        "silence_share": "float64",
        "sha256": "str",
        "problem": "str",
    }
    further = dict.fromkeys(name for row in rows for name in row if name not in columns)
    scan = pd.DataFrame(rows, columns=[*columns, *further]).astype(columns)
    scan.insert(0, "recording", recordings["recording"].to_numpy())
    return scan


def _prepare(decoded: Decoded, preprocessing: Preprocessing) -> Waveform:
    waveform = decoded.waveform
    if decoded.rate_hz != preprocessing.rate_hz:
        waveform = soxr.resample(waveform, decoded.rate_hz, preprocessing.rate_hz, quality="HQ")
    if not len(waveform):
        raise UnusableFile(f"is 0.00 s long at {preprocessing.rate_hz} Hz", "List it in data.exclude")
    return waveform if preprocessing.trim_db is None else _trim(waveform, preprocessing.rate_hz, preprocessing.trim_db)


def _trim(waveform: Waveform, rate_hz: int, trim_db: float) -> Waveform:
    levels, starts, frame = frame_levels(waveform, rate_hz)
    loudest = levels.max()
    if loudest == 0:
        raise UnusableFile(
            f"is 0.00 s long after trimming at {trim_db:g} dB, because it is silent throughout",
            "Set audio.trim_db to null or list it in data.exclude",
        )
    loud = starts[levels >= loudest * 10 ** (-trim_db / 20)]
    return waveform[loud[0] : loud[-1] + frame]


def frame_levels(waveform: Waveform, rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Return the RMS of each frame, where it starts, and the length of a frame in samples.

    The last frame ends with the waveform; one shorter than a frame is one frame.
    """
    frame = min(round(_FRAME_SECONDS * rate_hz), len(waveform))
    hop = round(_FRAME_HOP_SECONDS * rate_hz)
    frames = sliding_window_view(waveform, frame)
    energies = [np.einsum("ij,ij->i", some, some, dtype=np.float64) for some in (frames[:-1:hop], frames[-1:])]
    starts = np.append(np.arange(0, len(frames) - 1, hop), len(frames) - 1)
    return np.sqrt(np.concatenate(energies) / frame), starts, frame


def _measure(
    place: str,
    preprocessing: Preprocessing,
    min_seconds: float,
    describe: Callable[[Decoded], Mapping[str, object]] | None,
) -> dict[str, object]:
    row: dict[str, object] = {"problem": "", "sha256": ""}
    try:
        path = local_file(place)
        decoded = decode(path, preprocessing.limits)
        row["file_seconds"] = len(decoded.waveform) / decoded.rate_hz
        row["rate_hz"] = decoded.rate_hz
        row["channels"] = decoded.channels
        row["peak_db"] = _decibels(np.abs(decoded.waveform).max())
        with path.open("rb") as file:
            row["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        waveform = _prepare(decoded, preprocessing)
    except UnusableFile as error:
        return row | {"problem": error.problem}
    except StorageError as error:
        # that a store does not answer says nothing about the recording
        problem = why_no_object(error)
        if problem is None:
            raise
        return row | {"problem": problem}
    except OSError as error:
        return row | {"problem": f"cannot be read ({error.strerror})"}
    levels, _, _ = frame_levels(waveform, preprocessing.rate_hz)
    silent = levels < levels.max() * 10 ** (-SILENCE_DB / 20) if levels.max() > 0 else np.ones(1)
    row["duration_seconds"] = seconds = len(waveform) / preprocessing.rate_hz
    row["level_db"] = _decibels(np.sqrt(np.square(waveform, dtype=np.float64).mean()))
    row["silence_share"] = silent.mean()
    if seconds < min_seconds:
        after = "" if preprocessing.trim_db is None else f" after trimming at {preprocessing.trim_db:g} dB"
        row["problem"] = f"is {seconds:.2f} s long{after}, expected at least {min_seconds:.3f} s"
    return row if describe is None else {**row, **describe(decoded)}


def _decibels(amplitude: float) -> float:
    return max(20 * float(np.log10(amplitude)), FLOOR_DB) if amplitude > 0 else FLOOR_DB
