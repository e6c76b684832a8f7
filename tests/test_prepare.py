"""What is read of the recordings before training: once, and of very many only some to look at them."""

import resource
import subprocess
import sys
import time

import pytest

from big_corpus import TRAITS, write_big_corpus
from lalia import prepare as preparing
from lalia.config import load_config
from lalia.data import scan_memory
from lalia.prepare import READ_AT_MOST, SAMPLE_SIZE, describe_flow, prepare
from lalia.progress import Progress
from toy_run import quick_settings, write_toy_corpus


class Counting(Progress):
    """Counts what is decoded."""

    def __init__(self):
        self.decoded = 0

    def advance(self, *args, **kwargs):
        self.decoded += 1


@pytest.fixture
def corpus(tmp_path):
    return write_toy_corpus(tmp_path / "corpus")


@pytest.fixture
def settled(monkeypatch):
    """Files count as settled as soon as they are written."""
    monkeypatch.setattr(scan_memory, "SETTLED_SECONDS", -3_600.0)


def decode(settings, **more):
    counting = Counting()
    prepared = prepare(settings, counting, **more)
    return prepared, counting.decoded


def test_recordings_that_were_read_before_are_not_decoded_again(corpus, tmp_path, settled):
    settings = quick_settings(corpus, tmp_path / "runs")
    first, decoded = decode(settings)
    again, decoded_again = decode(settings)
    assert (decoded, decoded_again) == (16, 0)
    drop = ["log_mel"]
    assert first.table.recordings.drop(columns=drop).equals(again.table.recordings.drop(columns=drop))
    assert first.table.recordings.dtypes.equals(again.table.recordings.dtypes)
    pairs = zip(first.table.recordings["log_mel"], again.table.recordings["log_mel"], strict=True)
    assert all((one == other).all() and one.dtype == other.dtype for one, other in pairs)
    assert first.data_hash == again.data_hash


def test_a_recording_that_has_changed_is_decoded_again(corpus, tmp_path, settled):
    settings = quick_settings(corpus, tmp_path / "runs")
    first, _ = decode(settings)
    one, other = sorted((corpus / "audio").iterdir())[:2]
    one.write_bytes(other.read_bytes())
    again, decoded = decode(settings)
    assert decoded == 1
    assert again.data_hash != first.data_hash
    assert again.table.recordings["sha256"][0] == again.table.recordings["sha256"][1]


def test_nothing_is_kept_where_the_cache_is_to_hold_nothing(corpus, tmp_path, settled):
    settings = quick_settings(corpus, tmp_path / "runs", "cache.max_gb=0")
    assert [decode(settings)[1] for _ in range(2)] == [16, 16]


def test_of_too_many_recordings_some_are_read_and_the_rest_is_said(corpus, tmp_path, settled, monkeypatch):
    monkeypatch.setattr(preparing, "SAMPLE_SIZE", 6)
    settings = quick_settings(corpus, tmp_path / "runs")
    whole, _ = decode(replace_cache(settings))
    looked_at, decoded = decode(replace_cache(settings), most_read=15)
    assert decoded == len(looked_at.read.table.recordings) == 6
    assert len(looked_at.table.recordings) == 16
    assert looked_at.split.sha256 == whole.split.sha256
    assert describe_flow(looked_at) == describe_flow(whole)
    assert "6 of 16 recordings was read" in looked_at.warnings[-1]
    assert decode(replace_cache(settings), most_read=16)[1] == 16


def replace_cache(settings):
    return settings.model_copy(update={"cache": settings.cache.model_copy(update={"max_gb": 0.0})})


def test_what_is_unusable_among_them_is_dropped_from_the_whole(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "SAMPLE_SIZE", 12)
    for file in sorted((corpus / "audio").iterdir())[:8]:
        file.write_bytes(b"no sound")
    settings = quick_settings(
        corpus, tmp_path / "runs", "data.unreadable=drop", "split={train: 1, validation: 0, test: 0}"
    )
    looked_at, _ = decode(settings, most_read=15)
    dropped = [each for step in looked_at.table.flow.dropped for each in step.recordings]
    assert 0 < len(dropped) <= 8
    assert len(looked_at.table.recordings) == 16 - len(dropped)
    assert len(looked_at.read.table.recordings) == 12 - len(dropped)


# --- very many --------------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_recordings_are_looked_at_in_little_time(tmp_path):
    settings = load_config(write_big_corpus(tmp_path / "corpus", 100_000))
    begun = time.process_time()
    prepared, decoded = decode(settings, most_read=READ_AT_MOST)
    flow = describe_flow(prepared)
    assert decoded == SAMPLE_SIZE
    assert flow["kept"] == {"recordings": 100_000, "speakers": 5_000}
    assert sum(part["recordings"] for part in flow["parts"].values()) == 100_000
    assert prepared.table.traits == TRAITS
    # a tenth of what a million may take, twice over
    assert time.process_time() - begun < 24


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_check_takes_two_minutes_and_four_gibibytes_for_a_million_recordings(tmp_path, form):
    run = write_big_corpus(tmp_path / "corpus", 1_000_000, form)
    begun, before = time.monotonic(), _seconds_of_processes()
    done = subprocess.run(
        [sys.executable, "-m", "lalia", "check", run], capture_output=True, text=True, timeout=500, check=True
    )
    seconds = _seconds_of_processes() - before
    peak_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{form}: {time.monotonic() - begun:.1f} s, {seconds:.1f} s of processors, {peak_gib:.2f} GiB")
    assert "1000000" in done.stdout
    assert done.stdout.endswith("Ready to train.\n")
    # of processors: other programs on the machine do not count
    assert seconds < 120
    assert peak_gib < 4


def _seconds_of_processes():
    """Return the processor time of processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
