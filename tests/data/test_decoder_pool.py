import os
import signal
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import soundfile
import torch

from faulty_decoder import PROGRAM
from lalia.data import decoder_pool, decoding
from lalia.data.audio import Preprocessing, scan_recordings
from lalia.data.decoder_pool import DecoderPool
from lalia.data.read_ahead import read_ahead
from lalia.errors import AudioError
from lalia.limits import Limits, UnusableFile

PLAIN = Preprocessing(rate_hz=16_000, trim_db=None, window_seconds=30.0, hop_seconds=30.0)
SAMPLES = np.linspace(-0.5, 0.5, 16_000, dtype=np.float32)


def write(folder: Path, name: str) -> Path:
    soundfile.write(folder / f"{name}.wav", SAMPLES, 16_000, subtype="FLOAT")
    return folder / f"{name}.wav"


def children() -> list[psutil.Process]:
    return psutil.Process().children()


@pytest.fixture
def pool():
    made = DecoderPool(2, PROGRAM)
    yield made
    made.close()


def test_a_process_decodes_many_files(pool, tmp_path):
    for name in ("a", "b", "c"):
        assert np.array_equal(pool.decode(write(tmp_path, name), Limits()).waveform, SAMPLES)
    assert len(pool._idle) == 1


@pytest.mark.parametrize("shares_memory", [True, False])
def test_a_long_file_comes_whole_in_every_way(pool, tmp_path, monkeypatch, shares_memory):
    monkeypatch.setattr(decoder_pool, "SHARES_MEMORY", shares_memory and decoder_pool.SHARES_MEMORY)
    samples = np.random.default_rng(0).uniform(-1, 1, 3 * decoder_pool.SLOT_FRAMES + 7).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", samples, 16_000, subtype="FLOAT")
    for name, expected in (("long", samples), (None, SAMPLES), ("long", samples)):
        path = tmp_path / f"{name}.wav" if name else write(tmp_path, "short")
        assert np.array_equal(pool.decode(path, Limits()).waveform, expected)
    # a refusal in the middle leaves nothing behind for the next one
    with pytest.raises(UnusableFile, match="is longer than"):
        pool.decode(tmp_path / "long.wav", Limits(max_seconds=80))
    assert np.array_equal(pool.decode(tmp_path / "short.wav", Limits()).waveform, SAMPLES)


def test_a_process_that_decodes_has_imported_nothing_heavy():
    code = "import sys; import lalia.data.decoder; print({'torch', 'pandas', 'pydantic', 'scipy'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("segfault", r"ends the process that decodes it \(SIGSEGV\)"),
        ("kill", r"ends the process that decodes it \(SIGKILL\)"),
        ("leave", r"ends the process that decodes it \(exit code 0x3\)"),
        ("write_a_file", r"cannot be decoded \(OSError: \[Errno 27\] File too large\)|\(SIGXFSZ\)"),
        ("raise_an_error", r"cannot be decoded \(AssertionError: in a library\)"),
    ],
)
def test_a_crash_costs_one_recording(pool, tmp_path, name, problem):
    with pytest.raises(UnusableFile, match=problem):
        pool.decode(write(tmp_path, name), Limits())
    assert np.array_equal(pool.decode(write(tmp_path, "after"), Limits()).waveform, SAMPLES)


def test_a_hang_costs_one_recording(pool, tmp_path):
    pool.decode(write(tmp_path, "before"), Limits())
    begun = time.monotonic()
    with pytest.raises(UnusableFile, match=r"takes longer than 0.3 s to be decoded"):
        pool.decode(write(tmp_path, "hang"), Limits(timeout_seconds=0.3))
    assert time.monotonic() - begun < 30
    assert len(pool.decode(write(tmp_path, "after"), Limits()).waveform) == 16_000


