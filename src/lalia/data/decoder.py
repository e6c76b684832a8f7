"""A decoder process: it reads paths from a pipe and writes samples into another; it may crash, hang or be killed.

It is started as ``python -c``, with nothing heavy imported, and ends when its parent does. A request is a line: what a
file may be as JSON, a tab, and its path as JSON. An answer is a row of messages: each a letter, a length and as many
bytes. ``H`` the header, ``S`` how many samples are in the next of two slots of shared memory, ``D`` the end and whether
all channels were the same; or ``U``, why the file cannot be used. An empty line answers ``S``: the slot may be
overwritten. Where no memory can be shared, ``B`` is a block of samples. ``R``: it is ready.
"""

import contextlib
import json
import mmap
import os
import select
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lalia.data.container_formats import find_container, open_container
from lalia.data.libsndfile import Unrecognised, open_with_libsndfile
from lalia.data.opened_file import ADVICE, OpenedFile, Room
from lalia.limits import Limits, UnusableFile
from lalia.signals import ignore_stop_signals

MESSAGE = struct.Struct("<cI")
NUMBER = struct.Struct("<I")
HEADER = struct.Struct("<IIQ")
BLOCK_FRAMES = 65_536
SLOT_FRAMES = 2**19
N_SLOTS = 2

LIMITS_ADDRESS_SPACE = sys.platform.startswith("linux")
"""Whether a process can be held to a size by its system; elsewhere it is watched, and ended when it is larger."""

_HEAD_BYTES = 512
_AWAKE_SECONDS = 300e-6
_BUFFER_BYTES = 2**19

try:
    import resource
except ImportError:  # Windows has none: the parent watches instead
    resource = None  # type: ignore[assignment]


def decode_blocks(
    path: str,
    limits: Limits,
    begin: Callable[[int, int, int], object],
    take: Callable[[NDArray[np.float32]], object],
    room: Room | None = None,
) -> bool:
    """Decode a file block by block, mono.

    Args:
        path: of the file.
        limits: what it may be.
        begin: is told the rate, the channels and the samples per channel that the header promises, 0 where none.
        take: is given each block, shape (samples,); it is overwritten afterwards.
        room: where the next block of a mono file may be put, so that it need not be copied.

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
        for block in file.blocks(BLOCK_FRAMES, room):
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
        with open_container(path, container) as contained:
            yield contained
        return
    with contextlib.ExitStack() as stack:
        try:
            opened: OpenedFile = stack.enter_context(open_with_libsndfile(path))
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


def serve(shared: int | None = None) -> None:
    """Answer requests until the parent is gone.

    Args:
        shared: the descriptor of the shared memory, None where there is none.
    """
    ignore_stop_signals()
    # what libraries print must not get between the messages
    out = os.fdopen(os.dup(1), "wb", buffering=_BUFFER_BYTES)
    os.dup2(2, 1)
    _forbid_files()
    slots = None if shared is None else map_slots(shared)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        _send(out, b"R")
        out.flush()
        for line in _requests():
            if line.strip():
                limits, path = line.split(b"\t")
                _answer(_Sender(out, slots), json.loads(path), _read_limits(limits))
                # a short file is one message, and the parent is woken once
                out.flush()
    finally:
        # the parent is gone, and with it whom to tell of anything
        os._exit(0)


def _requests() -> Iterator[bytes]:
    """Yield lines from the pipe.

    A parent that reads one file after another asks again within a fraction of a millisecond. To fall asleep and be
    woken for that takes as long as decoding a short file, so a process that was asked soon waits awake for a moment.
    """
    is_asked_soon = False
    waiting = select.poll() if hasattr(select, "poll") and hasattr(os, "sched_yield") else None
    if waiting is not None:
        waiting.register(sys.stdin.fileno(), select.POLLIN)
    while True:
        start = time.monotonic()
        if waiting is not None and is_asked_soon:
            while not waiting.poll(0) and time.monotonic() - start < _AWAKE_SECONDS:
                # whoever else has something to do goes first
                os.sched_yield()
        line = sys.stdin.buffer.readline()
        if not line:
            return
        is_asked_soon = time.monotonic() - start < _AWAKE_SECONDS
        yield line


def map_slots(shared: int) -> NDArray[np.float32]:
    """Return the shared memory behind a descriptor as slots of samples, shape (N_SLOTS, SLOT_FRAMES)."""
    mapped = mmap.mmap(shared, 4 * N_SLOTS * SLOT_FRAMES)
    return np.frombuffer(mapped, np.float32).reshape(N_SLOTS, SLOT_FRAMES)


class _Sender:
    """Hands a file's samples to the parent."""

    def __init__(self, out: BinaryIO, slots: NDArray[np.float32] | None) -> None:
        self._out = out
        self._slots = slots
        self._n_handed = self._n_filled = 0

    def begin(self, rate_hz: int, channels: int, frames: int) -> None:
        _send(self._out, b"H", HEADER.pack(rate_hz, channels, frames))

    @property
    def room(self) -> Room | None:
        return None if self._slots is None else self._rest_of_slot

    def _rest_of_slot(self) -> NDArray[np.float32]:
        assert self._slots is not None
        return self._slots[self._n_handed % N_SLOTS, self._n_filled :]

    def take(self, block: NDArray[np.float32]) -> None:
        if self._slots is None:
            for start in range(0, len(block), BLOCK_FRAMES):
                _send(self._out, b"B", np.ascontiguousarray(block[start : start + BLOCK_FRAMES]).data.cast("B"))
            return
        while len(block):
            place = self._rest_of_slot()[: len(block)]
            # a mono file's has been put there
            if not np.may_share_memory(place, block):
                place[:] = block[: len(place)]
            block, self._n_filled = block[len(place) :], self._n_filled + len(place)
            if self._n_filled == SLOT_FRAMES:
                self._hand_over()
                self._out.flush()
                if self._n_handed >= N_SLOTS:
                    # until the parent has read the slot that comes next
                    sys.stdin.buffer.readline()

    def end(self, has_equal_channels: bool) -> None:
        if self._n_filled:
            self._hand_over()
        _send(self._out, b"D", bytes([has_equal_channels]))

    def refuse(self, problem: str, advice: str) -> None:
        _send(self._out, b"U", json.dumps({"problem": problem, "advice": advice}).encode())

    def _hand_over(self) -> None:
        _send(self._out, b"S", NUMBER.pack(self._n_filled))
        self._n_handed, self._n_filled = self._n_handed + 1, 0


