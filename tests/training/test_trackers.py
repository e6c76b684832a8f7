"""Trackers get the values of the history, on this machine alone."""

import os

import pytest

from lalia.errors import ConfigError, Stopped
from lalia.model.adapt import adapt_frozen
from lalia.training import trackers as module
from lalia.training.loop import fit
from lalia.training.trackers import Trackers, check_trackers
from toy_data import make_table
from toy_training import SignalAt, make_sets, make_trained_rater, settings

SETTINGS = {"name": "toy", "train": {"epochs": 3, "clip_norm": None, "optimizer": {"kind": "adamw"}}}


@pytest.fixture
def table(tmp_path):
    return make_table(tmp_path)


@pytest.fixture(autouse=True)
def same_environment(monkeypatch):
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def train_with(table, name, folder, **options):
    rater = make_trained_rater(adapt_frozen)
    trackers = Trackers([name], folder / "trackers", run="toy-1a2b", settings=SETTINGS)
    return fit(
        rater, *make_sets(table, rater), settings(batch_seconds=0.8), seed=0, trackers=trackers, **options
    ).history


def columns(history):
    """Return what each column of the history is, as (epoch, value) where there is a value."""
    names = [name for name in history[0] if name != "epoch"]
    found = {name: [(row["epoch"], float(row[name])) for row in history if row[name] is not None] for name in names}
    return {name: values for name, values in found.items() if values}


def read_tensorboard(folder):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = event_accumulator.EventAccumulator(str(folder / "trackers" / "tensorboard" / "toy-1a2b"))
    read.Reload()
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def read_mlflow(folder):
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient((folder / "trackers" / "mlflow").as_uri())
    (experiment,) = [each for each in client.search_experiments() if each.name == "toy-1a2b"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["train.epochs"] == "3"
    assert run.data.params["train.optimizer"] == '{"kind": "adamw"}'
    return {
        name: sorted((each.step, each.value) for each in client.get_metric_history(run.info.run_id, name))
        for name in run.data.metrics
    }


READERS = {"tensorboard": read_tensorboard, "mlflow": read_mlflow}


def check_same(found, history):
    expected = columns(history)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert [step for step, _ in found[name]] == [step for step, _ in values]
        # TensorBoard keeps float32
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in values], rel=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", READERS)
def test_a_store_on_disk_has_the_values_of_the_history(name, table, tmp_path):
    pytest.importorskip(name)
    history = train_with(table, name, tmp_path)
    assert len(history) == 3
    check_same(READERS[name](tmp_path), history)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", READERS)
def test_a_resumed_training_is_logged_once(name, table, tmp_path):
    pytest.importorskip(name)
    with pytest.raises(Stopped):
        train_with(table, name, tmp_path, checkpoints=tmp_path / "c", progress=SignalAt(5))
    history = train_with(table, name, tmp_path, checkpoints=tmp_path / "c", resume=True)
    assert len(history) == 3
    check_same(READERS[name](tmp_path), history)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "files"), [("wandb", "wandb/offline-run-*/*.wandb"), ("trackio", "*.db")])
def test_others_write_into_the_folder_of_the_run(name, files, table, tmp_path):
    pytest.importorskip(name)
    train_with(table, name, tmp_path)
    assert list((tmp_path / "trackers" / name).glob(files))


def test_what_would_send_a_run_elsewhere_is_taken_out_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_SPACE_ID", "someone/somewhere")
    monkeypatch.setenv("WANDB_MODE", "online")
    tracker = module._make_tracker("wandb", tmp_path, "toy")
    assert tracker.init_kwargs == {"mode": "offline", "dir": str(tmp_path)}
    assert os.environ["WANDB_MODE"] == "offline"
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
