"""Trackers get the values of the history, on this machine alone."""

import os
import sys
from types import SimpleNamespace

import pytest

from lalia.errors import ConfigError, Stopped
from lalia.model.adapt import adapt_frozen
from lalia.training import trackers as module
from lalia.training.loop import fit
from lalia.training.trackers import Trackers, check_trackers
from toy_data import make_table
from toy_training import SignalAt, make_sets, make_trained_rater, settings
from tracker_stores import READERS, check_same

STORES = ["tensorboard", "mlflow"]
SETTINGS = {"name": "toy", "train": {"epochs": 3, "clip_norm": None, "optimizer": {"kind": "adamw"}}}


@pytest.fixture
def table(tmp_path):
    return make_table(tmp_path)


@pytest.fixture
def environment():
    """What a test changes of the environment is put back."""
    before = dict(os.environ)
    yield before
    os.environ.clear()
    os.environ.update(before)


def train_with(table, name, folder, **options):
    rater = make_trained_rater(adapt_frozen)
    trackers = Trackers([name], folder / "trackers", run="toy-1a2b", settings=SETTINGS)
    return fit(
        rater, *make_sets(table, rater), settings(batch_seconds=0.8), seed=0, trackers=trackers, **options
    ).history


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", STORES)
def test_a_store_on_disk_has_the_values_of_the_history(name, table, tmp_path):
    pytest.importorskip(name)
    history = train_with(table, name, tmp_path)
    assert len(history) == 3
    check_same(READERS[name](tmp_path / "trackers" / name, "toy-1a2b"), history)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", STORES)
def test_a_resumed_training_is_logged_once(name, table, tmp_path):
    pytest.importorskip(name)
    with pytest.raises(Stopped):
        train_with(table, name, tmp_path, checkpoints=tmp_path / "c", progress=SignalAt(5))
    history = train_with(table, name, tmp_path, checkpoints=tmp_path / "c", resume=True)
    assert len(history) == 3
    check_same(READERS[name](tmp_path / "trackers" / name, "toy-1a2b"), history)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", STORES)
def test_the_environment_is_left_as_it_was(name, table, tmp_path, environment, monkeypatch):
    pytest.importorskip(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere.invalid")
    monkeypatch.setenv("MLFLOW_RUN_ID", "1234")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    before = {key: os.environ.get(key) for key in module._SET}
    history = train_with(table, name, tmp_path)
    check_same(READERS[name](tmp_path / "trackers" / name, "toy-1a2b"), history)
    assert {key: os.environ.get(key) for key in module._SET} == before
    if name == "mlflow":
        assert pytest.importorskip("mlflow").get_tracking_uri() == "http://somewhere.invalid"


@pytest.mark.usefixtures("environment")
def test_trackio_is_refused_where_it_has_its_folder_already(table, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio.utils", SimpleNamespace(TRACKIO_DIR=tmp_path / "other"))
    with pytest.raises(ConfigError, match="has imported Trackio before, and so it would write to .*other"):
        train_with(table, "trackio", tmp_path)


@pytest.mark.usefixtures("environment")
def test_what_would_send_a_run_elsewhere_is_taken_out_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_SPACE_ID", "someone/somewhere")
    monkeypatch.setenv("WANDB_MODE", "online")
    tracker = module._make_tracker("wandb", tmp_path, "toy")
    assert tracker.init_kwargs == {"mode": "offline", "dir": str(tmp_path)}
    assert os.environ["WANDB_MODE"] == "offline"
    monkeypatch.setitem(sys.modules, "trackio.utils", SimpleNamespace(TRACKIO_DIR=tmp_path))
    module._make_tracker("trackio", tmp_path, "toy")
    assert os.environ["TRACKIO_DIR"] == str(tmp_path)
    assert "TRACKIO_SPACE_ID" not in os.environ


def test_a_missing_package_names_its_line(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "wandb" else object())
    check_trackers(["tensorboard"])
    with pytest.raises(ConfigError) as caught:
        check_trackers(["tensorboard", "wandb"])
    assert str(caught.value) == (
        "train.trackers names wandb, which is not installed. Install it with: pip install wandb, or take it out."
    )
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install mlflow-skinny, or take it out"):
        check_trackers(["mlflow"])
