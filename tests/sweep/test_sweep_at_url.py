"""A sweep whose folder is in a store: begun on one machine, gone on with and read on another."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from cloud_stores import s3_store
from commands import call_lalia
from lalia.config import load_config, load_sweep, save_config
from lalia.data import remote
from lalia.errors import DataError, RunError
from lalia.run_at_url import fetch_run
from lalia.run_folder import read_manifest
from lalia.sweep.in_ray import _run_there
from lalia.sweep.place import locate_sweep
from lalia.sweep.sweep import evaluate_winner, run_sweep
from toy_run import QUICK


@pytest.fixture(scope="module")
def store():
    with s3_store() as found:
        yield found


@pytest.fixture(scope="module")
def grid(store, finished_corpus, tmp_path_factory):
    """Return the YAML of a sweep of two trials whose data and cache are in the store too."""
    folder = tmp_path_factory.mktemp("sweep")
    store.put_folder(finished_corpus, "study")
    options = [
        f"data.metadata={store.url('study/metadata.csv')}",
        f"data.audio_dir={store.url('study/audio')}",
        f"cache.dir={store.url('activations')}",
        *("data.traits=[breathy]", "model.adapt=frozen", "train.epochs=1"),
    ]
    save_config(load_config(finished_corpus / "run.yaml", [*QUICK, *options]), folder / "base.yaml")
    (folder / "grid.yaml").write_text(yaml.safe_dump({"base": "base.yaml", "grid": {"seed": [1, 2]}}))
    return folder / "grid.yaml"


@pytest.fixture
def use_machine(monkeypatch, tmp_path):
    """Have nothing of what another machine keeps in its user's folder."""
    monkeypatch.setattr(remote, "FIRST_WAIT_SECONDS", 0.001)

    def use(name):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))

    use("first")
    return use


def test_a_sweep_in_a_store_is_gone_on_with_and_rates_on_another_machine(
    store, grid, use_machine, tmp_path, finished_corpus
):
    url = store.url("sweeps/seeds")
    begun = run_sweep(load_sweep(grid), url)
    assert not begun.failed and {each.folder.is_dir() for each in begun.outcomes} == {True}
    assert {"sweeps/seeds/sweep.csv", "sweeps/seeds/leaderboard.csv", "sweeps/seeds/report.html"} <= set(store.names())
    runs = pd.read_csv(begun.folder / "sweep.csv")["run"].tolist()
    assert all(f"sweeps/seeds/{run}/manifest.json" in store.names() for run in runs)

    use_machine("second")
    # both share the activations, so that the second computes none
    more = grid.with_name("more.yaml")
    more.write_text(yaml.safe_dump({"base": "base.yaml", "grid": {"seed": [1, 2, 3]}}))
    gone_on = run_sweep(load_sweep(more), url)
    assert [each.folder.name for each in gone_on.outcomes[:2]] == [each.folder.name for each in begun.outcomes]
    for before, after in zip(begun.outcomes, gone_on.outcomes, strict=False):
        assert read_manifest(before.folder) == read_manifest(after.folder)
    assert gone_on.outcomes[2].computed == 0
    winner = evaluate_winner(url)
    assert "test" in json.loads((winner / "metrics.json").read_text())

    use_machine("third")
    name = json.loads((fetch_run(url) / "sweep.json").read_text())["winner"]["run"]
    assert read_manifest(fetch_run(f"{url}/{name}"))["test_evaluations"] == 1
    assert evaluate_winner(url).name == winner.name
    out = tmp_path / "scores.csv"
    wav = next(iter(sorted((finished_corpus / "audio").glob("*.wav"))))
    assert call_lalia("predict", url, wav, "--out", out) == 0
    assert len(pd.read_csv(out)) == 1


def test_a_trial_of_another_machine_is_found_where_the_sweep_is(store, grid, use_machine):
    place = locate_sweep(store.url("sweeps/far"))
    base = load_sweep(grid).base
    use_machine("worker")
    found = _run_there(load_config(base).model_dump(mode="json"), {"seed": 1}, place.trials)
    assert found["error"] == ""

    use_machine("driver")
    run = place.find(place.name(Path(found["run"])))
    assert (run / "predictions.csv").is_file() and "driver" in str(run)


def test_a_sweep_that_is_not_there_is_named(store, use_machine):
    with pytest.raises(RunError, match=r"'s3://.*/sweeps/none' is not the folder of a finished sweep"):
        evaluate_winner(store.url("sweeps/none"))
    with pytest.raises(DataError, match="is not written to"):
        locate_sweep("hf://datasets/owner/name")
    assert locate_sweep(store.url("sweeps/none/")).address("report.html") == store.url("sweeps/none/report.html")
