"""A whole run by the command line: what trackers have kept is what history.csv holds."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pandas as pd
import pytest

from toy_run import QUICK, write_toy_corpus
from tracker_stores import READERS, check_same

NAMES = ["tensorboard", "mlflow", "wandb", "trackio"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Train with all trackers that are installed, in a folder with nothing else in it, and return the run."""
    home = tmp_path_factory.mktemp("home")
    corpus = write_toy_corpus(tmp_path_factory.mktemp("corpus"))
    names = [name for name in NAMES if find_spec(name)]
    command = ["train", str(corpus / "run.yaml"), *QUICK, "runs=runs", f"train.trackers={names}".replace("'", "")]
    subprocess.run(
        [sys.executable, "-m", "lalia", *command],
        cwd=home,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HOME": str(home), "WANDB_MODE": "online"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    (folder,) = (home / "runs").iterdir()
    return folder


def read_history(run):
    table = pd.read_csv(run / "history.csv")
    return [
        {name: None if pd.isna(value) else value for name, value in row.items()} for row in table.to_dict("records")
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", READERS)
def test_a_tracker_has_kept_what_history_csv_holds(name, run):
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    check_same(READERS[name](run / "trackers" / name, run.name), read_history(run))


def test_wandb_has_kept_the_losses_offline(run):
    if find_spec("wandb") is None:
        pytest.skip("wandb is not installed")
    (kept,) = (run / "trackers" / "wandb").glob("wandb/offline-run-*/*.wandb")
    losses = [repr(row["train_loss"]).encode() for row in read_history(run)]
    assert len(losses) == 2
    assert all(loss in kept.read_bytes() for loss in losses)


def test_trackers_write_nothing_outside_the_run(run):
    there = {path.name for path in run.parents[1].iterdir()} - {".cache", ".config"}
    assert there == {"runs"}
    assert {path.name for path in (run / "trackers").iterdir()} == {name for name in NAMES if find_spec(name)}
