"""Memory that runs out in training: a stand-in raises what torch would, from a size on."""

from dataclasses import replace

import pytest
import soundfile
import torch

from lalia.data.audio import scan_recordings
from lalia.data.dataset import RecordingDataset
from lalia.errors import Stopped, TrainingError
from lalia.model.adapt import adapt_frozen, adapt_full, adapt_partial
from lalia.model.inputs import KnownFrames, KnownVectors, Windows
from lalia.progress import Progress
from lalia.training.cache import ActivationStore
from lalia.training.loop import fit
from lalia.training.reader import InputReader
from toy_data import make_table
from toy_training import SignalAt, make_sets, make_trained_rater, settings, without_dropout

GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to")

# plain gradient descent: after one step the weights tell the gradient
ONE_STEP = settings(
    epochs=1, batch_seconds=50, optimizer="sgd", learning_rate=1.0, encoder_learning_rate=1.0, weight_decay=0.0,
    clip_norm=None,
)  # fmt: skip


def last_block(encoder):
    return adapt_partial(encoder, last=1)


class Said(Progress):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture
def table(tmp_path):
    return make_table(tmp_path)


def scanned(table, preprocessing):
    scan = scan_recordings(table.recordings[["recording", "path"]], preprocessing, min_seconds=0.025)
    kept = table.recordings.drop(columns="duration_seconds")
    return replace(table, recordings=kept).add_columns(scan[["recording", "duration_seconds", "sha256"]])


def n_recordings(inputs):
    if isinstance(inputs, KnownVectors):
        return len(next(iter(inputs.vectors.values())))
    return int(inputs.recording_of_window[-1]) + 1


def limit(rater, most, error=GPU):
    """Let the rater raise in training after the forward pass of more than ``most`` recordings; return the sizes."""
    sizes = []

    def check(rater, given, raw):
        if rater.training:
            sizes.append((n_recordings(given[0]), type(given[0])))
            if sizes[-1][0] > most:
                raise error

    rater.register_forward_hook(check)
    return sizes


def sizes_in(seen):
    return [size for size, _ in seen]


@pytest.mark.parametrize(
    ("adapt", "kind"), [(adapt_full, Windows), (last_block, KnownFrames), (adapt_frozen, KnownVectors)]
)
@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_repeated_step_has_the_gradients_of_the_whole_batch(table, tmp_path, adapt, kind, accumulate):
    table = scanned(table, make_trained_rater().preprocessing)
    options = ONE_STEP if accumulate == 1 else ONE_STEP.model_copy(update={"batch_seconds": 1.0, "accumulate": 3})
    results, seen = [], []
    for most in (99, 1):
        rater = without_dropout(make_trained_rater(adapt))
        reader = InputReader(rater, None if kind is Windows else ActivationStore(tmp_path / "cache"))
        seen.append(limit(rater, most))
        results.append(fit(rater, *make_sets(table, rater), options, seed=0, reader=reader))
    whole, repeated = results
    assert {kind for _, kind in seen[0] + seen[1]} == {kind}
    assert sizes_in(seen[0]) == ([6] if accumulate == 1 else [2, 2, 2])
    # what went wrong is begun again from the start of the step
    assert sizes_in(seen[1]) == ([6, 2, 1, 1, 1, 1, 1, 1] if accumulate == 1 else [2, 1, 1, 1, 1, 1, 1])
    for name, value in whole.last.items():
        torch.testing.assert_close(repeated.last[name], value, atol=1e-6, rtol=0)
    assert repeated.history[0]["train_loss"] == pytest.approx(whole.history[0]["train_loss"], rel=1e-6)


