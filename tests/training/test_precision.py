"""16-bit arithmetic, on a CPU."""

import pytest
import torch

from lalia.errors import Stopped, TrainingError
from lalia.model.adapt import adapt_partial
from lalia.training import step
from lalia.training.loop import fit
from lalia.training.part_loss import PartLoss
from lalia.training.precision import make_scaler
from toy_data import make_table
from toy_training import SignalAt, make_sets, make_trained_rater, settings, state_of, without_dropout


@pytest.fixture
def table(tmp_path):
    return make_table(tmp_path)


def last_block(encoder):
    return adapt_partial(encoder, last=1)


def train_with(table, precision, **changes):
    rater = without_dropout(make_trained_rater(last_block))
    return rater, fit(rater, *make_sets(table, rater), settings(precision=precision, **changes), seed=0)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_step_in_16_bits_is_near_that_in_32(table, precision):
    once = {"epochs": 1, "batch_seconds": 50, "optimizer": "sgd", "encoder_learning_rate": 0.01}
    (_, exact), (rater, rounded) = (train_with(table, each, **once) for each in ("float32", precision))
    assert {each.dtype for each in rater.parameters()} == {torch.float32}
    assert rounded.history[0]["train_loss"] == pytest.approx(exact.history[0]["train_loss"], rel=0.02)
    assert rounded.history[0]["train_loss"] != exact.history[0]["train_loss"]
    for name, value in exact.last.items():
        torch.testing.assert_close(rounded.last[name], value, atol=1e-3, rtol=0)


def test_the_scale_is_taken_out_of_the_gradients_before_they_are_clipped(table):
    # gradients 65,536 times too large would all be clipped to the same norm
    once = {"epochs": 1, "batch_seconds": 50, "optimizer": "sgd", "clip_norm": 1e4, "learning_rate": 1e-3}
    (_, exact), (_, rounded) = (train_with(table, each, **once) for each in ("float32", "float16"))
    for name, value in exact.last.items():
        torch.testing.assert_close(rounded.last[name], value, atol=1e-4, rtol=0)


def test_a_step_whose_gradients_overflow_is_left_out_and_the_scale_falls(table, monkeypatch):
    scaler = torch.amp.GradScaler("cpu", init_scale=1e30)
    monkeypatch.setattr(step, "make_scaler", lambda device, precision: scaler)
    rater = make_trained_rater(last_block)
    before = state_of(rater)
    options = settings(precision="float16", epochs=1, batch_seconds=50)
    result = fit(rater, *make_sets(table, rater), options, seed=0)
    assert scaler.get_scale() == pytest.approx(0.5e30)
    assert all(torch.equal(before[name], value) for name, value in result.last.items())


def test_a_loss_that_is_not_a_number_leaves_the_scale_of_float16_as_it_is(table, monkeypatch):
    scaler, losses, taken = torch.amp.GradScaler("cpu", init_scale=64.0), PartLoss.__call__, []

    def broken(part_loss, raw, rows):
        found = losses(part_loss, raw, rows)
        taken.append(raw.requires_grad)
        return found._replace(losses=found.losses * torch.nan) if taken[-1] and sum(taken) % 3 == 0 else found

    monkeypatch.setattr(step, "make_scaler", lambda device, precision: scaler)
    monkeypatch.setattr(PartLoss, "__call__", broken)
    rater = make_trained_rater(last_block)
    result = fit(rater, *make_sets(table, rater), settings(precision="float16", batch_seconds=0.5), seed=0)
    assert sum(row["skipped_steps"] for row in result.history) == sum(taken) // 3 > 2
    assert scaler.get_scale() == 64.0


def test_gradients_that_overflow_unscaled_are_not_the_scales_fault(table, monkeypatch):
    scaler, losses = torch.amp.GradScaler("cpu", init_scale=1.0), PartLoss.__call__

    def broken(part_loss, raw, rows):
        found = losses(part_loss, raw, rows)
        if raw.requires_grad:
            raw.register_hook(lambda gradient: gradient * torch.inf)
        return found

    monkeypatch.setattr(step, "make_scaler", lambda device, precision: scaler)
    monkeypatch.setattr(PartLoss, "__call__", broken)
    rater = make_trained_rater(last_block)
    with pytest.raises(TrainingError, match="was not finite in 5 steps in a row"):
        fit(rater, *make_sets(table, rater), settings(precision="float16", batch_seconds=0.5), seed=0)
    assert scaler.get_scale() == 1.0


def test_nothing_is_scaled_with_other_precisions():
    assert not make_scaler(torch.device("cpu"), "bfloat16").is_enabled()
    assert not make_scaler(torch.device("cpu"), "float32").is_enabled()


def test_a_stopped_training_in_float16_resumes_to_the_same_weights_and_scale(table, tmp_path, monkeypatch):
    # grows after every step, so that a scale that was not kept shows
    def make(device, precision):
        scalers.append(torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=2))
        return scalers[-1]

    scalers = []
    monkeypatch.setattr(step, "make_scaler", make)

    def train_once(folder, progress=None, resume=False):
        rater = make_trained_rater(last_block)
        options = settings(precision="float16", batch_seconds=0.8)
        return fit(
            rater, *make_sets(table, rater), options, seed=0, checkpoints=folder, progress=progress, resume=resume
        )

    whole = train_once(tmp_path / "whole")
    expected = scalers[-1].state_dict()
    assert expected["scale"] > 2.0
    with pytest.raises(Stopped):
        train_once(tmp_path / "stopped", SignalAt(4))
    resumed = train_once(tmp_path / "stopped", resume=True)
    assert scalers[-1].state_dict() == expected
    assert all(torch.equal(value, resumed.last[name]) for name, value in whole.last.items())
