"""A small pool of processes that decode audio: one that crashes, hangs or takes too much costs one recording."""

import atexit
import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import psutil
from numpy.typing import NDArray

import lalia
from lalia.data.decoder import (
    BLOCK_FRAMES,
    HEADER,
    LIMITS_ADDRESS_SPACE,
    MESSAGE,
    N_SLOTS,
    NUMBER,
    SLOT_FRAMES,
    map_slots,
    needs_more_memory,
)
from lalia.data.opened_file import ADVICE
from lalia.errors import AudioError
from lalia.limits import Limits, UnusableFile

Waveform = NDArray[np.float32]

PROGRAM = "from lalia.data.decoder import serve"
SHARES_MEMORY = hasattr(os, "memfd_create")
"""Whether samples come through memory that both processes see; elsewhere through the pipe, which is slower."""
MAX_AMPLITUDE = 2.0**32
"""Samples beyond this many times full scale are no sound, and would overflow where they are squared."""

MOST_DECODERS = min(2 * (os.cpu_count() or 1), 16)
"""Twice as many as processors: where one waits for its parent to read, another decodes."""
_TICK_SECONDS = 0.1
_IDLE_SECONDS = 30.0
_START_SECONDS = 120.0
# how much longer decoding may take for each second that has been decoded
_SECONDS_PER_SECOND = 0.1
_FIRST_FRAMES = 2**22


class Decoded(NamedTuple):
    """A file's samples, mean over its channels, at its own rate, and whether the channels were all the same."""

    waveform: Waveform
    rate_hz: int
    channels: int
    has_equal_channels: bool = True


