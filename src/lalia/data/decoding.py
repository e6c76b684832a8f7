"""From a file to samples: decoding with libsndfile within limits, so that a broken or hostile file is refused."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from lalia.errors import AudioError

Waveform = NDArray[np.float32]

MAX_SECONDS = 3 * 60 * 60
"""Longer recordings are refused while they are decoded: a file of 2 MB can hold 2 GB of samples."""
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 384_000
MAX_CHANNELS = 32

_MAX_FULL_LENGTH_RATE_HZ = 48_000  # at higher rates MAX_SECONDS of samples would not fit in memory
_BLOCK_FRAMES = 65_536
_TOLERATED_LOSS_SECONDS = 0.05  # recorders that count their own header as samples promise a few too many
# writers to a pipe cannot know the length and promise the most there is
_UNKNOWN_BYTES = 0x7FFF_F000
# libsndfile mends a wrong length silently and tells of it only in its log: "data : 32000 (should be 15978)"
_MENDED_LENGTH = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)


class Decoded(NamedTuple):
    """A file's samples, mean over its channels, at its own rate, and whether the channels were all the same."""

    waveform: Waveform
    rate_hz: int
    channels: int
    has_equal_channels: bool = True


class UnusableFile(Exception):
    """What is wrong with a file, worded to follow its name, and what to do; ``naming`` makes it an ``AudioError``."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.advice = advice


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Turn what is unusable into an error that names the file, not where it lies."""
    try:
        yield
    except UnusableFile as error:
        raise AudioError(f"'{Path(path).name}' {error.problem}. {error.advice}.") from error.__cause__


def decode(path: Path) -> Decoded:
    """Return what a file holds, mono.

    Raises:
        UnusableFile: as ``lalia.data.audio.read_audio`` lists.
    """
    convert = "Convert it to WAV or FLAC, or list it in data.exclude"
    if not path.is_file():
        raise UnusableFile("does not exist or is not a file", "Check its name and folder, or list it in data.exclude")
    try:
        with path.open("rb"), soundfile.SoundFile(path) as file:
            return _decode_open(file)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip().removeprefix("Error : ").rstrip(".")
        raise UnusableFile(f"cannot be decoded (libsndfile: {reason})", convert) from error
    except OSError as error:
        raise UnusableFile(f"cannot be opened ({error.strerror})", "Check its permissions") from error
    except TypeError as error:  # soundfile asks for the rate of a .raw file by a TypeError
        raise UnusableFile("has no header that says its rate and format", convert) from error


def _decode_open(file: soundfile.SoundFile) -> Decoded:
    rate_hz, channels = file.samplerate, file.channels
    advice = "Check it by ear and export it again, or list it in data.exclude"
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise UnusableFile(f"has a rate of {rate_hz} Hz, expected {MIN_RATE_HZ} to {MAX_RATE_HZ}", advice)
    if channels > MAX_CHANNELS:
        raise UnusableFile(f"has {channels} channels, expected at most {MAX_CHANNELS}", advice)
    max_frames = MAX_SECONDS * min(rate_hz, _MAX_FULL_LENGTH_RATE_HZ)
    blocks: list[Waveform] = []
    n_frames = 0
    is_equal = True
    # in blocks, because the header's frame count may lie in both directions
    while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        if not np.isfinite(block).all():
            raise UnusableFile("holds samples that are NaN or infinite", advice)
        n_frames += len(block)
        if n_frames > max_frames:
            raise UnusableFile(f"is longer than {max_frames / rate_hz / 3600:.3g} hours", "Cut it into recordings")
        is_equal = is_equal and bool((block == block[:, :1]).all())
        blocks.append(block.mean(axis=1, dtype=np.float64).astype(np.float32))
    if not n_frames:
        raise UnusableFile("holds no samples", advice)
    _refuse_truncated(file, n_frames / rate_hz)
    return Decoded(np.concatenate(blocks), rate_hz, channels, is_equal)


def _refuse_truncated(file: soundfile.SoundFile, seconds: float) -> None:
    """Compare what was decoded with the header; MP3 and Ogg state their length only roughly."""
    promised_seconds = seconds
    if file.format == "FLAC" and file.frames < MAX_SECONDS * MAX_RATE_HZ:  # more: a stream of unknown length
        promised_seconds = file.frames / file.samplerate
    elif (mended := _MENDED_LENGTH.search(file.extra_info)) and int(mended[1]) < _UNKNOWN_BYTES and int(mended[2]):
        promised_seconds = seconds * int(mended[1]) / int(mended[2])
    if promised_seconds - seconds > _TOLERATED_LOSS_SECONDS:
        raise UnusableFile(
            f"is cut off: its header promises {promised_seconds:.2f} s, {seconds:.2f} s are there",
            "Copy it again from its source, or list it in data.exclude",
        )
