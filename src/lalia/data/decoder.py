"""A decoder process: it reads paths from a pipe and writes samples into another; it may crash, hang or be killed.

It is started as ``python -c``, with nothing heavy imported, and ends when its parent does. A request is a line of JSON.
An answer is a row of messages, each a letter, a length and as many bytes: ``H`` the header, ``B`` a block of samples,
``D`` the end; or ``U``, why the file cannot be used. ``R`` says that the process is ready, ``X`` why it cannot be.
"""

import contextlib
import json
import os
import queue
import stat
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lalia.data.container_formats import find_container, open_container
from lalia.data.libsndfile import Unrecognised, open_with_libsndfile
from lalia.data.opened_file import ADVICE, OpenedFile
from lalia.limits import Limits, UnusableFile
from lalia.signals import ignore_stop_signals

MESSAGE = struct.Struct("<cI")
BLOCK_FRAMES = 65_536

_HEAD_BYTES = 512

try:
    import resource
except ImportError:  # Windows has none: the parent watches instead
    resource = None  # type: ignore[assignment]


def decode_blocks(
    path: str,
    limits: Limits,
    begin: Callable[[int, int, int], object],
    take: Callable[[NDArray[np.float32]], object],
) -> bool:
    """Decode a file block by block, mono.

    Args:
        path: of the file.
        limits: what it may be.
        begin: is told the rate, the channels and the samples per channel that the header promises, 0 where none.
        take: is given each block, shape (samples,); it is overwritten afterwards.

    Returns:
        Whether all channels were the same.

    Raises:
        UnusableFile: if the file cannot be used.
    """
    with _open(path, limits) as file:
        _check_header(file, limits)
        max_frames = limits.max_frames(file.rate_hz)
        begin(file.rate_hz, file.channels, min(file.promised_frames or 0, max_frames))
        n_frames, is_equal = 0, True
        # in blocks, because the header's frame count may lie in both directions
        for block in file.blocks(BLOCK_FRAMES):
            n_frames += len(block)
            if n_frames > max_frames:
                raise _too_long(max_frames / file.rate_hz)
            if file.channels == 1:
                take(block[:, 0])
            else:
                is_equal = is_equal and bool((block == block[:, :1]).all())
                take(block.mean(axis=1, dtype=np.float64).astype(np.float32))
        if not n_frames:
            raise UnusableFile("holds no samples", ADVICE)
        file.check_end(n_frames)
    return is_equal


def _check_header(file: OpenedFile, limits: Limits) -> None:
    if not limits.min_rate_hz <= file.rate_hz <= limits.max_rate_hz:
        raise UnusableFile(
            f"has a rate of {file.rate_hz} Hz, expected {limits.min_rate_hz} to {limits.max_rate_hz}", ADVICE
        )
    if not 1 <= file.channels <= limits.max_channels:
        raise UnusableFile(f"has {file.channels} channels, expected at most {limits.max_channels}", ADVICE)
    max_frames = limits.max_frames(file.rate_hz)
    if file.promised_frames is not None and file.promised_frames > max_frames:
        raise _too_long(max_frames / file.rate_hz)


def _too_long(max_seconds: float) -> UnusableFile:
    return UnusableFile(
        f"is longer than {max_seconds / 3600:.3g} hours", "Cut it into recordings, or raise audio.limits.max_seconds"
    )


@contextlib.contextmanager
def _open(path: str, limits: Limits) -> Iterator[OpenedFile]:
    head = _read_head(path, limits)
    container = find_container(head)
    if container is not None and not container.is_tried_by_libsndfile:
        with open_container(path, container) as opened:
            yield opened
        return
    with contextlib.ExitStack() as stack:
        try:
            opened = stack.enter_context(open_with_libsndfile(path))
        except Unrecognised:
            if container is None:
                raise
            opened = stack.enter_context(open_container(path, container))
        yield opened


def _read_head(path: str, limits: Limits) -> bytes:
    """Return the first bytes of a file, after a look at what and how large it is."""
    try:
        # without blocking: a FIFO in the place of a recording would wait for its writer
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise UnusableFile(f"cannot be opened ({error.strerror})", "Check its permissions") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnusableFile("is not a file but a device, a pipe or a folder", "List it in data.exclude")
        if found.st_size > limits.max_gb * 1e9:
            raise UnusableFile(
                f"has {found.st_size / 1e9:.3g} GB, expected at most {limits.max_gb:g}",
                "Cut it into recordings, or raise audio.limits.max_gb",
            )
        return os.read(descriptor, _HEAD_BYTES)
    finally:
        os.close(descriptor)


# --- the process ------------------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests until the parent is gone."""
    ignore_stop_signals()
    # what libraries print must not get between the messages
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    _forbid_files()
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    # in a thread of its own, which sees the end of the parent also in the middle of a file
    threading.Thread(target=_receive, args=(requests,), daemon=True).start()
    _send(out, b"R")
    while True:
        _answer(out, **requests.get())


def _answer(out: BinaryIO, path: str, limits: dict[str, Any], limits_memory: bool) -> None:
    checked = Limits(**limits)
    if limits_memory:
        _limit_memory(checked.memory_gb * 1e9)
    try:
        is_equal = decode_blocks(
            path,
            checked,
            lambda rate_hz, channels, frames: _send_json(out, b"H", rate_hz=rate_hz, channels=channels, frames=frames),
            lambda block: _send(out, b"B", np.ascontiguousarray(block).data.cast("B")),
        )
        _send_json(out, b"D", has_equal_channels=is_equal)
    except UnusableFile as error:
        _send_json(out, b"U", problem=error.problem, advice=error.advice)
    except MemoryError:
        error = needs_more_memory(checked)
        _send_json(out, b"U", problem=error.problem, advice=error.advice)
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:  # whatever decoders raise at hostile bytes costs one recording
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        _send_json(out, b"U", problem=f"cannot be decoded ({reason[:200]})", advice=ADVICE)


def needs_more_memory(limits: Limits) -> UnusableFile:
    """Say that decoding a file took too much memory."""
    return UnusableFile(
        f"needs more than {limits.memory_gb:g} GB of memory to be decoded",
        "Check it by ear and export it again, or raise audio.limits.memory_gb",
    )


def _receive(requests: "queue.SimpleQueue[dict[str, Any]]") -> None:
    for line in sys.stdin.buffer:
        requests.put(json.loads(line))
    os._exit(0)


def _send_json(out: BinaryIO, letter: bytes, **values: object) -> None:
    _send(out, letter, memoryview(json.dumps(values).encode()))


def _send(out: BinaryIO, letter: bytes, content: memoryview = memoryview(b"")) -> None:
    if len(content) <= 512:
        out.write(MESSAGE.pack(letter, len(content)) + content)
        return
    out.write(MESSAGE.pack(letter, len(content)))
    while content:
        content = content[out.write(content) :]


def _forbid_files() -> None:
    """Let the process write no file and leave no image of its memory, which would hold a voice, when it crashes."""
    if resource is not None:
        for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
            resource.setrlimit(kind, (0, resource.getrlimit(kind)[1]))


def _limit_memory(n_bytes: float) -> None:
    """Let the process take so much more than it has now."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
        pages = int(file.read().split()[0])
    limit = int(pages * resource.getpagesize() + n_bytes)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
