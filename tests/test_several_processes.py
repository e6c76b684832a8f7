"""Several processes that train one rater together, started by torchrun and by Accelerate, on CPUs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lalia.errors import ConfigError
from lalia.processes import join_processes
from lalia.run import train
from lalia.training import loop
from together_tasks import COUNT, PIECE_SECONDS, TRAININGS, do_all
from toy_run import QUICK, quick_settings, write_toy_corpus

TASKS = Path(__file__).with_name("together_tasks.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
ACCELERATE += ["--mixed_precision", "no", "--dynamo_backend", "no", "--num_processes", "2"]


def launch(command, *, code=0):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert process.returncode == code, process.stderr[-5000:]
    return process


@pytest.fixture(scope="module")
def folder(runs, tmp_path_factory):
    """What one process and two came to."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "finished").mkdir()
    (folder / "finished" / "config.yaml").write_bytes((runs[1] / "config.yaml").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "CPU_PIECE_SECONDS", PIECE_SECONDS)
        do_all(folder, *TRAININGS, "stop@one")
        cases = [*TRAININGS, "little memory", "unreadable", "stop@two", "resume@one", "finished"]
        launch([*TORCHRUN, TASKS, folder, *cases])
        do_all(folder, "resume@two")
    return folder


def read(folder, case, who):
    return json.loads((folder / f"{case}-{who}.json").read_text())


def assert_alike(one, two):
    """The same losses, metrics and scores."""
    assert len(one["history"]) == len(two["history"])
    for before, after in zip(one["history"], two["history"], strict=True):
        assert before.keys() == after.keys()
        for name in before:
            assert after[name] == pytest.approx(before[name], abs=1e-5), name
    assert one["recordings"] == two["recordings"] and len(one["recordings"]) == 2 * COUNT
    np.testing.assert_allclose(two["scores"], one["scores"], atol=1e-5)


@pytest.mark.parametrize("case", TRAININGS)
def test_two_processes_train_as_one_does(folder, case):
    one, first, second = (read(folder, case, who) for who in ("0of1", "0of2", "1of2"))
    assert_alike(one, first)
    assert first["last"] == second["last"]
    # the weights themselves, but for biases of keys: they change nothing, and their gradients are noise
    for name, values in one["weights"].items():
        if "k_proj.bias" not in name:
            np.testing.assert_allclose(first["weights"][name], values, atol=2e-4, err_msg=name)


def test_the_cases_do_train(folder):
    for case in TRAININGS:
        losses = [row["train_loss"] for row in read(folder, case, "0of1")["history"]]
        assert len(set(losses)) == len(losses) == 3, case


@pytest.mark.parametrize("case", ["cached frames", "cached vectors"])
def test_what_is_frozen_is_computed_once(folder, case):
    computed = [read(folder, case, who)["computed"] for who in ("0of2", "1of2")]
    assert sum(computed) == COUNT == read(folder, case, "0of1")["computed"]
    assert min(computed) > 0


def test_where_memory_runs_out_in_one_process_all_compute_less_at_once(folder):
    first, second = (read(folder, "little memory", who) for who in ("0of2", "1of2"))
    assert first["last"] == second["last"]
    assert first["batch_seconds"] == second["batch_seconds"] < 0.7
    for row, expected in zip(first["history"], read(folder, "full", "0of1")["history"], strict=True):
        assert row["skipped_steps"] == 0
        # other pieces, so other dropout; the same steps
        assert row["train_loss"] == pytest.approx(expected["train_loss"], rel=0.2)


def test_an_error_in_one_process_is_raised_in_all(folder):
    first, second = (read(folder, "unreadable", who)["error"] for who in ("0of2", "1of2"))
    assert first == second
    assert first.startswith("AudioError: Recording 'r") and first.endswith("it is gone.")


def test_a_signal_to_one_process_stops_all_and_either_number_goes_on(folder):
    for who in ("0of2", "1of2"):
        assert read(folder, "stop@two", who)["stopped"] == 15
    assert read(folder, "stop@one", "0of1")["stopped"] == 15
    whole = read(folder, "full", "0of1")
    assert_alike(whole, read(folder, "resume@one", "0of2"))
    assert_alike(whole, read(folder, "resume@two", "0of1"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A whole run of one process, the same of two by Accelerate, and what these two said."""
    folder = tmp_path_factory.mktemp("whole")
    corpus = write_toy_corpus(folder / "corpus", speakers=9)
    options = ("train.batch_seconds=40", "train.trackers=[tensorboard]")
    one = train(quick_settings(corpus, folder / "one", f"cache.dir={folder / 'cache-one'}", *options))
    overrides = (*QUICK, f"runs={folder / 'two'}", f"cache.dir={folder / 'cache-two'}", *options)
    together = launch([*ACCELERATE, "-m", "lalia", "train", corpus / "run.yaml", *overrides])
    (two,) = (folder / "two").glob("demo-*")
    return one, two, together


def test_a_whole_run_has_the_same_numbers_and_one_writer(runs):
    one, two, together = runs
    assert one.name == two.name
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in two.iterdir())
    assert json.loads((two / "manifest.json").read_text())["processes"] == 2
    assert together.stdout.count("Report:") == 1
    assert together.stderr.count("epoch   1 |") == 1
    written = [len(list((run / "trackers").rglob("events*"))) for run in (one, two)]
    assert written[0] == written[1] > 0
    tables = [
        pd.read_csv(run / "history.csv").drop(columns=["seconds", "audio_seconds_per_second"]) for run in (one, two)
    ]
    pd.testing.assert_frame_equal(*tables, atol=1e-5, rtol=0)
    tables = [pd.read_csv(run / "predictions.csv") for run in (one, two)]
    assert not tables[1].duplicated(["recording", "trait"]).any()
    pd.testing.assert_frame_equal(*tables, atol=1e-5, rtol=0)


def test_one_process_tells_of_a_finished_run(folder, runs):
    first, second = (read(folder, "finished", who)["said"] for who in ("0of2", "1of2"))
    assert first[-1] == f"The run '{runs[1]}' has finished already."
    assert second == []


def test_weights_in_parts_are_refused(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    message = "Each process of lalia holds the whole rater, and ACCELERATE_USE_FSDP asks for parts of it"
    with pytest.raises(ConfigError, match=message):
        join_processes.__wrapped__()