@lru_cache(maxsize=1)
def _read_limits(line: bytes) -> Limits:
    """Return what files may be, once for all that may be the same."""
    limits = Limits(**json.loads(line))
    if LIMITS_ADDRESS_SPACE:
        _limit_memory(limits.memory_gb)
    return limits


def _answer(sender: _Sender, path: str, limits: Limits) -> None:
    try:
        sender.end(decode_blocks(path, limits, sender.begin, sender.take, sender.room))
    except UnusableFile as error:
        sender.refuse(error.problem, error.advice)
    except MemoryError:
        refusal = needs_more_memory(limits)
        sender.refuse(refusal.problem, refusal.advice)
    except BrokenPipeError:
        raise
    except Exception as error:  # whatever decoders raise at hostile bytes costs one recording
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        sender.refuse(f"cannot be decoded ({reason[:200]})", ADVICE)


def needs_more_memory(limits: Limits) -> UnusableFile:
    """Say that decoding a file took too much memory."""
    return UnusableFile(
        f"needs more than {limits.memory_gb:g} GB of memory to be decoded",
        "Check it by ear and export it again, or raise audio.limits.memory_gb",
    )


def _end_with(parent: int) -> None:
    """End in the middle of a file too when the parent is gone; between files the pipe says so, on every system."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(0)


def _send(out: BinaryIO, letter: bytes, content: bytes | memoryview = b"") -> None:
    out.write(MESSAGE.pack(letter, len(content)))
    out.write(content)


def _forbid_files() -> None:
    """Let the process write no file and leave no image of its memory, which would hold a voice, when it crashes."""
    if resource is not None:
        for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
            resource.setrlimit(kind, (0, resource.getrlimit(kind)[1]))


@cache
def _own_bytes() -> int:
    """Return the size of the process before it opens its first file."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
        return int(file.read().split()[0]) * resource.getpagesize()


def _limit_memory(memory_gb: float) -> None:
    """Let the process take so much more than it had at first."""
    limit = int(_own_bytes() + memory_gb * 1e9)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
