"""Runs that start from what an earlier run has learned: a whole rater, its head, or its encoder."""

import json
import shutil

import pytest
import torch

from lalia.build import build_rater, hash_start
from lalia.config import identity_json, load_config, save_config
from lalia.errors import ConfigError, ModelError, RaterError
from lalia.model.encoders.load import load_encoder
from lalia.model.rater import SpeechRater
from lalia.run import evaluate_run, train
from toy_rater import make_encoder, make_rater, make_waveform
from toy_run import quick_settings, write_toy_corpus

ALL = ("hoarse_harsh", "breathy")


@pytest.fixture
def rater():
    """A rater of settings that are not the defaults, its encoder other than any that is made anew."""
    made = make_rater(
        encoder=load_encoder({"random": "wavlm", "layers": 2, "width": 16, "heads": 2, "seed": 8}),
        layers="weighted",
        pooling="attention",
        kind="regression",
        shared=False,
        thresholds={"breathy": 0.3},
    )
    with torch.no_grad():
        made.layer_mix.logits.copy_(torch.tensor([0.1, 0.5, -0.3]))
    return made


@pytest.fixture
def saved(rater, tmp_path):
    rater.save_pretrained(tmp_path / "run" / "model")
    return tmp_path / "run"


@pytest.fixture
def settings(tmp_path):
    """Read settings with a model, and overrides."""

    def read(model, *overrides, data="metadata: t.csv"):
        path = tmp_path / "run.yaml"
        path.write_text(f"data: {{{data}}}\nmodel: {{{model}}}\n")
        return load_config(path, overrides)

    return read


# --- settings ---------------------------------------------------------------------------------------------------------


def test_what_is_not_given_is_as_it_was_in_the_saved_rater(saved, settings):
    found = settings("start_from: run")
    assert found.model.start_from == str(saved)
    assert (found.model.layers, found.model.encoder) == ("weighted", None)
    assert found.model.pooling.model_dump() == {"kind": "attention", "hidden": 8}
    assert (found.model.head.kind, found.model.head.hidden, found.model.head.shared) == ("regression", (8,), False)
    assert (found.audio.window_seconds, found.audio.hop_seconds) == (1.5, 1.5)
    assert found.data.scale.levels == (1, 2, 3, 4)


def test_what_is_given_goes_before_what_was_saved(saved, settings):
    found = settings("start_from: run, head: {dropout: 0.4}", "model.pooling=mean", "audio.hop_seconds=1")
    assert (found.model.head.dropout, found.model.head.hidden) == (0.4, (8,))
    assert found.model.pooling.kind == "mean"
    assert (found.audio.window_seconds, found.audio.hop_seconds) == (30, 1)


def test_a_head_brings_its_pooling_and_scale_but_no_layers_and_no_windows(rater, tmp_path, settings):
    rater.save_head(tmp_path / "head")
    found = settings("encoder: 'random:wavlm', head_from: head")
    assert found.model.pooling.hidden == 8
    assert (found.model.layers, found.audio.window_seconds) == ("last", 30)


def test_settings_that_were_taken_over_are_saved_as_resolved_and_do_not_need_the_rater_again(saved, settings, tmp_path):
    found = settings("start_from: run")
    save_config(found, tmp_path / "saved.yaml")
    shutil.rmtree(saved)
    assert load_config(tmp_path / "saved.yaml") == found


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("layers: last", "model: encoder is missing: give one, or a rater to start_from"),
        ("start_from: a, head_from: b", "model: give either start_from, which brings its head along, or head_from"),
        ("start_from: 3", "model.start_from must be a valid string"),
    ],
)
def test_settings_that_cannot_start_are_refused(settings, model, message):
    with pytest.raises(ConfigError, match=message):
        settings(model)


# --- a whole rater ----------------------------------------------------------------------------------------------------


