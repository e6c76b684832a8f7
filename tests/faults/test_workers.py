"""Processes that read ahead, and fail or die."""

import signal

import pytest


@pytest.mark.parametrize("cache", [False, True], ids=["files", "cache"])
def test_a_worker_that_is_killed_ends_training_with_the_recordings_it_was_at(processes, tmp_path, cache):
    process = processes.run(
        "train", str(tmp_path), workers=2, cache=cache, fault={"reading": ["r3", "kill"]}, timeout=60
    )
    assert process.code == 2, process.err
    assert "A process that reads ahead died (" in process.err
    assert "r3" in process.err.rpartition("at recordings")[2]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_while_reading_names_the_recording(processes, tmp_path, workers):
    process = processes.run("train", str(tmp_path), workers=workers, fault={"reading": ["r3", "raise"]}, timeout=60)
    assert process.code == 1
    assert "broken on purpose" in process.err
    assert "While reading recording 'r3'." in process.err


def test_a_training_that_is_killed_beside_its_workers_can_be_resumed_at_once(processes, tmp_path):
    process = processes.start("train", str(tmp_path), workers=2, fault={"sleep": 0.2})
    process.wait_for(lambda: (tmp_path / "steps").exists())
    process.send(signal.SIGKILL)
    process.wait()
    resumed = processes.run("train", str(tmp_path), workers=2, resume=True)
    assert resumed.code == 0, resumed.err
