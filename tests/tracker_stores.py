"""What experiment trackers have written, read back: for each value its (epoch, value)."""

import json
import sqlite3

import pytest


def read_tensorboard(folder, run):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = event_accumulator.EventAccumulator(str(folder / run))
    read.Reload()
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def read_mlflow(folder, run):
    mlflow = pytest.importorskip("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        client = mlflow.MlflowClient(folder.absolute().as_uri())
    (experiment,) = [each for each in client.search_experiments() if each.name == run]
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert '"kind": "adamw"' in found.data.params["train.optimizer"]
    return {
        name: sorted((each.step, each.value) for each in client.get_metric_history(found.info.run_id, name))
        for name in found.data.metrics
    }


def read_trackio(folder, run):
    connection = sqlite3.connect(folder / f"{run}.db")
    try:
        rows = connection.execute("select step, metrics from metrics order by step").fetchall()
    finally:
        connection.close()
    values = [(step, json.loads(metrics)) for step, metrics in rows]
    names = {name for _, metrics in values for name in metrics}
    return {name: [(step, metrics[name]) for step, metrics in values if name in metrics] for name in names}


READERS = {"tensorboard": read_tensorboard, "mlflow": read_mlflow, "trackio": read_trackio}


def columns(history):
    """Return what each column of the history is, as (epoch, value) where there is a value."""
    names = [name for name in history[0] if name != "epoch"]
    found = {name: [(row["epoch"], float(row[name])) for row in history if row[name] is not None] for name in names}
    return {name: values for name, values in found.items() if values}


def check_same(found, history):
    expected = columns(history)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert [step for step, _ in found[name]] == [step for step, _ in values]
        # TensorBoard keeps float32
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in values], rel=1e-6)
