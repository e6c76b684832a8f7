import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from lalia.data.audio import Preprocessing, scan_recordings
from lalia.data.augment import Augmentation, Step
from lalia.data.dataset import Batch, BucketedBatches, Item, RecordingDataset, collate, load_batches
from lalia.data.table import Flow, RecordingTable
from lalia.errors import AudioError, TableError
from lalia.scale import Scale

RATE_HZ = 4_000
WINDOWS_OF_2_S = Preprocessing(rate_hz=RATE_HZ, trim_db=None, window_seconds=2.0, hop_seconds=2.0)


def make_table(folder: Path, seconds: dict[str, float]) -> RecordingTable:
    """Write a file of noise for each recording and return their table, scanned."""
    generator = np.random.default_rng(0)
    ids = sorted(seconds)
    paths = [str(folder / f"{name}.wav") for name in ids]
    for name, path in zip(ids, paths, strict=True):
        soundfile.write(path, generator.uniform(-0.5, 0.5, round(seconds[name] * RATE_HZ)), RATE_HZ, subtype="FLOAT")
    recordings = pd.DataFrame({"recording": ids, "speaker": ids, "path": paths, "date": None, "task": None})
    ratings = pd.DataFrame({"hoarse": np.arange(len(ids)) % 4 + 1.0, "slow": np.nan})
    table = RecordingTable(
        recordings=recordings,
        ratings=ratings,
        rater_ratings=pd.DataFrame({"recording": [], "rater": [], "trait": [], "rating": []}),
        scale=Scale((1.0, 2.0, 3.0, 4.0), present_from=2.0),
        flow=Flow(len(ids), len(ids), (), pd.DataFrame(), ()),
    )
    return table.add_columns(scan_recordings(recordings, WINDOWS_OF_2_S, min_seconds=0.1).drop(columns="problem"))


@pytest.fixture
def dataset(tmp_path) -> RecordingDataset:
    lengths = {f"r{number:02d}": 0.2 + 0.3 * number for number in range(12)}
    return RecordingDataset(make_table(tmp_path, lengths), WINDOWS_OF_2_S)


def equal(first: Batch, second: Batch) -> bool:
    return all(
        torch.equal(getattr(first, name).nan_to_num(-1), getattr(second, name).nan_to_num(-1))
        for name in ("waveforms", "n_samples", "recording_of_window", "ratings", "rows")
    )


# --- items and batches ------------------------------------------------------------------------------------------------


def test_an_item_holds_the_windows_and_ratings_of_its_recording(tmp_path):
    dataset = RecordingDataset(make_table(tmp_path, {"a": 0.5, "b": 3.5}), WINDOWS_OF_2_S)
    item = dataset[1]
    assert item.row == 1
    assert [len(window) for window in item.windows] == [8_000, 6_000]
    assert item.ratings.dtype == np.float32
    assert np.array_equal(item.ratings, [2.0, np.nan], equal_nan=True)
    assert (len(dataset), dataset.recordings, dataset.seconds) == (2, ["a", "b"], [0.5, 3.5])


def test_a_table_that_was_not_scanned_is_refused(tmp_path):
    table = make_table(tmp_path, {"a": 0.5})
    del table.recordings["duration_seconds"]
    with pytest.raises(TableError, match=r"lacks the column 'duration_seconds'. Add the columns of scan_recordings"):
        RecordingDataset(table, WINDOWS_OF_2_S)


def test_an_unusable_file_names_its_recording(tmp_path, dataset):
    (tmp_path / "r03.wav").unlink()
    with pytest.raises(AudioError, match=r"^Recording 'r03': 'r03.wav' does not exist or is not a file. Check"):
        dataset[3]