@pytest.mark.parametrize("error", [GPU, CPU, RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")])
def test_less_is_computed_at_once_for_the_rest_of_the_run_and_that_is_told(table, error):
    rater = make_trained_rater()
    seen, said = limit(rater, 3, error), Said()
    options = settings(epochs=2, batch_seconds=50)
    result = fit(rater, *make_sets(table, rater), options, seed=0, progress=said)
    seconds = sum(table.recordings["duration_seconds"][:6])
    assert sizes_in(seen)[0] == 6
    assert max(sizes_in(seen)[1:]) <= 3
    assert [row["batch_seconds"] for row in result.history] == [seconds / 2] * 2
    assert result.batch_seconds == seconds / 2
    assert said.lines[0] == (
        f"Memory ran out in epoch 1, step 1: from here on at most {seconds / 2:.1f} s of audio are computed at once. "
        "The recordings of a step stay the same."
    )


def test_enough_memory_records_the_batch_of_the_settings(table):
    rater = make_trained_rater()
    result = fit(rater, *make_sets(table, rater), settings(epochs=1, batch_seconds=50), seed=0)
    assert (result.batch_seconds, result.history[0]["batch_seconds"]) == (50, 50)


def test_the_repeated_step_draws_the_same_random_numbers(table, monkeypatch):
    seconds = sum(table.recordings["duration_seconds"][:6])
    results = []
    for most, at_once in ((3, 16.0), (99, seconds / 2)):
        monkeypatch.setattr("lalia.training.loop.CPU_PIECE_SECONDS", at_once)
        rater = make_trained_rater()  # with dropout
        limit(rater, most)
        results.append(fit(rater, *make_sets(table, rater), settings(batch_seconds=50), seed=0))
    for name, value in results[0].last.items():
        assert torch.equal(results[1].last[name], value), name


def test_a_resumed_training_computes_as_little_at_once(table, tmp_path):
    def train_once(folder, progress=None, resume=False):
        rater = make_trained_rater()
        seen = limit(rater, 2)
        return seen, fit(
            rater,
            *make_sets(table, rater),
            settings(batch_seconds=50),
            seed=0,
            checkpoints=folder,
            progress=progress,
            resume=resume,
        )

    _, whole = train_once(tmp_path / "whole")
    with pytest.raises(Stopped):
        train_once(tmp_path / "stopped", SignalAt(2))
    seen, resumed = train_once(tmp_path / "stopped", resume=True)
    assert max(sizes_in(seen)) <= 2
    assert resumed.batch_seconds == whole.batch_seconds
    assert all(torch.equal(value, resumed.last[name]) for name, value in whole.last.items())


def test_memory_that_is_short_for_one_recording_stops_with_advice(table):
    rater = make_trained_rater()
    limit(rater, 0)
    with pytest.raises(
        TrainingError,
        match=r"Memory ran out in epoch 1, step 1, with recording 'r\d' alone \(0\.\d s\)\. Lower audio.window_seconds",
    ):
        fit(rater, *make_sets(table, rater), settings(batch_seconds=50), seed=0)


@pytest.mark.parametrize("adapt", [adapt_full, last_block])
def test_fewer_windows_of_a_long_recording_are_encoded_at_once_first(table, tmp_path, adapt):
    soundfile.write(
        tmp_path / "r0.wav", torch.randn(4 * 16_000, generator=torch.Generator().manual_seed(0)) / 9, 16_000
    )
    rater = make_trained_rater(adapt, window_seconds=0.5)
    table = scanned(table, rater.preprocessing)
    alone = table.select([True] + [False] * 7)
    train, validation = (RecordingDataset(each, rater.preprocessing) for each in (alone, table))
    passes = []

    def check(block, given):
        passes.append(len(given[0]))
        if rater.training and len(given[0]) > 2:
            raise GPU

    rater.encoder.blocks[1].register_forward_pre_hook(check)
    reader = InputReader(rater, None if adapt is adapt_full else ActivationStore(tmp_path / "cache"))
    result = fit(rater, train, validation, settings(epochs=1, batch_seconds=50), seed=0, reader=reader)
    assert passes[:2] == [8, 4]
    assert passes[2:6] == [2, 2, 2, 2]
    assert result.batch_seconds == 1.0


def test_other_errors_are_not_taken_for_a_lack_of_memory(table):
    rater = make_trained_rater()
    seen = limit(rater, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught:
        fit(rater, *make_sets(table, rater), settings(batch_seconds=50), seed=0)
    assert type(caught.value) is RuntimeError
    assert len(seen) == 1


def test_a_lack_of_memory_in_validation_does_not_change_training(table, tmp_path):
    def raise_in_validation(rater, given):
        if not rater.training:
            raise GPU

    rater = make_trained_rater()
    seen = limit(rater, 99)
    handle = rater.register_forward_pre_hook(raise_in_validation)
    sets, options = make_sets(table, rater), settings(epochs=2, batch_seconds=50)
    with pytest.raises(TrainingError, match=r"Memory ran out in validation\. Lower train\.batch_seconds\.") as caught:
        fit(rater, *sets, options, seed=0, checkpoints=tmp_path / "c")
    assert caught.value.__cause__ is GPU
    assert sizes_in(seen) == [6]
    handle.remove()


def test_a_lack_of_memory_in_the_step_of_the_optimizer_stops_with_advice(table, monkeypatch):
    def fail(self, closure=None):
        raise GPU

    monkeypatch.setattr(torch.optim.AdamW, "step", fail)
    rater = make_trained_rater()
    with pytest.raises(
        TrainingError, match=r"Memory ran out in the step of the optimiser\. Lower audio.window_seconds"
    ):
        fit(rater, *make_sets(table, rater), settings(batch_seconds=50), seed=0)