def test_a_rater_that_starts_from_a_saved_one_scores_as_it_did(rater, saved, settings):
    again = build_rater(settings("start_from: run"), rater.traits)
    for ours, theirs in zip(again.score([make_waveform(0.5)]), rater.score([make_waveform(0.5)]), strict=True):
        assert torch.equal(ours, theirs)
    assert again.thresholds == rater.thresholds


def test_more_and_fewer_traits_keep_the_heads_of_those_that_stay(rater, saved, settings):
    again = build_rater(settings("start_from: run"), ["slow_rate", "monopitch"])
    assert again.kept_traits == ("slow_rate",)
    ours, theirs = again.score([make_waveform(0.5)]).score, rater.score([make_waveform(0.5)]).score
    assert torch.equal(ours[:, 0], theirs[:, 1])


def test_new_traits_are_drawn_from_the_seed(saved, settings):
    build = [build_rater(settings("start_from: run", f"seed={seed}"), ["monopitch"]) for seed in (1, 1, 2)]
    weights = [each.head.outputs[0].weight for each in build]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_what_trains_is_as_the_settings_say(saved, settings):
    frozen = build_rater(settings("start_from: run"), ["breathy"])
    partial = build_rater(settings("start_from: run, adapt: {kind: partial, last: 1}"), ["breathy"])
    assert (frozen.encoder.first_changing_depth, partial.encoder.first_changing_depth) == (3, 2)


def test_settings_that_contradict_the_saved_rater_are_listed(saved, settings):
    contradicting = settings(
        "start_from: run, encoder: {random: hubert, layers: 2, width: 16, heads: 2}, layers: last,"
        " pooling: mean, head: {hidden: [4], shared: true}",
        data="metadata: t.csv, scale: {levels: [1, 2, 3]}",
    )
    with pytest.raises(ModelError) as caught:
        build_rater(contradicting, ["breathy"])
    assert str(caught.value) == (
        f"model.start_from: the settings are not those of the one saved in '{saved / 'model'}': model.encoder is a"
        " random hubert, there another encoder, random:wavlm; model.layers is 'last', there 'weighted';"
        " model.pooling.kind is 'mean', there 'attention'; model.head.hidden is [4], there [8]; model.head.shared is"
        " True, there False; data.scale.levels is (1.0, 2.0, 3.0), there (1.0, 2.0, 3.0, 4.0). Leave these settings"
        " out to take over the saved ones, or train without start_from."
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("encoder: microsoft/wavlm-base", "model.encoder is 'microsoft/wavlm-base', there 'random:wavlm'"),
        ("revision: main", "model.revision is 'main', there None"),
        ("head: binary", "model.head.kind is 'binary', there 'regression'"),
    ],
)
def test_one_contradiction_is_enough(saved, settings, model, message):
    with pytest.raises(ModelError, match=message):
        build_rater(settings(f"start_from: run, {model}"), ["breathy"])


def test_the_same_encoder_may_be_named(saved, settings):
    named = "start_from: run, encoder: {random: wavlm, layers: 2, width: 16, heads: 2}"
    assert build_rater(settings(named), ["breathy"]).kept_traits == ("breathy",)


def test_an_encoder_from_a_folder_may_be_named_by_that_folder(tmp_path, settings):
    make_encoder("hubert").model.save_pretrained(tmp_path / "my-hubert")
    make_rater(encoder=load_encoder(tmp_path / "my-hubert", normalize=True)).save_pretrained(tmp_path / "run")
    named = settings("start_from: run, encoder: my-hubert")
    assert build_rater(named, ["breathy"]).encoder.source.name == "my-hubert"


def test_a_rater_that_is_not_there_is_named(settings, tmp_path):
    with pytest.raises(RaterError, match=r"No rater in '.*nowhere'.*Give the folder of a finished run"):
        build_rater(settings("start_from: nowhere"), ["breathy"])


