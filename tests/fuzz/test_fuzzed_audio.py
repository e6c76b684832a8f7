"""Damaged audio files: 500 in the default suite; ``make fuzz`` takes 20,000 with a new seed, which it prints."""

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from secrets import randbits

import numpy as np
import psutil
import pytest
from mutants import make_mutants

from lalia.data import decoding
from lalia.data.audio import Preprocessing, load_windows
from lalia.data.dataset import Item, collate
from lalia.data.decoder_pool import DecoderPool
from lalia.errors import AudioError
from lalia.limits import Limits

COUNT = int(os.environ.get("LALIA_FUZZ", "500"))
SEED = int(os.environ.get("LALIA_FUZZ_SEED", "1" if COUNT <= 500 else str(randbits(31))))
LIMITS = Limits(max_seconds=600, timeout_seconds=20, memory_gb=0.3)
PREPROCESSING = Preprocessing(rate_hz=16_000, trim_db=60.0, window_seconds=30.0, hop_seconds=30.0, limits=LIMITS)
# what a process needs for itself, PyAV and its libraries among it
OWN_GB = 0.25


def peak_gb(process: psutil.Process) -> float:
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0.0
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e6


@pytest.mark.timeout(3600)
def test_damaged_audio_is_read_or_refused_and_harms_nothing(tmp_path, monkeypatch):
    pool = DecoderPool()
    monkeypatch.setattr(decoding, "_pool", pool)
    peaks: list[float] = []

    def check(mutant: tuple[str, bytes]) -> str:
        name, content = mutant
        path = tmp_path / name
        path.write_bytes(content)
        begun = time.monotonic()
        try:
            windows = load_windows(path, PREPROCESSING)
        except AudioError as error:
            assert str(error).startswith(f"'{name}' "), error
            return str(error).removeprefix(f"'{name}' ")
        finally:
            seconds = time.monotonic() - begun
            path.unlink()
            # a machine under load is slower, a hang is ended by the limit
            assert seconds < LIMITS.timeout_seconds + 60, f"{name} took {seconds:.0f} s (seed {SEED})"
        batch = collate([Item(0, windows, np.zeros(1, np.float32))])
        assert batch.waveforms.isfinite().all(), f"{name} (seed {SEED})"
        assert batch.waveforms.shape[1] > 0
        return ""

    print(f"{COUNT} mutants, seed {SEED}")
    before = psutil.Process().memory_info().rss
    with ThreadPoolExecutor(4) as executor:
        mutants = make_mutants(COUNT, SEED)
        outcomes: list[str] = []
        # not all at once: they would all be in memory
        while some := list(islice(mutants, 500)):
            outcomes += executor.map(check, some)
        peaks = [peak_gb(decoder._process) for decoder in pool._idle]
    pool.close()
    refused = [outcome for outcome in outcomes if outcome]
    crashed = [outcome for outcome in refused if outcome.startswith("ends the process")]
    slow = [outcome for outcome in refused if outcome.startswith("takes longer")]
    print(f"{COUNT - len(refused)} read, {len(refused)} refused, {len(crashed)} decoders crashed, {len(slow)} hung;")
    print(f"peak of a decoder {max(peaks):.2f} GB; this process grew by {_grown_gb(before):.2f} GB")
    assert 0 < len(refused) < COUNT
    assert max(peaks) < OWN_GB + LIMITS.memory_gb
    assert _grown_gb(before) < 1.0


def _grown_gb(before: int) -> float:
    return (psutil.Process().memory_info().rss - before) / 1e9
