"""What is trained is what is saved, restored and reported, to the bit."""

import csv
import json

import pytest

from lalia.data.dataset import RecordingDataset
from lalia.model.adapt import adapt_full
from lalia.settings import TrainSettings
from lalia.training.checkpoint import load_checkpoint
from lalia.training.loop import fit
from toy_data import make_table
from toy_rater import make_encoder, make_rater
from toy_run import QUICK, write_toy_corpus


@pytest.mark.faults
@pytest.mark.parametrize("adapt", ["frozen", "lora", "full"])
def test_the_best_model_in_a_new_process_has_the_validation_metrics_that_were_logged(processes, tmp_path, adapt):
    corpus = write_toy_corpus(tmp_path / "corpus", speakers=8)
    settings = [*QUICK, "train.epochs=4", "train.learning_rate=0.03", f"model.adapt={adapt}", f"runs={tmp_path}"]
    trained = processes.run("command", "train", str(corpus / "run.yaml"), *settings)
    assert trained.code == 0, trained.err
    (run,) = tmp_path.glob("demo-*")
    best = json.loads((run / "manifest.json").read_text())["best_epoch"]
    with (run / "history.csv").open(encoding="utf-8", newline="") as file:
        logged = list(csv.DictReader(file))[best - 1]
    again = processes.run("validate_again", str(run / "model"), str(run / "config.yaml"), [])
    assert again.code == 0, again.err
    found = json.loads(again.out)
    assert len(found) > 5
    for name, value in found.items():
        assert value == (float(logged[name]) if logged[name] else None), name


def test_a_checkpoint_holds_every_trainable_parameter_and_its_averages(tmp_path):
    encoder = make_encoder()
    adapt_full(encoder)
    rater = make_rater(encoder=encoder)
    (tmp_path / "audio").mkdir()
    data = RecordingDataset(make_table(tmp_path / "audio"), rater.preprocessing)
    settings = TrainSettings(epochs=1, early_stopping=None)
    fit(rater, data, data, settings, seed=0, checkpoints=tmp_path / "checkpoints")
    found = load_checkpoint(tmp_path / "checkpoints")
    trainable = {name for name, parameter in rater.named_parameters() if parameter.requires_grad}
    assert trainable <= set(found.model)
    assert {key.rpartition("|")[0] for key in found.optimizer} == trainable
    assert {key.rpartition("|")[2] for key in found.optimizer} == {"step", "exp_avg", "exp_avg_sq"}