def test_a_batch_pads_with_zeros_and_keeps_count_of_the_real_samples():
    items = [
        Item(4, [np.ones(3, np.float32), np.ones(1, np.float32)], np.array([1.0, np.nan], np.float32)),
        Item(2, [np.full(2, 5, np.float32)], np.array([np.nan, 3.0], np.float32)),
    ]
    batch = collate(items)
    assert batch.waveforms.tolist() == [[1, 1, 1], [1, 0, 0], [5, 5, 0]]
    assert batch.n_samples.tolist() == [3, 1, 2]
    assert batch.recording_of_window.tolist() == [0, 0, 1]
    assert batch.ratings.isnan().tolist() == [[False, True], [True, False]]
    assert (batch.rows.tolist(), batch.n_recordings) == ([4, 2], 2)
    assert {tensor.dtype for tensor in (batch.n_samples, batch.recording_of_window, batch.rows)} == {torch.int64}
    assert (batch.waveforms.dtype, batch.ratings.dtype) == (torch.float32, torch.float32)


def test_a_batch_moves_to_a_device_whole():
    batch = collate([Item(0, [np.ones(3, np.float32)], np.array([1.0], np.float32))]).to("meta", non_blocking=True)
    tensors = (batch.waveforms, batch.n_samples, batch.recording_of_window, batch.ratings, batch.rows)
    assert {tensor.device.type for tensor in tensors} == {"meta"}


# --- length-bucketed batches ------------------------------------------------------------------------------------------

IDS = [f"r{number:03d}" for number in range(400)]
SECONDS = np.random.default_rng(1).uniform(1.0, 15.0, len(IDS)).tolist()


def batches_of(
    ids: list[str] = IDS, seconds: list[float] = SECONDS, *, seed: int = 0, epoch: int = 1, shuffle: bool = True
) -> list[list[int]]:
    batches = BucketedBatches(ids, seconds, batch_seconds=120.0, seed=seed, shuffle=shuffle)
    batches.set_epoch(epoch)
    assert len(batches) == len(list(batches))
    return list(batches)


def padding(batches: list[list[int]]) -> float:
    """Return the share of the padded seconds that is padding."""
    padded = sum(len(batch) * max(SECONDS[row] for row in batch) for batch in batches)
    return 1 - sum(SECONDS) / padded


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_each_recording_is_in_one_batch_and_no_batch_is_too_long(shuffle, epoch):
    batches = batches_of(epoch=epoch, shuffle=shuffle)
    assert sorted(row for batch in batches for row in batch) == list(range(len(IDS)))
    assert max(len(batch) * max(SECONDS[row] for row in batch) for batch in batches) <= 120.0


def test_a_recording_longer_than_a_batch_is_a_batch_alone():
    batches = BucketedBatches(["a", "b", "c"], [5.0, 500.0, 5.0], batch_seconds=20.0, seed=0, shuffle=True)
    assert sorted(sorted(batch) for batch in batches) == [[0, 2], [1]]


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_window_of_a_recording_counts(shuffle):
    preprocessing = Preprocessing(rate_hz=16_000, trim_db=None, window_seconds=30.0, hop_seconds=30.0)
    seconds = np.random.default_rng(2).uniform(1.0, 100.0, 100).tolist()
    batches = BucketedBatches(
        IDS[:100], seconds, batch_seconds=130.0, seed=0, shuffle=shuffle, preprocessing=preprocessing
    )
    for batch in batches:
        n_windows = sum(int(np.ceil(seconds[row] / 30)) for row in batch)
        longest = max(min(seconds[row], 30.0) for row in batch)
        assert n_windows * longest <= 130.0 + 1e-3


def test_sorting_by_length_more_than_halves_the_padding():
    order = np.random.default_rng(0).permutation(len(IDS))
    unsorted_batches = [order[start : start + 8].tolist() for start in range(0, len(order), 8)]  # 8 x 15 s = 120 s
    assert padding(batches_of()) < padding(unsorted_batches) / 2
    assert padding(batches_of(shuffle=False)) < padding(unsorted_batches) / 4


