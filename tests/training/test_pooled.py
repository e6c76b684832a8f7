"""Pooled vectors of all depths: what they are, and which recordings are computed again when something changes."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from lalia.data.audio import Preprocessing, load_waveform, scan_recordings
from lalia.errors import EncoderError, TableError
from lalia.model.encoders.encode import encode
from lalia.training.cache import ActivationStore
from lalia.training.pooled import pooled_depths
from toy_data import make_table
from toy_encoders import make_encoder

PREPROCESSING = Preprocessing(rate_hz=16_000, trim_db=None, window_seconds=30.0, hop_seconds=30.0)


def scanned(table):
    scan = scan_recordings(table.recordings[["recording", "path"]], PREPROCESSING, min_seconds=0.025)
    return replace(
        table, recordings=table.recordings.drop(columns=["duration_seconds", "sha256"], errors="ignore")
    ).add_columns(scan[["recording", "duration_seconds", "sha256"]])


@pytest.fixture
def table(tmp_path):
    return scanned(make_table(tmp_path))


@pytest.fixture
def store(tmp_path):
    return ActivationStore(tmp_path / "cache")


@pytest.fixture
def encoder():
    return make_encoder("wavlm", layers=2)


def windows_through(encoder):
    """Return a list that grows by the number of windows of each forward pass."""
    windows = []
    encoder.register_forward_hook(lambda _, given, __: windows.append(len(given[0])))
    return windows


def frames_of(encoder, table, row):
    waveform = load_waveform(table.recordings["path"][row], PREPROCESSING)
    return encode(encoder, [waveform], depths=[0, 1, 2, "last"])[0]


def test_they_are_mean_max_and_population_deviation_of_the_frames_of_each_depth(encoder, table):
    found = pooled_depths(encoder, table, PREPROCESSING)
    assert found.depths == (0, 1, 2, "last")
    assert found.recordings == tuple(table.recordings["recording"])
    for row in range(len(found.recordings)):
        for place, frames in enumerate(frames_of(encoder, table, row).values()):
            for statistic, expected in {
                "mean": frames.mean(dim=0),
                "max": frames.amax(dim=0),
                "std": frames.std(dim=0, correction=0),
            }.items():
                np.testing.assert_allclose(found.vectors[statistic][row, place], expected, atol=2e-5)


def test_a_long_recording_is_pooled_over_all_its_windows_one_at_a_time(encoder, table):
    short = replace(PREPROCESSING, window_seconds=1.0, hop_seconds=1.0)
    path = table.recordings["path"][0]
    waveform = np.random.default_rng(0).normal(scale=0.1, size=70_000).astype(np.float32)
    soundfile.write(path, waveform, 16_000, subtype="FLOAT")
    table = scanned(table.select(np.arange(8) == 0))
    windows = windows_through(encoder)
    found = pooled_depths(encoder, table, short, batch_seconds=2.0)
    assert windows == [1, 1, 1, 1, 1]
    pieces = [waveform[start:end] for start, end in short.window_bounds(70_000)]
    joined = torch.cat([encoded[1] for encoded in encode(encoder, pieces, depths=[1])])
    np.testing.assert_allclose(found.vectors["std"][0, 1], joined.std(dim=0, correction=0), atol=2e-5)
    np.testing.assert_allclose(found.vectors["max"][0, 1], joined.amax(dim=0), atol=2e-5)
    np.testing.assert_allclose(found.vectors["mean"][0, 1], joined.mean(dim=0), atol=2e-5)


def test_a_second_pass_runs_the_encoder_zero_times_and_gives_the_same_numbers(encoder, table, store):
    first = pooled_depths(encoder, table, PREPROCESSING, store=store)
    windows = windows_through(encoder)
    second = pooled_depths(encoder, table, PREPROCESSING, store=store)
    assert (first.computed, second.computed, windows) == (8, 0, [])
    for statistic, values in first.vectors.items():
        np.testing.assert_array_equal(values, second.vectors[statistic])


def test_vectors_from_the_store_are_near_those_without_one(encoder, table, store):
    exact = pooled_depths(encoder, table, PREPROCESSING).vectors["mean"]
    stored = pooled_depths(encoder, table, PREPROCESSING, store=store).vectors["mean"]
    np.testing.assert_allclose(stored, exact, rtol=2**-10, atol=1e-5)
    assert (stored != exact).any()


def test_a_changed_recording_is_computed_again_and_no_other(encoder, table, store):
    before = pooled_depths(encoder, table, PREPROCESSING, store=store)
    soundfile.write(table.recordings["path"][3], 0.1 * np.ones(8000), 16_000)
    after = pooled_depths(encoder, scanned(table), PREPROCESSING, store=store)
    assert after.computed == 1
    is_equal = (before.vectors["mean"] == after.vectors["mean"]).all(axis=(1, 2))
    assert is_equal.tolist() == [row != 3 for row in range(8)]


def test_a_changed_weight_computes_all_again(encoder, table, store):
    pooled_depths(encoder, table, PREPROCESSING, store=store)
    with torch.no_grad():
        next(encoder.blocks[1].parameters()).mul_(1.1)
    assert pooled_depths(encoder, table, PREPROCESSING, store=store).computed == 8


@pytest.mark.parametrize("change", [{"window_seconds": 20.0, "hop_seconds": 20.0}, {"trim_db": 40.0}])
def test_another_preprocessing_computes_all_again(encoder, table, store, change):
    pooled_depths(encoder, table, PREPROCESSING, store=store)
    assert pooled_depths(encoder, table, replace(PREPROCESSING, **change), store=store).computed == 8


def test_another_storage_type_computes_all_again(encoder, table, store):
    pooled_depths(encoder, table, PREPROCESSING, store=store)
    precise = ActivationStore(store.folder, dtype="float32")
    assert pooled_depths(encoder, table, PREPROCESSING, store=precise).computed == 8


def test_other_ratings_names_and_folders_compute_nothing_again(encoder, table, store, tmp_path):
    pooled_depths(encoder, table, PREPROCESSING, store=store)
    (tmp_path / "elsewhere").mkdir()
    moved = scanned(make_table(tmp_path / "elsewhere"))
    renamed = replace(moved, recordings=moved.recordings.assign(recording=[f"new{row}" for row in range(8)]))
    assert pooled_depths(encoder, renamed, PREPROCESSING, store=store).computed == 0


def test_a_damaged_entry_computes_one_recording_again(encoder, table, store):
    pooled_depths(encoder, table, PREPROCESSING, store=store)
    path = next(store.folder.rglob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-7])
    assert pooled_depths(encoder, table, PREPROCESSING, store=store).computed == 1
    assert pooled_depths(encoder, table, PREPROCESSING, store=store).computed == 0


def test_a_store_without_room_changes_no_number(encoder, table, tmp_path):
    store = ActivationStore(tmp_path / "small", max_gb=3e-6, dtype="float32")
    found = pooled_depths(encoder, table, PREPROCESSING, store=store)
    assert found.computed == 8
    np.testing.assert_array_equal(found.vectors["mean"], pooled_depths(encoder, table, PREPROCESSING).vectors["mean"])


def test_values_that_are_not_finite_are_refused_by_the_recordings_name(encoder, table, store):
    with torch.no_grad():
        next(encoder.blocks[1].parameters()).fill_(torch.nan)
    with pytest.raises(EncoderError, match="gives values for recording 'r[0-7]' that are not finite numbers"):
        pooled_depths(encoder, table, PREPROCESSING, store=store)
    assert store.summary().entries == 0


def test_recordings_that_were_not_scanned_are_refused(encoder, tmp_path):
    with pytest.raises(TableError, match="lacks the column 'sha256'"):
        pooled_depths(encoder, make_table(tmp_path), PREPROCESSING)


# a process that fills a store one recording after the other, slowly enough to be stopped in between
FILLER = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[4:]
from test_pooled import PREPROCESSING, scanned
from toy_data import make_table
from toy_encoders import make_encoder
from lalia.training.cache import ActivationStore
from lalia.training.pooled import pooled_depths
encoder = make_encoder("wavlm", layers=2)
encoder.register_forward_hook(lambda *_: time.sleep(float(sys.argv[3])))
folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
store = ActivationStore(sys.argv[2])
print("ready", flush=True)
print(pooled_depths(encoder, scanned(make_table(folder)), PREPROCESSING, store=store, batch_seconds=0.1).computed)
"""


def start_filling(audio, store, pause):
    here = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-c", FILLER, *map(str, (audio, store.folder, pause, here, here.parent))],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n", process.communicate()
    return process


def test_a_pass_that_was_killed_goes_on_where_it_was(encoder, table, store, tmp_path):
    process = start_filling(tmp_path / "other", store, pause=0.3)
    deadline = time.monotonic() + 60
    while store.summary().entries < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = store.summary().entries
    assert 3 <= done < 8
    found = pooled_depths(encoder, table, PREPROCESSING, store=store)
    assert found.computed == 8 - done
    fresh = pooled_depths(encoder, table, PREPROCESSING, store=ActivationStore(tmp_path / "fresh"))
    np.testing.assert_allclose(found.vectors["mean"], fresh.vectors["mean"], rtol=2**-10, atol=1e-5)


def test_two_passes_at_once_leave_one_whole_store(encoder, table, store, tmp_path):
    processes = [start_filling(tmp_path / f"audio{number}", store, pause=0.02) for number in range(2)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert store.summary().entries == 8
    assert pooled_depths(encoder, table, PREPROCESSING, store=store).computed == 0
