"""Memory that runs out, by a stand-in: forward passes of too many recordings fail."""

import json

import pytest

pytestmark = pytest.mark.faults


def result(folder):
    return json.loads((folder / "result.json").read_text())


def test_where_memory_runs_out_the_same_steps_are_computed_in_smaller_pieces(processes, tmp_path):
    whole = processes.run("train", str(tmp_path / "whole"), batch_seconds=1.2)
    halved = processes.run("train", str(tmp_path / "halved"), batch_seconds=1.2, fault={"memory": {"most": 1}})
    assert (whole.code, halved.code) == (0, 0), halved.err
    assert "Memory ran out in epoch 1, step 1: from here on at most " in halved.err
    assert "The recordings of a step stay the same." in halved.err
    before, after = (result(tmp_path / name)["history"] for name in ("whole", "halved"))
    for expected, row in zip(before, after, strict=True):
        assert row["skipped_steps"] == 0
        # other pieces, so other dropout
        assert row["train_loss"] == pytest.approx(expected["train_loss"], rel=0.3)
    steps = [(tmp_path / name / "steps").read_text() for name in ("whole", "halved")]
    assert steps[0] == steps[1]


def test_where_one_recording_is_too_large_training_ends_with_advice(processes, tmp_path):
    process = processes.run("train", str(tmp_path), fault={"memory": {"most": 0}})
    assert process.code == 2
    assert "Memory ran out in epoch 1, step 1, with recording 'r" in process.err
    assert "train.gradient_checkpointing=true" in process.err


def test_memory_that_runs_out_in_validation_does_not_make_steps_smaller(processes, tmp_path):
    fault = {"memory": {"most": 0, "training": False}}
    process = processes.run("train", str(tmp_path), batch_seconds=1.2, fault=fault)
    assert process.code == 2
    assert "Memory ran out in validation. Lower train.batch_seconds." in process.err
    assert "from here on at most" not in process.err


def test_another_error_is_not_taken_for_a_lack_of_memory(processes, tmp_path):
    process = processes.run("train", str(tmp_path), fault={"memory": {"most": 0, "error": "shape mismatch"}})
    assert process.code == 1
    assert "RuntimeError: shape mismatch" in process.err
    assert "Memory" not in process.err
