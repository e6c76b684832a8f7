"""Opening what libsndfile does not: M4A, MP4, WebM, AMR, WMA, ... with PyAV, where that extra is installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lalia.data.opened_file import ADVICE, CONVERT, Room, cut_off
from lalia.limits import UnusableFile

# encoders count what they put before and after the sound
_TOLERATED_LOSS_SECONDS = 0.25


class Container(NamedTuple):
    """A file format by its first bytes.

    Args:
        name: in words.
        demuxer: FFmpeg's, the only one that is tried: it takes no playlist, and no other file is opened.
        is_tried_by_libsndfile: whether libsndfile reads some files of this format.
    """

    name: str
    demuxer: str
    is_tried_by_libsndfile: bool = False


def find_container(head: bytes) -> Container | None:
    """Return the format that a file's first bytes are of, None if it is not one for FFmpeg.

    Example:
        >>> find_container(b"\\0\\0\\0\\x20ftypM4A ").demuxer
        'mp4'
        >>> find_container(b"RIFF....WAVE") is None
        True
    """
    for start, container in _BY_START:
        if head.startswith(start):
            return container
    if head[4:8] == b"ftyp":
        return Container("MP4 or M4A", "mp4")
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return Container("AVI", "avi")
    # ADTS: twelve ones, then the layer 00, which MP3 does not have
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return Container("AAC", "aac")
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return Container("MPEG-TS", "mpegts")
    return None


_BY_START = (
    (b"\x1aE\xdf\xa3", Container("WebM or Matroska", "matroska")),
    (b"#!AMR", Container("AMR", "amr")),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Container("WMA or WMV", "asf")),
    (b"FLV\x01", Container("FLV", "flv")),
    (b"\x00\x00\x01\xba", Container("MPEG", "mpeg")),
    (b"wvpk", Container("WavPack", "wv")),
    (b"OggS", Container("Ogg", "ogg", is_tried_by_libsndfile=True)),
    (b"caff", Container("CAF", "caf", is_tried_by_libsndfile=True)),
)


@contextmanager
def open_container(path: str, container: Container) -> Iterator["ContainerFile"]:
    """Open the first sound of a file with FFmpeg.

    Raises:
        UnusableFile: if PyAV is not installed, or the file cannot be read.
    """
    try:
        import av
    except ImportError as error:
        raise UnusableFile(
            f"is {container.name}, which needs PyAV: pip install 'lalia[formats]'",
            "Install that, or convert it to WAV or FLAC",
        ) from error
    av.logging.set_level(av.logging.PANIC)
    try:
        # FFmpeg reads through this one open file: it opens no other and has no protocol at its disposal
        with (
            open(path, "rb") as file,  # noqa: PTH123
            av.open(
                file,
                format=container.demuxer,
                options={"protocol_whitelist": "none"},
                metadata_errors="ignore",
            ) as opened,
        ):
            if not opened.streams.audio:
                raise UnusableFile(f"is {container.name} without sound", CONVERT)
            stream = opened.streams.audio[0]
            if stream.codec_context is None:
                raise UnusableFile(f"is {container.name} with sound of a kind that FFmpeg does not decode", CONVERT)
            yield ContainerFile(opened, stream)
    except av.FFmpegError as error:
        raise UnusableFile(f"cannot be decoded (FFmpeg: {error.strerror})", CONVERT) from error


class ContainerFile:
    """The first sound of a file that FFmpeg has opened; see ``OpenedFile``."""

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        stream.thread_count = 1
        self.rate_hz: int = stream.rate or 0
        self.channels: int = stream.channels or 0
        # what some formats say of a stream is taken from a track of pictures: roughly is not at all
        self.promised_frames: int | None = None

    def blocks(self, n_frames: int, room: Room | None = None) -> Iterator[NDArray[np.float32]]:
        """Yield the samples in order, where FFmpeg has put them."""
        import av

        resampler = av.AudioResampler(format="flt", layout=self._stream.layout, rate=self.rate_hz)
        for frame in self._container.decode(self._stream):
            if frame.sample_rate != self.rate_hz or frame.layout.nb_channels != self.channels:
                raise UnusableFile("changes its rate or its channels", ADVICE)
            # some files count their samples from elsewhere, and gaps are not filled
            frame.pts = None
            for converted in resampler.resample(frame):
                samples: NDArray[Any] = converted.to_ndarray().reshape(-1, self.channels)
                for start in range(0, len(samples), n_frames):
                    yield samples[start : start + n_frames]

    def check_end(self, n_frames: int) -> None:
        """Compare what was decoded with the header."""
        if self._stream.duration is None:
            return
        seconds, promised = n_frames / self.rate_hz, float(self._stream.duration * self._stream.time_base)
        if promised - seconds > _TOLERATED_LOSS_SECONDS:
            raise UnusableFile(*cut_off(promised, seconds))