@pytest.mark.parametrize("by_the_system", [True, False])
def test_a_file_that_takes_too_much_memory_costs_one_recording(pool, tmp_path, monkeypatch, by_the_system):
    monkeypatch.setattr(decoder_pool, "LIMITS_ADDRESS_SPACE", by_the_system and decoder_pool.LIMITS_ADDRESS_SPACE)
    with pytest.raises(UnusableFile, match=r"needs more than 0.2 GB of memory to be decoded"):
        pool.decode(write(tmp_path, "swell"), Limits(memory_gb=0.2))
    assert len(pool.decode(write(tmp_path, "after"), Limits()).waveform) == 16_000


def test_what_libraries_print_does_not_get_into_the_answer(pool, tmp_path):
    assert np.array_equal(pool.decode(write(tmp_path, "chatter"), Limits()).waveform, SAMPLES)


def test_the_limits_of_each_file_are_its_own(pool, tmp_path):
    path = write(tmp_path, "a")
    for _ in range(2):
        with pytest.raises(UnusableFile, match="is longer than"):
            pool.decode(path, Limits(max_seconds=0.5))
        assert len(pool.decode(path, Limits()).waveform) == 16_000


def test_a_process_that_was_asked_soon_waits_awake_for_a_moment_only(pool, tmp_path):
    path = write(tmp_path, "a")
    for _ in range(20):
        pool.decode(path, Limits())
    process = psutil.Process(pool._idle[0]._process.pid)
    before = process.cpu_times()
    time.sleep(1.0)
    after = process.cpu_times()
    assert after.user + after.system - before.user - before.system < 0.1


@pytest.mark.parametrize("header", [b"H", struct.pack("<IIQ", 0, 1, 5), struct.pack("<IIQ", 2**32 - 1, 1, 2**63)])
def test_an_answer_that_no_decoder_gives_costs_one_recording(pool, tmp_path, monkeypatch, header):
    path = write(tmp_path, "a")
    with monkeypatch.context() as patched:
        patched.setattr(
            decoder_pool._Decoder, "_receive", lambda self: (b"H", header) if self.is_ready else (b"R", b"")
        )
        with pytest.raises(UnusableFile, match="ends the process that decodes it"):
            pool.decode(path, Limits())
    assert np.array_equal(pool.decode(path, Limits()).waveform, SAMPLES)


def test_a_process_that_was_ended_from_outside_while_idle_is_replaced(pool, tmp_path):
    path = write(tmp_path, "a")
    pool.decode(path, Limits())
    process = pool._idle[0]._process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(pool.decode(path, Limits()).waveform) == 16_000