# --- a head, an encoder -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["run", "run/model", "head"])
def test_a_head_goes_onto_another_encoder(rater, saved, tmp_path, settings, place):
    rater.save_head(tmp_path / "head")
    encoder = "{random: hubert, layers: 1, width: 16, heads: 2}"
    made = build_rater(settings(f"encoder: {encoder}, head_from: {place}"), ["monopitch", "breathy"])
    assert made.encoder.family == "hubert"
    assert made.kept_traits == ("breathy",)
    assert torch.equal(made.pooling.project.weight, rater.pooling.project.weight)
    assert torch.equal(made.head.outputs[1].weight, rater.head.outputs[0].weight)


def test_settings_that_contradict_the_saved_head_are_listed(rater, tmp_path, settings):
    rater.save_head(tmp_path / "head")
    with pytest.raises(ModelError, match=r"model.head_from: .*model.head.hidden is \[5\], there \[8\]\. Leave these"):
        build_rater(settings("encoder: 'random:wavlm', head_from: head, head: {hidden: [5]}"), ["breathy"])


def test_a_head_of_another_width_is_refused(rater, tmp_path, settings):
    rater.save_head(tmp_path / "head")
    with pytest.raises(ModelError, match="goes onto an encoder of the width that it was trained on"):
        build_rater(settings("encoder: 'random:wavlm', head_from: head"), ["breathy"])


def test_the_encoder_of_a_run_is_an_encoder(rater, saved, settings):
    made = build_rater(settings("encoder: run"), ["breathy"])
    ours, theirs = made.encoder.state_dict(), rater.encoder.state_dict()
    assert all(torch.equal(values, theirs[name]) for name, values in ours.items())
    assert made.layers == "last"


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_toy_corpus(tmp_path_factory.mktemp("corpus"), speakers=4)


@pytest.fixture(scope="module")
def first_run(corpus, tmp_path_factory):
    traits = f"data.traits=[{', '.join(ALL)}]"
    return train(quick_settings(corpus, tmp_path_factory.mktemp("runs"), traits, "train.epochs=1"))


def go_on(corpus, runs, first_run, *overrides):
    """The settings of a run that starts from another one and changes no weight."""
    model = f"model={{start_from: {first_run}}}"
    still = ["train.epochs=1", "train.learning_rate=0", "train.encoder_learning_rate=0"]
    return quick_settings(corpus, runs, model, *still, *overrides)


def test_a_run_that_starts_from_another_one_keeps_its_traits_and_starts_new_ones(corpus, first_run, tmp_path):
    folder = train(go_on(corpus, tmp_path, first_run, "data.traits=[breathy, slow_rate]"))
    before, after = SpeechRater.from_pretrained(first_run), SpeechRater.from_pretrained(folder)
    ours, theirs = after.score([make_waveform(1.0)]).score, before.score([make_waveform(1.0)]).score
    assert torch.equal(ours[:, 0], theirs[:, 1])
    started = json.loads((folder / "manifest.json").read_text())["started_from"]
    assert started["kept_traits"] == ["breathy"]
    report = (folder / "report.html").read_text()
    assert "a saved rater; the heads of breathy were kept" in report
    assert str(first_run) not in report


def test_such_a_run_can_be_evaluated_without_the_one_it_started_from(corpus, first_run, tmp_path):
    copy = shutil.copytree(first_run, tmp_path / "copy")
    folder = train(go_on(corpus, tmp_path / "runs", copy))
    before = (folder / "metrics.json").read_bytes()
    shutil.rmtree(copy)
    evaluate_run(folder)
    assert (folder / "metrics.json").read_bytes() == before


def test_a_run_is_named_by_the_weights_it_starts_from_not_by_their_place(corpus, first_run, tmp_path):
    copy = shutil.copytree(first_run, tmp_path / "copy")
    here, there = (go_on(corpus, tmp_path, place) for place in (first_run, copy))
    assert identity_json(here) == identity_json(there)
    assert hash_start(here) == hash_start(there) is not None
    assert hash_start(quick_settings(corpus, tmp_path)) is None