def test_batches_depend_on_the_seed_and_the_epoch_alone():
    assert batches_of(seed=0, epoch=1) == batches_of(seed=0, epoch=1)
    assert batches_of(seed=0, epoch=1) != batches_of(seed=1, epoch=1)
    assert batches_of(seed=0, epoch=1) != batches_of(seed=0, epoch=2)


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_do_not_depend_on_the_order_of_the_rows(shuffle):
    order = np.random.default_rng(3).permutation(len(IDS)).tolist()
    ids, seconds = [IDS[row] for row in order], [SECONDS[row] for row in order]
    moved = batches_of(ids, seconds, shuffle=shuffle)
    assert [[ids[row] for row in batch] for batch in moved] == [
        [IDS[row] for row in batch] for batch in batches_of(shuffle=shuffle)
    ]


def test_every_epoch_puts_other_recordings_together():
    def pairs(epoch: int) -> set[tuple[int, int]]:
        return {(a, b) for batch in batches_of(epoch=epoch) for a in batch for b in batch if a < b}

    assert len(pairs(1) & pairs(2)) < len(pairs(1)) / 2


def test_the_order_is_that_of_length_without_shuffling():
    batches = batches_of(shuffle=False)
    lengths = [SECONDS[row] for batch in batches for row in batch]
    assert lengths == sorted(SECONDS, reverse=True)
    assert batches == batches_of(shuffle=False, epoch=2)


def test_no_recordings_make_no_batches():
    assert list(BucketedBatches([], [], batch_seconds=10.0, seed=0, shuffle=True)) == []


# --- loading ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def batches(dataset) -> BucketedBatches:
    return BucketedBatches(
        dataset.recordings,
        dataset.seconds,
        batch_seconds=8.0,
        seed=0,
        shuffle=True,
        preprocessing=dataset.preprocessing,
    )


def test_batches_hold_at_most_batch_seconds(dataset, batches):
    loaded = list(load_batches(dataset, batches))
    assert len(loaded) == len(batches) > 2
    assert max(batch.waveforms.numel() for batch in loaded) <= 8.0 * RATE_HZ
    assert sorted(row for batch in loaded for row in batch.rows.tolist()) == list(range(12))


