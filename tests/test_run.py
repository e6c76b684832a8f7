"""One run in its folder, from settings to report."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from hub_stand_in import stand_in, use_endpoint
from lalia.config import identity_json, load_config
from lalia.data.splits import read_split
from lalia.errors import AudioError, RunError
from lalia.evaluation.predict import predict_files
from lalia.model.encoders.load import load_encoder
from lalia.model.rater import SpeechRater
from lalia.prepare import prepare
from lalia.run import evaluate_run, train
from lalia.run_folder import open_run_folder
from toy_run import TRAITS, copy_run, quick_settings, write_toy_corpus


@pytest.fixture
def corpus(finished_corpus):
    return finished_corpus


@pytest.fixture
def run(finished_run):
    return finished_run


@pytest.fixture(scope="module")
def small_corpus(tmp_path_factory):
    return write_toy_corpus(tmp_path_factory.mktemp("corpus"), speakers=4)


@pytest.fixture
def own_corpus(small_corpus, tmp_path):
    return shutil.copytree(small_corpus, tmp_path / "corpus")


def read_metrics(run):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads((run / "metrics.json").read_text(), parse_constant=refuse)


def test_a_run_folder_holds_what_belongs_to_the_run(run):
    assert sorted(path.name for path in run.iterdir()) == [
        "checklist-answers.yaml",
        "checklist.csv",
        "checkpoints",
        "config.yaml",
        "data.csv",
        "history.csv",
        "manifest.json",
        "metrics.json",
        "model",
        "model-last",
        "predictions.csv",
        "report.html",
        "split.csv",
    ]


def test_predictions_have_a_row_per_recording_and_trait(run, corpus):
    predictions = pd.read_csv(run / "predictions.csv")
    metadata = pd.read_csv(corpus / "metadata.csv")
    known = ["recording", "speaker", "part", "trait", "rating", "score", "level", "probability"]
    assert list(predictions) == [*known, "p_ge_2", "p_ge_3", "p_ge_4"]
    assert len(predictions) == len(metadata) * len(TRAITS)
    assert not predictions.duplicated(["recording", "trait"]).any()
    assert predictions["level"].isin([1, 2, 3, 4]).all()
    assert predictions["probability"].between(0, 1).all()


def test_every_metric_has_a_value_and_an_interval_or_a_reason(run):
    def visit(tree):
        if "value" not in tree:
            return [metric for key, branch in tree.items() if key != "counts" for metric in visit(branch)]
        return [tree]

    metrics = visit(read_metrics(run))
    assert len(metrics) > 500
    for metric in metrics:
        assert {"value", "low", "high", "n"} <= set(metric)
        assert (metric["value"] is None) == ("reason" in metric)


def test_metrics_are_addressed_as_designed(run):
    metrics = read_metrics(run)
    assert set(metrics) == {"train", "validation", "test"}
    assert "auc" in metrics["test"]["recording"]["traits"]["breathy"]
    assert "spearman" in metrics["test"]["speaker"]["macro"]
    assert set(metrics["test"]["baselines"]) == {
        "majority",
        "mean",
        "duration",
        "demographics",
        "acoustic",
    }
    assert "qwk" in metrics["test"]["raters"]["recording"]["macro"]
    assert set(metrics["test"]["reliability"]["breathy"]) == {"krippendorff_alpha", "pairwise_qwk", "icc_a1", "icc_ak"}


def test_the_history_has_a_row_per_epoch(run):
    history = pd.read_csv(run / "history.csv")
    assert list(history["epoch"]) == [1, 2]
    columns = ["train_loss", "validation_loss", "learning_rate", "encoder_learning_rate", "seconds"]
    assert history[columns].notna().all(axis=None)
    assert history["is_best"].any()


def test_the_saved_rater_gives_the_predicted_scores(run, corpus):
    predictions = pd.read_csv(run / "predictions.csv")
    rater = SpeechRater.from_pretrained(run)
    first = predictions["recording"].iloc[0]
    waveform, _ = soundfile.read(corpus / "audio" / f"{first}.wav", dtype="float32")
    expected = predictions.loc[predictions["recording"] == first].set_index("trait")["score"].loc[list(rater.traits)]
    np.testing.assert_allclose(rater.score([waveform]).score[0].numpy(), expected, atol=1e-5)


def test_the_last_model_is_saved_beside_the_best(run):
    best, last = (SpeechRater.from_pretrained(run / name) for name in ("model", "model-last"))
    assert best.traits == last.traits


def test_the_settings_of_a_run_give_the_same_run(run, corpus):
    settings = load_config(run / "config.yaml")
    assert settings == quick_settings(corpus, run.parent)
    with pytest.raises(RunError, match=r"exists already\. Give --resume to go on, --overwrite to begin again"):
        train(settings)


def test_answers_to_the_checklists_survive_a_run_that_begins_again(tmp_path):
    folder = tmp_path / "run"
    open_run_folder(folder, resume=False, overwrite=False)
    (folder / "model").mkdir()
    (folder / "checklist-answers.yaml").write_text("CLAIM: {5: prospective}")
    (folder / "manifest.json").write_text("{}")
    open_run_folder(folder, resume=False, overwrite=True)
    assert [path.name for path in folder.iterdir()] == ["checklist-answers.yaml"]
    (folder / "checklist-answers.yaml").write_text("CLAIM: {50: prospective}")
    with pytest.raises(RunError, match=r"CLAIM has no item '50' \(did you mean '44'\?\)"):
        open_run_folder(folder, resume=False, overwrite=False)


def test_two_runs_with_one_seed_give_the_same_bytes(run, corpus, tmp_path):
    again = train(quick_settings(corpus, tmp_path))
    assert again.name == run.name
    for name in ("metrics.json", "predictions.csv", "split.csv"):
        assert (again / name).read_bytes() == (run / name).read_bytes()


def test_different_seeds_give_other_metrics(run, corpus, tmp_path):
    # the parts are given, so that only training differs
    split = f"split={{kind: file, path: {run / 'split.csv'}}}"
    found = {train(quick_settings(corpus, tmp_path, split, f"seed={seed}")) for seed in (1, 2)}
    assert len(found) == 2
    scores, metrics = (
        {(folder / name).read_bytes() for folder in found} for name in ("predictions.csv", "metrics.json")
    )
    assert (len(scores), len(metrics)) == (2, 2)


def test_another_seed_is_another_run_with_another_split(run, corpus, tmp_path):
    other = quick_settings(corpus, tmp_path, "seed=77")
    prepared = prepare(other)
    assert not prepared.split.parts.equals(read_split(run / "split.csv").parts)


def test_the_manifest_names_versions_hashes_and_flow(run):
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["finished"] is True
    assert set(manifest["hashes"]) == {"settings", "data", "split"}
    assert manifest["versions"]["torch"].startswith("2.")
    assert manifest["flow"]["recordings_in"] == 16
    assert sum(part["recordings"] for part in manifest["flow"]["parts"].values()) == 16
    assert set(manifest["thresholds"]) == set(SpeechRater.from_pretrained(run).thresholds)


def test_an_encoder_from_the_hub_is_recorded_with_its_commit_and_need_not_stay(own_corpus, tmp_path, monkeypatch):
    encoder = load_encoder({"random": "hubert", "layers": 1, "width": 16, "heads": 2})
    encoder.model.save_pretrained(tmp_path / "repository")
    (tmp_path / "repository" / "preprocessor_config.json").write_text('{"do_normalize": true}')
    with stand_in() as hub:
        use_endpoint(monkeypatch, hub.endpoint, tmp_path / "cache")
        commit = hub.add_folder("someone/small-hubert", tmp_path / "repository")
        model = "model={encoder: someone/small-hubert, revision: main, download_dir: encoders, keep_download: false}"
        monkeypatch.chdir(tmp_path)
        folder = train(quick_settings(own_corpus, tmp_path / "runs", model, "train.epochs=1"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["encoder"]["name"], manifest["encoder"]["revision"]) == ("someone/small-hubert", commit)
    assert list((tmp_path / "encoders").iterdir()) == []
    assert str(tmp_path) not in (folder / "report.html").read_text()


def test_chance_stands_beside_the_numbers_of_speakers(run):
    metrics = read_metrics(run)
    compared = 0
    for part in metrics.values():
        for trait, found in part["chance"].items():
            for name, chance in found.items():
                value = part["speaker"]["traits"][trait][name]["value"]
                assert (chance["value"] is None) == (value is None)
                if value is not None:
                    assert chance["value"] == pytest.approx(value)
                    assert 0 < chance["p"] <= 1
                    compared += 1
    assert compared


def test_evaluating_a_run_again_changes_no_number(run, tmp_path):
    run = copy_run(run, tmp_path)
    before = {name: (run / name).read_bytes() for name in ("metrics.json", "predictions.csv")}
    count = json.loads((run / "manifest.json").read_text())["test_evaluations"]
    evaluate_run(run)
    assert before == {name: (run / name).read_bytes() for name in before}
    assert json.loads((run / "manifest.json").read_text())["test_evaluations"] == count + 1
    assert f"Evaluations of the test part: {count + 1}" in (run / "model" / "README.md").read_text()


def test_changed_data_are_not_evaluated_as_the_old_ones(own_corpus, tmp_path):
    folder = train(quick_settings(own_corpus, tmp_path / "runs", "train.epochs=1"))
    table = (own_corpus / "metadata.csv").read_text()
    (own_corpus / "metadata.csv").write_text(table.replace(",male,", ",female,", 1))
    with pytest.raises(RunError, match="are not those it was trained on"):
        evaluate_run(folder)


def test_broken_recordings_stop_a_run_and_are_listed(own_corpus, tmp_path):
    (own_corpus / "audio" / "S001_1.wav").write_bytes(b"RIFF nonsense")
    soundfile.write(own_corpus / "audio" / "S002_1.wav", np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="2 of 8 recordings cannot be used: 'S001_1'.*'S002_1'.*unreadable to drop"):
        prepare(quick_settings(own_corpus, tmp_path))


def test_broken_recordings_can_be_dropped_with_their_reason(own_corpus, tmp_path):
    (own_corpus / "audio" / "S001_1.wav").write_bytes(b"RIFF nonsense")
    prepared = prepare(quick_settings(own_corpus, tmp_path, "data.unreadable=drop"))
    assert len(prepared.table.recordings) == 7
    (step,) = prepared.table.flow.dropped
    assert step.recordings == ("S001_1",)


def test_new_recordings_are_rated_one_row_per_recording_and_trait(run, corpus, tmp_path):
    paths = sorted((corpus / "audio").glob("S00[12]_1.wav"))
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"nothing")
    recordings = pd.DataFrame({"recording": ["a", "b", "c"], "path": [*map(str, paths), str(broken)]})
    problems = predict_files(run / "model", recordings, tmp_path / "out.csv")
    assert list(problems) == ["c"]
    rated = pd.read_csv(tmp_path / "out.csv")
    assert list(rated) == ["recording", "trait", "score", "level", "probability", "p_ge_2", "p_ge_3", "p_ge_4"]
    predicted = pd.read_csv(run / "predictions.csv").set_index(["recording", "trait"])["score"]
    for row in rated[rated["recording"] == "a"].itertuples():
        assert row.score == pytest.approx(predicted[("S001_1", row.trait)], abs=1e-5)


ADAPTED = ["{kind: lora, rank: 2}", "soft_prompt"]
OTHERS = ["{kind: adalora, rank: 1, start_rank: 2}", "{kind: ia3}", "half"]
ADAPTED += [pytest.param(adapt, marks=pytest.mark.slow) for adapt in OTHERS]


@pytest.mark.parametrize("adapt", ADAPTED)
def test_every_adaptation_runs_from_settings_to_report_and_is_saved_without_its_encoder(own_corpus, tmp_path, adapt):
    settings = quick_settings(
        own_corpus, tmp_path, f"model.adapt={adapt}", "model.save_encoder=false", "model.encoder.layers=2"
    )
    folder = train(settings)
    whole = sum(p.numel() for p in prepare(settings).rater.parameters())
    for name in ("model", "model-last"):
        assert (folder / name / "model.safetensors").stat().st_size < 4 * whole
    before = {name: (folder / name).read_bytes() for name in ("metrics.json", "predictions.csv")}
    evaluate_run(folder)
    assert before == {name: (folder / name).read_bytes() for name in before}
    recordings = pd.DataFrame({"recording": ["a"], "path": [str(own_corpus / "audio" / "S001_1.wav")]})
    for place in (folder, folder / "model"):
        assert predict_files(place, recordings, tmp_path / "out.csv") == {}
    history = pd.read_csv(folder / "history.csv")
    assert history["adapter_learning_rate"].notna().all() == (adapt != "half")


def test_saving_without_the_encoder_is_the_same_run(corpus, tmp_path):
    settings = quick_settings(corpus, tmp_path), quick_settings(corpus, tmp_path, "model.save_encoder=false")
    assert identity_json(settings[0]) == identity_json(settings[1])


@pytest.mark.parametrize("head", ["binary", "ordinal", "{kind: ordinal, method: corn}", "regression"])
def test_every_head_runs_from_settings_to_report(own_corpus, tmp_path, head):
    folder = train(quick_settings(own_corpus, tmp_path, f"model.head={head}", "train.epochs=1"))
    macro = read_metrics(folder)["train"]["recording"]["macro"]
    assert macro["auc"]["value"] is not None
    assert (macro["qwk"]["value"] is None) == (head == "binary")
    assert (folder / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    "pooling", ["attentive_statistics", pytest.param("{kind: attention, heads: 2}", marks=pytest.mark.slow)]
)
def test_grouped_heads_on_several_depths_run_from_settings_to_report(own_corpus, tmp_path, pooling):
    groups = f"{{voice: [{TRAITS[0]}], articulation: [{TRAITS[1]}]}}"
    head = f"model.head={{hidden: [8], groups: {groups}, transformer: {{heads: 2, hidden: 16}}}}"
    run = train(quick_settings(own_corpus, tmp_path, "model.layers=last-2", f"model.pooling={pooling}", head))
    rater = SpeechRater.from_pretrained(run)
    assert rater.head.layers.sharing.group_names == ("voice", "articulation")
    assert "its last 2 depths side by side" in (run / "report.html").read_text(encoding="utf-8")
    predictions = pd.read_csv(run / "predictions.csv")
    assert np.isfinite(predictions["score"]).all()


def test_a_part_without_recordings_does_not_stop_a_run(own_corpus, tmp_path):
    split = "split={train: 1.0, validation: 0.0, test: 0.0}"
    folder = train(quick_settings(own_corpus, tmp_path, split, "train.epochs=1"))
    assert set(read_metrics(folder)) == {"train"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert all(each["value"] == 0.5 and each["reason"] for each in manifest["thresholds"].values())


def test_an_undefined_metric_is_told_in_the_manifest_and_the_report(small_corpus, tmp_path):
    # two recordings of one speaker are validation
    options = ["train.early_stopping={metric: spearman, patience: 1}", "train.epochs=3"]
    folder = train(quick_settings(small_corpus, tmp_path / "runs", *options))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["best_epoch"] == 3
    expected = (
        "train.early_stopping.metric: validation_spearman was undefined in every epoch (fewer than 3 rated "
        "recordings), so nothing could stop training early and the weights of the last epoch, 3, are kept."
    )
    assert expected in manifest["warnings"]
    assert expected in (folder / "report.html").read_text(encoding="utf-8")


def test_a_run_with_heads_of_raters_scores_with_that_of_the_combined_rating(corpus, tmp_path):
    overrides = ("model.rater_heads=true", "train.loss.targets=raters", "train.loss.rank={}")
    folder = train(quick_settings(corpus, tmp_path, *overrides))
    rater = SpeechRater.from_pretrained(folder)
    assert rater.raters == ("1", "2", "3")
    before = (folder / "metrics.json").read_bytes()
    evaluate_run(folder)
    assert (folder / "metrics.json").read_bytes() == before
