"""All folds of a run, nested, from settings to pooled numbers."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from lalia.cli import app
from lalia.cross_validation import cross_validate
from lalia.data.splits import read_split
from lalia.errors import ConfigError, RaterError, RunError, SplitError
from lalia.evaluation.evaluate import fit_decisions
from lalia.evaluation.predict import predict_files
from lalia.evaluation.predictions import read_predictions
from lalia.inner_folds import Candidate, choose_best
from lalia.model.rater import SpeechRater
from lalia.run import evaluate_run, train
from lalia.scale import Scale
from toy_run import quick_settings, write_toy_corpus

TRAITS = ["breathy", "slow_rate"]
NESTED = (
    "split={kind: folds, folds: 2, inner: 2}",
    "choose.grid={model.layers: [last, weighted]}",
    f"data.traits={TRAITS}",
    "train.epochs=1",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_toy_corpus(tmp_path_factory.mktemp("folds"), speakers=8)


@pytest.fixture(scope="module")
def settings(corpus):
    return quick_settings(corpus, corpus / "runs", *NESTED)


@pytest.fixture(scope="module")
def run(settings):
    return cross_validate(settings)


def read_json(path):
    return json.loads(path.read_text())


def folders_of(run):
    return [run / each["folder"] for each in read_json(run / "manifest.json")["folds"]]


def test_every_recording_is_tested_once_by_a_rater_that_did_not_hear_its_speaker(run, corpus):
    predictions = read_predictions(run)
    metadata = pd.read_csv(corpus / "metadata.csv", dtype=str)
    assert sorted(predictions["recording"]) == sorted(list(metadata.iloc[:, 0]) * len(TRAITS))
    for number, folder in enumerate(folders_of(run), start=1):
        parts = read_split(folder / "split.csv").parts
        tested = set(parts.loc[parts["part"] == "test", "speaker"])
        assert tested == set(predictions.loc[predictions["fold"] == number, "speaker"])
        assert not tested & set(parts.loc[parts["part"] != "test", "speaker"])
        own = read_predictions(folder)
        both = own[own["part"] == "test"].merge(predictions, on=["recording", "trait"])
        assert both["score_x"].tolist() == pytest.approx(both["score_y"].tolist(), abs=1e-12)
        assert len(both) == 2 * len(tested) * len(TRAITS)


def test_inner_folds_hold_the_training_speakers_alone_each_once_per_candidate(run):
    choice = pd.read_csv(run / "choice.csv")
    assert len(choice) == 2 * 2 * 2
    assert choice.groupby("fold")["chosen"].sum().tolist() == [2, 2]
    inner = [read_predictions(path) for path in sorted((run / "inner").iterdir())]
    assert len(inner) == 8
    for folder in folders_of(run):
        parts = read_split(folder / "split.csv").parts
        trained = set(parts.loc[parts["part"] != "test", "speaker"])
        within = [table for table in inner if set(table["speaker"]) <= trained]
        assert len(within) == 4  # two candidates, two inner folds
        counts = pd.concat(within).groupby(["recording", "trait"]).size()
        assert set(counts) == {2} and len(counts) == 2 * len(trained) * len(TRAITS)


def test_thresholds_of_a_fold_are_fitted_on_the_inner_folds_of_what_was_chosen(run):
    choice = pd.read_csv(run / "choice.csv")
    for number, folder in enumerate(folders_of(run), start=1):
        chosen = json.loads(choice[(choice["fold"] == number) & choice["chosen"]]["candidate"].iloc[0])
        manifest = read_json(folder / "manifest.json")
        assert SpeechRater.from_pretrained(folder / "model").layers == chosen["model.layers"]
        trained = set(read_split(folder / "split.csv").parts.query("part != 'test'")["speaker"])
        inner = [read_predictions(path) for path in sorted((run / "inner").iterdir())]
        inner = [table for table in inner if set(table["speaker"]) <= trained]
        pairs = [
            pd.concat([first, second])
            for place, first in enumerate(inner)
            for second in inner[place + 1 :]
            if not set(first["speaker"]) & set(second["speaker"])
        ]
        scale = Scale((1.0, 2.0, 3.0, 4.0), present_from=2.0)
        found = [{t: d.threshold for t, d in fit_decisions(pair, TRAITS, scale).items()} for pair in pairs]
        assert {t: each["value"] for t, each in manifest["thresholds"].items()} in found


def test_numbers_are_of_all_folds_pooled_of_each_and_of_their_mean(run):
    tree = read_json(run / "metrics.json")["test"]
    predictions = read_predictions(run)
    rows = predictions[(predictions["trait"] == "breathy") & predictions["rating"].notna()]
    is_right = (rows["probability"] >= rows["threshold"]) == (rows["rating"] >= 2)
    assert tree["recording"]["traits"]["breathy"]["accuracy"]["value"] == pytest.approx(is_right.mean())
    values = [
        read_json(folder / "metrics.json")["test"]["recording"]["macro"]["mae"]["value"] for folder in folders_of(run)
    ]
    assert [tree["folds"][fold]["recording"]["macro"]["mae"]["value"] for fold in ("1", "2")] == values
    assert tree["over_folds"]["recording"]["macro"]["mae"]["value"] == pytest.approx(np.mean(values))
    assert set(tree["baselines"]) >= {"majority", "mean", "duration", "acoustic"}
    rated = int(rows["rating"].notna().sum())
    assert tree["baselines"]["duration"]["recording"]["traits"]["breathy"]["auc"]["n"] == rated


def test_the_report_shows_the_mean_over_folds_and_each_of_them(run):
    html = (run / "report.html").read_text()
    section = html[html.index('<section id="result"') :].split("</section>")[0]
    mean = read_json(run / "metrics.json")["test"]["over_folds"]["recording"]["macro"]["mae"]
    rows = dict(re.findall(r'<th scope="row">(mean over folds|fold \d)</th>(.*?)</tr>', section, flags=re.DOTALL)[::-1])
    assert f"<td>{mean['value']:.2f}<span" in rows["mean over folds"]
    for number, fold in enumerate(read_json(run / "manifest.json")["folds"], 1):
        tested = read_predictions(run).query(f"fold == {number}")["recording"].nunique()
        assert rows[f"fold {number}"].startswith(f"<td>{tested}</td>")
        assert f"<td>{fold['best_epoch']}</td>" in rows[f"fold {number}"]
        assert f"{fold['chosen']['model.layers']}" in rows[f"fold {number}"]
    facts = pd.read_csv(run / "checklist.csv", dtype=str)["value"].dropna()
    assert not facts.str.contains("epoch None|train 0 recordings", regex=True).any()


def test_what_is_finished_is_not_trained_again(run, settings, tmp_path):
    lines = []

    class Lines:
        def start(self, title, total): ...
        def advance(self, note=""): ...
        def say(self, line):
            lines.append(line)

    copy = tmp_path / "runs" / run.name
    shutil.copytree(run, copy)
    manifest = read_json(copy / "manifest.json")
    (copy / "manifest.json").write_text(json.dumps(manifest | {"finished": False}))
    second = copy / manifest["folds"][1]["folder"]
    shutil.rmtree(second)
    (copy / "metrics.json").unlink()
    again = cross_validate(settings.model_copy(update={"runs": str(tmp_path / "runs")}), resume=True, progress=Lines())
    assert again == copy
    assert (again / "metrics.json").read_text() == (run / "metrics.json").read_text()
    # one epoch of one fold is all that was trained
    assert sum(line.startswith("epoch") for line in lines) == 1
    assert sum("has finished already" in line for line in lines) == 1
    notes = [line for line in lines if line.startswith("Note: ")]
    assert len(notes) == len(set(notes)) > 0


def test_all_folds_rate_new_recordings_together(run, corpus, tmp_path):
    new = pd.DataFrame({"recording": ["a"], "path": [str(next(iter(sorted(corpus.rglob("*.wav")))))]})
    assert predict_files(run, new, tmp_path / "all.csv") == {}
    single = []
    for folder in folders_of(run):
        predict_files(folder, new, tmp_path / "one.csv")
        single.append(pd.read_csv(tmp_path / "one.csv"))
    together = pd.read_csv(tmp_path / "all.csv")
    assert together["score"].tolist() == pytest.approx(((single[0]["score"] + single[1]["score"]) / 2).tolist())
    with pytest.raises(RaterError, match="holds a rater for each fold"):
        SpeechRater.from_pretrained(run)
    with pytest.raises(RunError, match="is a run of all folds"):
        evaluate_run(run)


def test_the_command_line_trains_all_folds_and_says_that_they_are_there(corpus, run):
    again = CliRunner().invoke(app, ["train", str(run / "config.yaml"), f"runs={corpus / 'runs'}", "--resume"])
    assert again.exit_code == 0, again.output
    assert "has finished already" in again.output and "test part, by recording" in again.output
    for command in (["report", str(run)], ["audit", str(run)], ["check", str(run / "config.yaml")]):
        outcome = CliRunner().invoke(app, command)
        assert outcome.exit_code == 0, outcome.output


def test_a_run_of_one_fold_refuses_all_of_them(settings):
    with pytest.raises(SplitError, match="A run tests on one fold"):
        train(settings)


def test_the_best_candidate_is_the_one_with_the_best_mean_and_the_first_of_equals():
    def make(*scores):
        return Candidate({}, scores, pd.DataFrame())

    nothing = float("nan")
    candidates = [make(0.5, 0.7), make(0.9, nothing), make(nothing, nothing), make(0.9, 0.9)]
    assert choose_best(candidates, "auc") is candidates[1]
    assert choose_best(candidates, "mae") is candidates[0]
    assert choose_best(candidates[2:3], "auc") is candidates[2]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["choose.grid={model.layers: [6]}"], "choose.grid needs inner folds"),
        (["split={kind: folds, fold: 2, inner: 3}"], "inner goes with fold: all"),
        (["split={kind: folds, inner: 3}", "choose.grid={seed: [1]}"], "choose.grid is of settings under audio"),
        (["split={kind: folds, inner: 3}", "choose.grid={train.epochs: []}"], "'?train.epochs'? has none"),
        (["split={kind: folds, inner: 3}", "choose.grid={model.layer: [1]}"], "did you mean model.layers"),
        (["split={kind: folds, inner: 3}", "choose.metric=qwk", "model.head=binary"], "needs levels"),
    ],
)
def test_settings_of_nested_folds_that_make_no_sense_are_refused(corpus, overrides, message):
    with pytest.raises(ConfigError, match=message):
        quick_settings(corpus, corpus / "runs", *overrides)
