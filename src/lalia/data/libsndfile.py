"""Opening files with libsndfile: WAV, FLAC, AIFF, MP3, Ogg Vorbis and Opus, NIST SPHERE, ..."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import soundfile
from numpy.typing import NDArray

from lalia.data.opened_file import CONVERT, Room, cut_off
from lalia.limits import UnusableFile

_TOLERATED_LOSS_SECONDS = 0.05  # recorders that count their own header as samples promise a few too many
# writers to a pipe cannot know the length and promise the most there is
_UNKNOWN_BYTES = 0x7FFF_F000
_UNKNOWN_FRAMES = 2**63 - 1
# libsndfile mends a wrong length silently and tells of it only in its log: "data : 32000 (should be 15978)"
_MENDED_LENGTH = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
# MP3 and Ogg state their length only roughly, or not at all
_ROUGH = ("MP3", "OGG")


class Unrecognised(UnusableFile):
    """libsndfile cannot open a file."""


@contextmanager
def open_with_libsndfile(path: str) -> Iterator["SndFile"]:
    """Open a file, and say in libsndfile's words why it cannot be opened or read.

    Raises:
        Unrecognised: if it cannot be opened.
        UnusableFile: if what is in it cannot be decoded.
    """
    try:
        # as bytes, which may be of any encoding
        opened = soundfile.SoundFile(path if os.name == "nt" else os.fsencode(path))
    except soundfile.LibsndfileError as error:
        raise Unrecognised(_in_words(error), CONVERT) from error
    except TypeError as error:  # soundfile asks for the rate of a .raw file by a TypeError
        raise Unrecognised("has no header that says its rate and format", CONVERT) from error
    with opened:
        try:
            yield SndFile(opened)
        except soundfile.LibsndfileError as error:
            raise UnusableFile(_in_words(error), CONVERT) from error


def _in_words(error: soundfile.LibsndfileError) -> str:
    reason = error.error_string.strip().removeprefix("Error : ").rstrip(".")
    return f"cannot be decoded (libsndfile: {reason})"


class SndFile:
    """A file that libsndfile has opened; see ``OpenedFile``."""

    def __init__(self, file: soundfile.SoundFile) -> None:
        self._file = file
        self.rate_hz: int = file.samplerate
        self.channels: int = file.channels
        is_known = file.format not in _ROUGH and 0 <= file.frames < _UNKNOWN_FRAMES
        self.promised_frames: int | None = file.frames if is_known else None

    def blocks(self, n_frames: int, room: Room | None = None) -> Iterator[NDArray[np.float32]]:
        """Yield the samples in order; each block is overwritten by the next, or lies where ``room`` says."""
        if room is None or self.channels > 1:
            own = np.empty((n_frames, self.channels), np.float32)
        # soundfile gives no more than this, and asking it once more takes as long as a second of sound
        left = self._file.frames if self._file.seekable() else None
        while left is None or left > 0:
            out = own if room is None or self.channels > 1 else room()[:, np.newaxis]
            block = self._file.read(out=out)
            if not len(block):
                return
            if left is not None:
                left -= len(block)
            yield block

    def check_end(self, n_frames: int) -> None:
        """Compare what was decoded with the header."""
        seconds = promised_seconds = n_frames / self.rate_hz
        if self._file.format == "FLAC" and self.promised_frames is not None:
            promised_seconds = self.promised_frames / self.rate_hz
        elif (
            (mended := _MENDED_LENGTH.search(self._file.extra_info))
            and int(mended[1]) < _UNKNOWN_BYTES
            and int(mended[2])
        ):
            promised_seconds = seconds * int(mended[1]) / int(mended[2])
        if promised_seconds - seconds > _TOLERATED_LOSS_SECONDS:
            raise UnusableFile(*cut_off(promised_seconds, seconds))
