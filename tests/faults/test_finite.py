"""Losses, gradients and metrics that are not finite."""

import json

import pytest
import torch

from lalia.data.dataset import RecordingDataset
from lalia.model.adapt import adapt_full
from lalia.settings import TrainSettings
from lalia.training.loop import fit
from lalia.training.part_loss import PartLoss
from lalia.training.step import Stepper
from toy_data import make_table
from toy_rater import make_encoder, make_rater


def history(folder):
    return json.loads((folder / "result.json").read_text())["history"]


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_step_that_is_not_finite_is_left_out_and_its_recordings_are_named(processes, tmp_path, what, value):
    process = processes.run("train", str(tmp_path), fault={f"{what}_at_steps": [3], what: value})
    assert process.code == 0, process.err
    assert "the loss or its gradient is not finite in epoch 1, step 3 (recordings r" in process.err
    assert [row["skipped_steps"] for row in history(tmp_path)] == [1, 0, 0]
    assert all(row["validation_loss"] is not None for row in history(tmp_path))


@pytest.mark.faults
def test_in_float16_too_a_step_whose_loss_is_not_finite_is_left_out_and_many_end_training(processes, tmp_path):
    some = processes.run(
        "train", str(tmp_path / "some"), precision="float16", fault={"loss_at_steps": [3], "loss": "nan"}
    )
    assert some.code == 0, some.err
    assert "the loss or its gradient is not finite in epoch 1, step 3 (recordings r" in some.err
    assert [row["skipped_steps"] for row in history(tmp_path / "some")] == [1, 0, 0]
    fault = {"loss_at_steps": [9, 10, 11, 12, 13, 14], "loss": "nan"}
    many = processes.run("train", str(tmp_path / "many"), precision="float16", fault=fault)
    assert many.code == 2
    assert "was not finite in 5 steps in a row, the last in epoch 3, step 13 (recordings r" in many.err
    resumed = processes.run("train", str(tmp_path / "many"), precision="float16", resume=True)
    assert resumed.code == 0, resumed.err


@pytest.mark.parametrize("clip_norm", [1.0, None])
def test_a_step_that_is_not_finite_changes_nothing(tmp_path, monkeypatch, clip_norm):
    encoder = make_encoder()
    adapt_full(encoder)
    rater = make_rater(encoder=encoder)
    table = make_table(tmp_path)
    take, losses, seen = Stepper.take, PartLoss.__call__, []

    def state(stepper):
        tensors = {name: value.clone() for name, value in rater.state_dict().items()}
        for number, of_parameter in enumerate(stepper.optimizer.state.values()):
            tensors |= {f"{number} {name}": torch.as_tensor(value).clone() for name, value in of_parameter.items()}
        return tensors

    def broken(part_loss, raw, rows):
        found = losses(part_loss, raw, rows)
        return found._replace(losses=found.losses * torch.nan) if rater.training and len(seen) == 2 else found

    def watched(stepper, step, inputs):
        before = state(stepper)
        result = take(stepper, step, inputs)
        after = state(stepper)
        seen.append([name for name in after if name not in before or not torch.equal(before[name], after[name])])
        return result

    monkeypatch.setattr(PartLoss, "__call__", broken)
    monkeypatch.setattr(Stepper, "take", watched)
    data = RecordingDataset(table, rater.preprocessing)
    settings = TrainSettings(epochs=1, batch_seconds=0.5, early_stopping=None, clip_norm=clip_norm)
    fit(rater, data, data, settings, seed=0)
    assert len(seen) > 3
    assert [bool(changed) for changed in seen] == [number != 2 for number in range(len(seen))]


def test_after_five_such_steps_in_a_row_training_stops_with_the_last_good_state(processes, tmp_path):
    fault = {"loss_at_steps": [9, 10, 11, 12, 13, 14], "loss": "nan"}
    process = processes.run("train", str(tmp_path), fault=fault)
    assert process.code == 2
    assert "was not finite in 5 steps in a row, the last in epoch 3, step 13 (recordings r" in process.err
    assert "The state without them is saved: --resume goes on from it." in process.err
    resumed = processes.run("train", str(tmp_path), resume=True)
    assert resumed.code == 0, resumed.err
    assert "after step 13." in resumed.err
    assert all(row["validation_loss"] is not None for row in history(tmp_path))


def test_where_no_step_of_an_epoch_is_finite_training_stops(processes, tmp_path):
    process = processes.run("train", str(tmp_path), fault={"loss_at_steps": list(range(1, 99)), "loss": "inf"})
    assert process.code == 2
    assert "steps in a row, the last in epoch 1" in process.err


def test_a_validation_metric_that_is_not_a_number_is_never_the_best_and_leaves_the_patience(processes, tmp_path):
    values = ["nan", 0.5, 0.6, "inf", "nan", 0.7, 0.1]
    process = processes.run("train", str(tmp_path), epochs=7, patience=2, fault={"validation": values})
    assert process.code == 0, process.err
    rows = history(tmp_path)
    assert [row["is_best"] for row in rows] == [False, True, False, False, False, False]
    assert [row["validation_loss"] for row in rows] == [None, 0.5, 0.6, None, None, 0.7]
