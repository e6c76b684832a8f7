"""A sweep from its YAML to its report: in one process, and on a Ray cluster that loses a machine."""

import json
import os
import shutil
import time

import pandas as pd
import psutil
import pytest
import torch
import yaml
from typer.testing import CliRunner

from lalia.cli import app
from lalia.config import load_sweep, save_config
from lalia.progress import Progress
from lalia.run_folder import read_manifest
from lalia.sweep.sweep import evaluate_winner, plan_sweep, run_sweep
from toy_run import quick_settings, write_toy_corpus

GRID = {
    "model.layers": ["last", "weighted"],
    "model.pooling.kind": ["mean", "attention"],
    "seed": [1, 2, 3],
}
# mean pooling keeps one thing for both mixes; attention the frames of the last depth, or of all
PASSES = 3


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder with a corpus and the YAML of a sweep of 12 trials."""
    folder = tmp_path_factory.mktemp("swept")
    corpus = write_toy_corpus(folder / "corpus", speakers=8)
    options = ("data.traits=[breathy]", "model.adapt=frozen", "train.epochs=1", f"cache.dir={folder / 'cache'}")
    save_config(quick_settings(corpus, folder / "runs", *options), folder / "base.yaml")
    (folder / "grid.yaml").write_text(yaml.safe_dump({"base": "base.yaml", "grid": GRID}))
    return folder


@pytest.fixture(scope="module")
def swept(home):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return run_sweep(load_sweep(home / "grid.yaml"), home / "sweep")
    finally:
        torch.set_num_threads(before)


def read_sweep(folder):
    return pd.read_csv(folder / "sweep.csv", dtype={"run": str, "error": str}, keep_default_na=False)


def test_all_trials_are_trained_and_none_looks_at_its_test_part(swept):
    table = read_sweep(swept.folder)
    assert len(table) == 12 and set(table["state"]) == {"done"} and table["run"].nunique() == 12
    for run in table["run"]:
        assert read_manifest(swept.folder / run)["test_evaluations"] == 0
        assert set(json.loads((swept.folder / run / "metrics.json").read_text())) == {"train", "validation"}
        assert "test" not in set(pd.read_csv(swept.folder / run / "predictions.csv")["part"])


def test_each_frozen_pass_is_computed_once_for_the_whole_sweep(swept, home):
    recordings = len(pd.read_csv(home / "corpus" / "metadata.csv"))
    assert sum(outcome.computed for outcome in swept.outcomes) <= PASSES * recordings
    for outcome in swept.outcomes[3:6]:
        if outcome.varied["model.layers"] == "last" and outcome.varied["model.pooling.kind"] == "mean":
            assert outcome.computed < recordings / 2


def test_settings_are_ranked_and_the_winner_is_a_rater(swept, home, tmp_path):
    board = pd.read_csv(swept.folder / "leaderboard.csv")
    assert len(board) == 4 and board["trials"].tolist() == [3] * 4
    assert board["auc"].is_monotonic_decreasing
    winner = json.loads((swept.folder / "sweep.json").read_text())["winner"]
    assert {f'"{winner["values"]["model.layers"]}"'} == {board["model.layers"][0]}
    wav = next(iter(sorted((home / "corpus").rglob("*.wav"))))
    for number, place in enumerate((swept.folder, swept.folder / winner["run"])):
        out = tmp_path / f"{number}.csv"
        outcome = CliRunner().invoke(app, ["predict", str(place), str(wav), "--out", str(out)])
        assert outcome.exit_code == 0, outcome.output
    assert (tmp_path / "0.csv").read_text() == (tmp_path / "1.csv").read_text()
    page = (swept.folder / "report.html").read_text()
    assert "Settings against seeds" in page and "pooling attention" in page and "<script" not in page


def test_what_is_finished_is_not_trained_again_and_a_changed_grid_runs_what_is_new(swept, home, tmp_path):
    copy = tmp_path / "sweep"
    shutil.copytree(swept.folder, copy)
    before = _weights_written(copy)
    # one that was stopped and is not in the grid any more stands in nobody's way
    seed_2 = next(path for path in copy.glob("trials/*/manifest.json") if json.loads(path.read_text())["seed"] == 2)
    seed_2.write_text(json.dumps(json.loads(seed_2.read_text()) | {"finished": False}))
    new = [{"model.layers": 77}, {"train.learning_rate": 0.01, "model.layers": "last"}]
    grid = {"base": str(home / "base.yaml"), "grid": GRID | {"seed": [1]}, "trials": new}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    result = run_sweep(load_sweep(tmp_path / "grid.yaml"), copy)
    after = _weights_written(copy)
    assert {name: after[name] for name in before} == before and len(after) == len(before) + 1
    assert len(result.outcomes) == 6
    assert [str(each.error) for each in result.failed] != [] and "77" in result.failed[0].error
    assert "77" in (copy / "report.html").read_text()


def test_the_test_part_is_scored_on_request_with_the_winner_alone(swept, tmp_path):
    copy = tmp_path / "sweep"
    shutil.copytree(swept.folder, copy)
    run = evaluate_winner(copy)
    assert "test" in json.loads((run / "metrics.json").read_text())
    counts = [read_manifest(path)["test_evaluations"] for path in (copy / "trials").iterdir() if path.is_dir()]
    assert sorted(counts) == [0] * 11 + [1]


def test_a_plan_names_the_distinct_passes_and_trains_nothing(home, swept):
    plan = plan_sweep(load_sweep(home / "grid.yaml"), home / "planned")
    assert len(plan.trials) == 12 and len(plan.passes) == PASSES
    assert all(one.missing == 0 for one in plan.passes)
    groups = [trial.pass_key for trial in plan.trials]
    assert len([place for place in range(1, 12) if groups[place] != groups[place - 1]]) == PASSES - 1
    assert not (home / "planned").exists()
    outcome = CliRunner().invoke(app, ["sweep", str(home / "grid.yaml"), "--dry-run"])
    assert outcome.exit_code == 0, outcome.output
    assert "3 distinct passes" in outcome.output and "0 of 16" in outcome.output


@pytest.mark.timeout(300)
def test_twelve_trials_on_two_nodes_end_like_those_of_one_process_though_a_node_is_killed(
    swept, home, tmp_path, monkeypatch
):
    pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    # the workers take their environment from the cluster: one thread, a store of their own, our tests' modules
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # beside the tests of another process they would else come last
    monkeypatch.setenv("RAY_worker_niceness", "0")
    base = yaml.safe_load((home / "base.yaml").read_text())
    base["cache"]["dir"] = str(tmp_path / "cache")
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump({"base": "base.yaml", "grid": GRID}))
    before = _ray_processes()
    # a driver does not find a cluster at 127.0.0.1: Ray takes the machine's own address for it
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    try:
        worker = cluster.add_node(**node)

        class Killer(Progress):
            done = 0

            def advance(self, note=""):
                if "seed" in note:
                    Killer.done += 1
                    if Killer.done == 2:
                        cluster.remove_node(worker, allow_graceful=False)

        result = run_sweep(
            load_sweep(tmp_path / "grid.yaml"), tmp_path / "sweep", ray=cluster.address, progress=Killer()
        )
    finally:
        cluster.shutdown()
    assert not result.failed and len(result.outcomes) == 12
    recordings = len(pd.read_csv(home / "corpus" / "metadata.csv"))
    # what the killed process had not told of is not in the count
    assert sum(outcome.computed for outcome in result.outcomes) <= PASSES * recordings
    assert [outcome.folder.name for outcome in result.outcomes] == [outcome.folder.name for outcome in swept.outcomes]
    for there, here in zip(result.outcomes, swept.outcomes, strict=True):
        for name in ("predictions.csv", "history.csv", "model/model.safetensors"):
            assert _content(there.folder / name) == _content(here.folder / name), (there.varied, name)
    deadline = time.monotonic() + 20
    while (left := _ray_processes() - before) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left


def _weights_written(folder):
    runs = [path for path in (folder / "trials").iterdir() if path.is_dir()]
    return {run.name: (run / "model" / "model.safetensors").stat().st_mtime_ns for run in runs}


def _content(path):
    if path.name != "history.csv":
        return path.read_bytes()
    # seconds and memory are of the machine
    table = pd.read_csv(path)
    return table[[name for name in table if "loss" in name or "validation" in name]].to_csv()


def _ray_processes():
    found = set()
    for process in psutil.process_iter(["pid", "cmdline", "create_time"]):
        command = " ".join(process.info["cmdline"] or [])
        if ("ray::" in command or "raylet" in command or "gcs_server" in command) and process.info[
            "pid"
        ] != os.getpid():
            found.add((process.info["pid"], process.info["create_time"]))
    return found