def test_an_answer_that_was_not_read_to_its_end_is_never_taken_for_the_next(pool, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    path = write(tmp_path, "a")
    with monkeypatch.context() as patched:
        patched.setattr(decoder_pool._Decoder, "_read", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pool.decode(path, Limits())
    assert not pool._idle
    assert np.array_equal(pool.decode(path, Limits()).waveform, SAMPLES)


def test_many_threads_share_a_few_processes(pool, tmp_path):
    paths = [write(tmp_path, f"{number}") for number in range(20)]
    with ThreadPoolExecutor(8) as executor:
        found = list(executor.map(lambda path: pool.decode(path, Limits()), paths))
    assert all(np.array_equal(each.waveform, SAMPLES) for each in found)
    assert 1 <= len(pool._idle) <= 2


def test_an_interpreter_that_cannot_start_is_no_fault_of_the_recording(tmp_path):
    broken = DecoderPool(1, "import no_such_module")
    with pytest.raises(AudioError, match=r"^No process to decode audio can be started: it ended with exit code 0x1"):
        broken.decode(write(tmp_path, "a"), Limits())


def test_processes_that_nobody_needs_end(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(decoder_pool, "_IDLE_SECONDS", 0.0)
    pool.decode(write(tmp_path, "a"), Limits())
    watcher = pool._watcher
    watcher.join(timeout=30)
    assert (pool._idle, pool._watcher, watcher.is_alive()) == ([], None, False)


def test_a_scan_names_what_each_recording_did(tmp_path, monkeypatch, pool):
    monkeypatch.setattr(decoding, "_pool", pool)
    names = ["a", "segfault", "b", "hang", "c"]
    paths = [str(write(tmp_path, name)) for name in names]
    limited = Preprocessing(16_000, None, 30.0, 30.0, Limits(timeout_seconds=0.5))
    scan = scan_recordings(pd.DataFrame({"recording": names, "path": paths}), limited, min_seconds=0.1, workers=3)
    assert scan["problem"].tolist() == [
        "",
        "ends the process that decodes it (SIGSEGV)",
        "",
        "takes longer than 0.5 s to be decoded",
        "",
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_ahead_names_a_recording_that_crashes_and_goes_on_elsewhere(tmp_path, monkeypatch, pool, workers):
    monkeypatch.setattr(decoding, "_pool", pool)
    pool.decode(write(tmp_path, "before"), Limits())  # workers are forked from a process that has decoded
    names = ["a", "segfault", "b"]
    paths = [write(tmp_path, name) for name in names]

    def read(rows):
        try:
            return torch.tensor([len(decoding.decode(paths[row]).waveform) for row in rows])
        except UnusableFile as error:
            return error.problem

    found = list(read_ahead(read, [[0], [1], [2]], recordings=names, workers=workers))
    assert [found[0].item(), found[1], found[2].item()] == [
        16_000,
        "ends the process that decodes it (SIGSEGV)",
        16_000,
    ]


SCRIPT = """
import os, signal, sys, threading, time
from pathlib import Path
from faulty_decoder import PROGRAM
from lalia.data.decoder_pool import DecoderPool
from lalia.limits import Limits
pool = DecoderPool(2, PROGRAM)
pool.decode(sys.argv[1], Limits())
threading.Thread(target=lambda: pool.decode(sys.argv[2], Limits()), daemon=True).start()
while not pool._busy:
    time.sleep(0.01)
time.sleep(0.3)
# a shell starts what it runs in the background with Ctrl-C ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    print("busy", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print(len(pool.decode(sys.argv[1], Limits()).waveform), flush=True)
"""


def start_script(tmp_path: Path) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """Start a program that has decoded one file, and is in the middle of another that hangs."""
    files = [str(write(tmp_path, name)) for name in ("a", "hang")]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *files],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    assert process.stdout.readline() == "busy\n"
    return process, psutil.Process(process.pid).children()


def test_processes_end_with_a_parent_that_is_killed(tmp_path):
    process, decoders = start_script(tmp_path)
    process.kill()
    process.communicate()
    assert decoders
    assert not psutil.wait_procs(decoders, timeout=20)[1]


def test_ctrl_c_is_for_the_parent_alone(tmp_path):
    process, decoders = start_script(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert out == "16000\n"
    assert not psutil.wait_procs(decoders, timeout=20)[1]


def test_a_worker_that_is_killed_leaves_no_process_behind(tmp_path, monkeypatch, pool):
    monkeypatch.setattr(decoding, "_pool", pool)
    pool.decode(write(tmp_path, "before"), Limits())
    path = write(tmp_path, "a")
    before = {process.pid for process in children()}

    def read(rows):
        decoding.decode(path)
        if rows == [1]:
            (tmp_path / "decoders").write_text(" ".join(str(each.pid) for each in children()))
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.tensor(rows)

    with pytest.raises(AudioError, match="A process that reads ahead died"):
        list(read_ahead(read, [[0], [1]], recordings=["a", "b"], workers=1))
    decoders = [int(each) for each in (tmp_path / "decoders").read_text().split()]
    assert decoders
    deadline = time.monotonic() + 20
    while any(psutil.pid_exists(each) for each in decoders) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(psutil.pid_exists(each) for each in decoders)
    # that of this process is none of theirs
    assert {pool._idle[0]._process.pid} <= before
    assert len(pool.decode(path, Limits()).waveform) == 16_000


def test_the_time_in_which_a_program_was_stopped_does_not_count(pool, tmp_path, monkeypatch):
    clock = iter(range(0, 10**9, 3600))
    monkeypatch.setattr(decoder_pool.time, "monotonic", lambda: next(clock))
    for name in ("a", "b"):
        assert len(pool.decode(write(tmp_path, name), Limits(timeout_seconds=20)).waveform) == 16_000