def test_batches_are_the_same_for_any_number_of_workers_again_and_again(dataset, batches):
    alone = list(load_batches(dataset, batches))
    for _ in range(2):
        torch.randn(200, 200) @ torch.randn(200, 200)  # torch's own threads run before the workers are started
        together = list(load_batches(dataset, batches, workers=2))
        assert len(together) == len(alone)
        assert all(equal(first, second) for first, second in zip(alone, together, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_while_loading_names_the_recording(tmp_path, dataset, batches, workers):
    (tmp_path / "r03.wav").write_text("not audio " * 100)
    with pytest.raises(AudioError, match=r"^Recording 'r03': 'r03.wav' cannot be decoded .*data.exclude\.$") as caught:
        list(load_batches(dataset, batches, workers=workers))
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_leaves_the_random_generator_of_torch_alone(dataset, batches, workers):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    list(load_batches(dataset, batches, workers=workers))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_workers_leave_signals_to_the_training_loop(dataset, batches, signal_number):
    loading = load_batches(dataset, batches, workers=2)
    loaded = [next(loading), next(loading)]  # one from each worker: both are up
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal_number)
    loaded.extend(loading)
    assert len(loaded) == len(batches)
    assert not multiprocessing.active_children()


# --- augmentation -----------------------------------------------------------------------------------------------------

NOISE = Step("noise", options={"snr_db": (10.0, 10.0), "color": "white"})
MIX = Step("mix", options={"snr_db": (0.0, 0.0)})


def augmented(dataset: RecordingDataset, folder: Path, *steps: Step, **options: int) -> RecordingDataset:
    table = make_table(folder, dict(zip(dataset.recordings, dataset.seconds, strict=True)))
    return RecordingDataset(table, dataset.preprocessing, Augmentation(steps, seed=1, **options))


def test_without_augmentation_every_epoch_is_the_same(dataset):
    before = collate([dataset[11]])
    dataset.set_epoch(5)
    assert equal(before, collate([dataset[11]]))


def test_a_recording_is_augmented_whole_before_it_is_cut_into_windows(tmp_path, dataset):
    noisy = augmented(dataset, tmp_path, NOISE)
    plain, heard = dataset[11].windows, noisy[11].windows
    assert [len(window) for window in heard] == [len(window) for window in plain] == [8_000, 6_000]
    whole = Augmentation((NOISE,), seed=1).apply(np.concatenate(plain), RATE_HZ, "r11", 0)
    assert np.array_equal(np.concatenate(heard), whole)
    slower = augmented(dataset, tmp_path, Step("speed", options={"factor": (0.5, 0.5)}))
    assert [len(window) for window in slower[11].windows] == [8_000, 8_000, 8_000, 4_000]


@pytest.mark.parametrize("workers", [0, 2])
def test_what_an_epoch_hears_depends_on_no_worker_and_no_batch(tmp_path, dataset, batches, workers):
    noisy = augmented(dataset, tmp_path, NOISE, MIX)
    heard = []
    for epoch in (1, 2, 1):
        noisy.set_epoch(epoch)
        loaded = list(load_batches(noisy, batches, workers=workers))
        alone = [collate([noisy[row] for row in batch]) for batch in batches]
        assert all(equal(first, second) for first, second in zip(loaded, alone, strict=True))
        heard.append(loaded)
    assert all(equal(first, second) for first, second in zip(heard[0], heard[2], strict=True))
    assert not any(equal(first, second) for first, second in zip(heard[0], heard[1], strict=True))


def test_views_come_again_after_as_many_epochs(tmp_path, dataset):
    noisy = augmented(dataset, tmp_path, NOISE, views=2)

    def heard(epoch: int) -> bytes:
        noisy.set_epoch(epoch)
        return noisy[3].windows[0].tobytes()

    assert heard(1) == heard(3) != heard(2) == heard(4)


def test_what_is_mixed_in_is_another_speakers_recording(tmp_path):
    table = make_table(tmp_path, {"a": 1.0, "b": 1.0, "c": 1.0})
    table.recordings["speaker"] = ["one", "one", "two"]
    plain = RecordingDataset(table, WINDOWS_OF_2_S)
    mixed = RecordingDataset(table, WINDOWS_OF_2_S, Augmentation((MIX,), seed=1))

    def correlation(row: int, other: int) -> float:
        added = mixed[row].windows[0] - plain[row].windows[0] * np.vdot(
            mixed[row].windows[0], plain[row].windows[0]
        ) / np.vdot(plain[row].windows[0], plain[row].windows[0])
        spectra = [np.fft.rfft(each) for each in (added, plain[other].windows[0])]
        circular = np.fft.irfft(spectra[0] * spectra[1].conj())
        return float(np.abs(circular).max() / np.linalg.norm(added) / np.linalg.norm(plain[other].windows[0]))

    for epoch in range(5):
        mixed.set_epoch(epoch)
        assert correlation(0, 2) > 0.95
        assert correlation(0, 1) < 0.2
    table.recordings["speaker"] = "one"
    alone = RecordingDataset(table, WINDOWS_OF_2_S, Augmentation((MIX,), seed=1))
    assert np.array_equal(alone[0].windows[0], plain[0].windows[0])


def test_a_mixed_recording_that_cannot_be_read_is_named(tmp_path):
    table = make_table(tmp_path, {"a": 1.0, "b": 1.0})
    mixed = RecordingDataset(table, WINDOWS_OF_2_S, Augmentation((MIX,), seed=1))
    (tmp_path / "b.wav").unlink()
    with pytest.raises(AudioError, match=r"^Recording 'b': 'b.wav' does not exist"):
        mixed[0]