class DecoderPool:
    """Processes that decode, started when they are needed and ended when they have been idle for a while.

    Any number of threads may ask it at once; those beyond ``most`` wait. After a fork the child's pool is empty.

    Args:
        most: processes at the same time.
        program: what each of them runs first, in Python: it has to bring ``serve``.
    """

    def __init__(self, most: int = MOST_DECODERS, program: str = PROGRAM) -> None:
        self._most = most
        self._program = program
        self._start_empty()
        _pools.add(self)

    def _start_empty(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[_Decoder] = []
        self._busy: set[_Decoder] = set()
        self._watcher: threading.Thread | None = None

    def decode(self, path: str | Path, limits: Limits) -> Decoded:
        """Return what a file holds, mono.

        Raises:
            UnusableFile: if it cannot be used, or the process that decoded it did not survive that.
            AudioError: if no process could be started.
        """
        with self._decoder(limits) as decoder:
            return decoder.decode(os.path.abspath(path), limits)  # noqa: PTH100

    def close(self) -> None:
        """End all processes; the pool can be used again."""
        with self._changed:
            idle, self._idle = self._idle, []
            for decoder in self._busy:
                decoder.stop()
        for decoder in idle:
            decoder.end()

    def forget(self) -> None:
        """Leave the processes to the parent that this process was forked from."""
        for decoder in [*self._idle, *self._busy]:
            decoder.forget()
        self._start_empty()

    @contextmanager
    def _decoder(self, limits: Limits) -> Iterator["_Decoder"]:
        decoder = self._take(limits)
        try:
            if not decoder.is_ready:
                decoder.wait_until_ready()
            yield decoder
        finally:
            with self._changed:
                decoder.task = None
                self._busy.discard(decoder)
                if decoder.is_at_rest:
                    decoder.idle_since = time.monotonic()
                    self._idle.append(decoder)
                self._changed.notify()
            if not decoder.is_at_rest:
                decoder.end()

    def _take(self, limits: Limits) -> "_Decoder":
        with self._changed:
            while True:
                # the one that was used last: those that are not needed become idle for long enough to be ended
                while self._idle:
                    decoder = self._idle.pop()
                    if decoder.is_alive:
                        break
                    decoder.end()
                else:
                    if len(self._busy) >= self._most:
                        self._changed.wait()
                        continue
                    decoder = _Decoder(self._program)
                decoder.task = _Task(limits)
                self._busy.add(decoder)
                if self._watcher is None:
                    self._watcher = threading.Thread(target=self._watch, name="lalia-decoders", daemon=True)
                    self._watcher.start()
                return decoder

    def _watch(self) -> None:
        """End those that take too long or too much, and those that nobody has needed for a while."""
        last = time.monotonic()
        while True:
            time.sleep(_TICK_SECONDS)
            now = time.monotonic()
            # a program that was stopped in between has not waited
            elapsed, last = min(now - last, 5 * _TICK_SECONDS), now
            with self._changed:
                for decoder in self._busy:
                    decoder.check(elapsed)
                tired = [decoder for decoder in self._idle if now - decoder.idle_since > _IDLE_SECONDS]
                self._idle = [decoder for decoder in self._idle if decoder not in tired]
                is_done = not self._idle and not self._busy
                if is_done:
                    self._watcher = None
            for decoder in tired:
                decoder.end()
            if is_done:
                return


@dataclass
class _Task:
    """What a process is doing: for how long, and how much it has decoded."""

    limits: Limits
    seconds: float = 0.0
    decoded_seconds: float = 0.0


class _Decoder:
    """One process and the pipes to it."""

    def __init__(self, program: str) -> None:
        self.task: _Task | None = None
        self.is_ready = False
        self.is_at_rest = True
        self.idle_since = 0.0
        self._ended_for: UnusableFile | None = None
        self._own_bytes = 0
        self._shared: int | None = None
        self._slots: Waveform | None = None
        if SHARES_MEMORY:
            self._shared, self._slots = _share_memory()
        try:
            self._process = subprocess.Popen(
                _command(f"{program}; serve({self._shared})"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                pass_fds=() if self._shared is None else (self._shared,),
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
                # Ctrl-C is for the parent to answer
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except (OSError, TypeError) as error:
            raise AudioError(f"No process to decode audio can be started: {error}.") from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin = self._process.stdin
        _enlarge(self._process.stdout.fileno())
        # the messages of a short file are read at once: each of them alone would cost a switch of threads
        self._messages = io.BufferedReader(cast(io.FileIO, self._process.stdout))

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Wait for the process to have started.

        Raises:
            AudioError: if it does not.
        """
        self.is_at_rest = False
        try:
            letter, content = self._receive()
        except _Gone:
            letter, content = b"X", f"it ended with {self._how_it_ended()}".encode()
        if letter != b"R":
            said = content.decode(errors="replace")
            raise AudioError(f"No process to decode audio can be started: {said}. Is lalia installed as it should be?")
        if not LIMITS_ADDRESS_SPACE:
            self._own_bytes = psutil.Process(self._process.pid).memory_info().rss
        self.is_ready = self.is_at_rest = True

    def decode(self, path: str, limits: Limits) -> Decoded:
        self.is_at_rest = False
        try:
            self._stdin.write(_write_limits(limits) + json.dumps(path).encode() + b"\n")
            answer = self._read_answer(limits)
        except (_Gone, BrokenPipeError, struct.error) as error:
            raise self._ended_for or UnusableFile(
                f"ends the process that decodes it ({self._how_it_ended()})", ADVICE
            ) from error
        return answer

    def _read_answer(self, limits: Limits) -> Decoded:
        letter, content = self._receive()
        if letter == b"U":
            self._refuse(content)
        rate_hz, channels, promised = HEADER.unpack(content)
        if not limits.min_rate_hz <= rate_hz <= limits.max_rate_hz:
            raise _Gone
        max_frames = limits.max_frames(rate_hz)
        waveform: Waveform = np.empty(min(promised or _FIRST_FRAMES, max_frames), np.float32)
        n_frames, n_shared, peak = 0, 0, np.float32(0.0)
        while True:
            letter, size = self._receive_head()
            if letter not in b"BS":
                break
            block = self._receive_shared(n_shared) if letter == b"S" else self._receive_block(size)
            n_shared += letter == b"S"
            end = n_frames + len(block)
            if end > max_frames:
                raise _Gone
            if end > len(waveform):
                waveform = np.concatenate([waveform[:n_frames], np.empty(max(end, n_frames), np.float32)])
            waveform[n_frames:end] = block
            if len(block) == SLOT_FRAMES:
                self._stdin.write(b"\n")
            block = waveform[n_frames:end]
            # NaN stays NaN
            peak = np.maximum(peak, np.maximum(block.max(), -block.min()))
            n_frames = end
            if self.task is not None:
                self.task.decoded_seconds = n_frames / rate_hz
        content = self._receive_content(size)
        if letter == b"U":
            self._refuse(content)
        if letter != b"D":
            raise _Gone
        self.is_at_rest = True
        if not np.isfinite(peak):
            raise UnusableFile("holds samples that are NaN or infinite", ADVICE)
        if peak > MAX_AMPLITUDE:
            raise UnusableFile(f"holds samples of up to {peak:.1e} times full scale", ADVICE)
        return Decoded(waveform[:n_frames], rate_hz, channels, content != b"\0")

    def _refuse(self, content: bytes) -> None:
        self.is_at_rest = True
        raise UnusableFile(**json.loads(content))

    def check(self, elapsed: float) -> None:
        """End the process if it has taken too long or too much for what it does."""
        task = self.task
        if task is None:
            return
        task.seconds += elapsed
        limits = task.limits
        if not self.is_ready:
            if task.seconds > _START_SECONDS:
                self._process.kill()
        elif task.seconds > limits.timeout_seconds + _SECONDS_PER_SECOND * task.decoded_seconds:
            self._end_for(
                UnusableFile(
                    f"takes longer than {limits.timeout_seconds:g} s to be decoded",
                    "Check it by ear and export it again, or raise audio.limits.timeout_seconds",
                )
            )
        elif not LIMITS_ADDRESS_SPACE and self._grown_bytes() > limits.memory_gb * 1e9:
            self._end_for(needs_more_memory(limits))

    def _grown_bytes(self) -> int:
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss) - self._own_bytes
        except psutil.Error:
            return 0

    def _end_for(self, reason: UnusableFile) -> None:
        self._ended_for = self._ended_for or reason
        self._process.kill()

    def stop(self) -> None:
        """End the process; whoever waits for its answer is told."""
        self._process.kill()

    def end(self) -> None:
        """End the process and wait for that."""
        self.is_at_rest = False
        self._process.kill()
        self._stdin.close()
        self._process.wait()
        self._messages.close()
        self._unshare()

    def forget(self) -> None:
        """Close the pipes alone, so that the process ends with the parent that it belongs to."""
        self._stdin.close()
        self._messages.close()
        self._unshare()
        self._process.returncode = 0  # it is not this process's to wait for

    def _unshare(self) -> None:
        self._slots = None
        if self._shared is not None:
            os.close(self._shared)
            self._shared = None

    def _how_it_ended(self) -> str:
        self._process.kill()
        code = self._process.wait()
        try:
            return signal.Signals(-code).name if code < 0 else f"exit code {code:#x}"
        except ValueError:
            return f"signal {-code}"

    def _receive_shared(self, n_before: int) -> Waveform:
        (n_frames,) = NUMBER.unpack(self._receive_content(NUMBER.size))
        if self._slots is None or n_frames > SLOT_FRAMES:
            raise _Gone
        return self._slots[n_before % N_SLOTS, :n_frames]

    def _receive_block(self, size: int) -> Waveform:
        if size % 4 or size > 4 * BLOCK_FRAMES:
            raise _Gone
        return np.frombuffer(self._read(size), np.float32)

    def _receive(self) -> tuple[bytes, bytes]:
        letter, size = self._receive_head()
        return letter, self._receive_content(size)

    def _receive_head(self) -> tuple[bytes, int]:
        letter, size = MESSAGE.unpack(self._read(MESSAGE.size))
        return letter, size

    def _receive_content(self, size: int) -> bytes:
        if size > 2**20:
            raise _Gone
        return self._read(size)

    def _read(self, size: int) -> bytes:
        content = self._messages.read(size)
        if len(content) < size:
            raise _Gone
        return content


@lru_cache(maxsize=8)
def _write_limits(limits: Limits) -> bytes:
    return json.dumps(vars(limits)).encode() + b"\t"


class _Gone(Exception):
    """A process ended in the middle of an answer, or said what it should not."""


def _share_memory() -> tuple[int, Waveform]:
    # without a name, so that no other process finds it and nothing is left when both are gone
    shared = os.memfd_create("lalia-samples")
    os.ftruncate(shared, 4 * N_SLOTS * SLOT_FRAMES)
    return shared, map_slots(shared)


def _command(program: str) -> list[str]:
    # isolated, without the start-up files of site-packages: the modules that this process would find, found faster
    paths = [os.path.dirname(os.path.dirname(os.path.abspath(lalia.__file__))), *map(os.path.abspath, sys.path)]  # noqa: PTH100, PTH120
    code = f"import sys; sys.path[:] = {list(dict.fromkeys(paths))!r}; {program}"
    return [sys.executable, "-I", "-S", "-X", f"utf8={sys.flags.utf8_mode}", "-c", code]


def _enlarge(descriptor: int) -> None:
    """Let a pipe hold a megabyte, where that can be had: both sides wait for each other less often."""
    try:
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 2**20)
    except (ImportError, AttributeError, OSError):
        pass


_pools: "weakref.WeakSet[DecoderPool]" = weakref.WeakSet()


def _forget_all() -> None:
    for pool in list(_pools):
        pool.forget()


def _close_all() -> None:
    for pool in list(_pools):
        pool.close()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
