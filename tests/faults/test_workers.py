"""Processes that read ahead, and fail or die."""

import re
import signal

import pytest


def check_death(process):
    assert process.code == 2, process.err
    assert "A process that reads ahead died (" in process.err
    assert "; it was reading recording 'r3'. Look there" in process.err


@pytest.mark.parametrize("augment", [False, True], ids=["plain", "augmented"])
def test_a_worker_that_is_killed_ends_training_with_the_recording_it_was_at(processes, tmp_path, augment):
    # all six recordings are one batch; augmented, r3 may be mixed into another
    options = {"workers": 2, "batch_seconds": 50, "augment": augment}
    fault = {"reading": ["r3", "kill"]}
    check_death(processes.run("train", str(tmp_path), fault=fault, timeout=60, **options))


def test_a_worker_that_is_killed_at_an_entry_of_the_cache_names_its_recording(processes, tmp_path):
    options = {"workers": 2, "batch_seconds": 50, "cache": True}
    assert processes.run("train", str(tmp_path), epochs=1, **options).code == 0
    check_death(
        processes.run("train", str(tmp_path), resume=True, fault={"reading": ["r3", "kill"]}, timeout=60, **options)
    )


def test_a_worker_that_is_killed_after_reading_names_its_batch(processes, tmp_path):
    fault = {"joining": "r3"}
    process = processes.run("train", str(tmp_path), workers=2, batch_seconds=0.9, fault=fault, timeout=60)
    assert process.code == 2, process.err
    said = re.search(r"; it had read recordings (.*)\. Look there", process.err)
    assert said, process.err
    assert "r3" in (names := said[1].split(", "))
    assert 1 < len(names) < 6


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
