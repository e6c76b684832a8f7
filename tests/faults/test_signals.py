"""A signal stops a training between two steps, with its state saved; a second one at once."""

import json
import signal
import time

import pytest

from toy_run import QUICK, write_toy_corpus

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 138}


def start(processes, folder, **options):
    folder.mkdir(exist_ok=True)
    return processes.start("train", str(folder), workers=2, **options)


def has_taken(folder, steps):
    # the file is empty for a moment while it is written
    return (folder / "steps").exists() and int((folder / "steps").read_text() or 0) >= steps


@pytest.fixture(scope="module")
def expected(processes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert processes.run("train", str(folder)).code == 0
    return json.loads((folder / "result.json").read_text())


@pytest.mark.faults
@pytest.mark.parametrize("number", CODES)
def test_a_signal_to_training_and_its_workers_saves_the_state_after_the_step(processes, expected, tmp_path, number):
    process = start(processes, tmp_path, fault={"sleep": 0.1})
    process.wait_for(lambda: has_taken(tmp_path, 8))
    process.send(number, to_group=True)
    assert process.wait() == CODES[number]
    assert "Traceback" not in process.err
    index = json.loads((tmp_path / "checkpoints" / "index.json").read_text())
    step = index["checkpoints"][-1]["step"]
    assert step == int((tmp_path / "steps").read_text())
    resumed = processes.run("train", str(tmp_path), resume=True)
    assert resumed.code == 0, resumed.err
    assert f"after step {step}." in resumed.err
    assert json.loads((tmp_path / "result.json").read_text()) == expected


def test_a_second_signal_leaves_at_once(processes, tmp_path):
    process = start(processes, tmp_path, fault={"sleep": 60})
    process.wait_for(lambda: has_taken(tmp_path, 1))
    process.send(signal.SIGTERM)
    begun = time.monotonic()
    time.sleep(0.2)
    process.send(signal.SIGTERM)
    assert process.wait(20) == -signal.SIGTERM
    assert time.monotonic() - begun < 20


@pytest.mark.faults
@pytest.mark.parametrize("number", CODES)
def test_a_run_stopped_by_a_signal_leaves_with_its_code_and_can_be_resumed(processes, tmp_path, number):
    corpus = write_toy_corpus(tmp_path / "corpus", speakers=4)
    arguments = ["train", str(corpus / "run.yaml"), *QUICK, f"runs={tmp_path}"]
    stopped = processes.run("command", *arguments, fault={"signal_after_save": [1, number]})
    assert (stopped.code, "The state is saved: go on with --resume." in stopped.err) == (CODES[number], True)
    resumed = processes.run("command", *arguments, "--resume")
    assert resumed.code == 0, resumed.err
    assert "Resuming in epoch 2" in resumed.err
