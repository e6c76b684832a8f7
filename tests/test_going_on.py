"""Runs that go on from earlier ones: from a whole rater, from its head, from its encoder."""

import json
import shutil

import pytest
import torch

from lalia.build import build_rater, load_rater
from lalia.config import load_config
from lalia.errors import ConfigError, ModelError
from lalia.run import evaluate_run, train
from toy_rater import make_rater
from toy_run import TRAITS, quick_settings


@pytest.fixture(scope="module")
def corpus(finished_corpus):
    return finished_corpus


@pytest.fixture(scope="module")
def first(corpus, tmp_path_factory):
    """A finished run with adapters in its encoder, saved without the encoder's own weights."""
    runs = tmp_path_factory.mktemp("runs")
    return train(
        quick_settings(corpus, runs, *SETTINGS, "model.adapt={kind: lora, rank: 2}", "model.save_encoder=false")
    )


SETTINGS = ("model.layers=weighted", "model.pooling=mean")
GOING_ON = (*SETTINGS, "model.encoder=null", "model.adapt={kind: partial, last: 1}")


def scores_of(rater):
    return rater.score([torch.randn(12_000, generator=torch.Generator().manual_seed(0)) * 0.1]).score


def test_a_rater_that_starts_from_a_run_gives_its_scores_before_training(corpus, first, tmp_path):
    settings = quick_settings(corpus, tmp_path, *GOING_ON, f"model.start_from={first}")
    rater = build_rater(settings, TRAITS)
    torch.testing.assert_close(scores_of(rater), scores_of(load_rater(first)), atol=1e-5, rtol=0)
    assert rater.kept_traits == set(TRAITS)
    assert not rater.encoder.added


def test_a_run_goes_on_from_another_with_a_trait_more_and_one_less(corpus, first, tmp_path):
    settings = quick_settings(
        corpus, tmp_path, *GOING_ON, f"model.start_from={first}", "data.traits=[slow_rate, hoarse_harsh]"
    )
    folder = train(settings)
    again = load_rater(folder)
    assert again.traits == ("slow_rate", "hoarse_harsh")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["finished"]
    assert manifest["started_from"]["kept_traits"] == ["slow_rate"]


def test_a_run_can_be_evaluated_again_when_the_one_it_began_with_is_gone(corpus, first, tmp_path):
    copy = tmp_path / "first"
    shutil.copytree(first, copy)
    folder = train(quick_settings(corpus, tmp_path, *GOING_ON, f"model.start_from={copy}"))
    before = (folder / "metrics.json").read_bytes()
    shutil.rmtree(copy)
    evaluate_run(folder)
    assert (folder / "metrics.json").read_bytes() == before


def test_what_the_settings_leave_out_follows_from_the_saved_rater(corpus, first, tmp_path):
    (tmp_path / "run.yaml").write_text(
        f"data: {{metadata: {corpus}/metadata.csv}}\nmodel: {{start_from: {first}, head: {{dropout: 0.3}}}}\n"
    )
    settings = load_config(tmp_path / "run.yaml")
    assert (settings.model.layers, settings.model.pooling.kind, settings.model.head.dropout) == (
        "weighted",
        "mean",
        0.3,
    )
    assert settings.audio.window_seconds == load_rater(first).preprocessing.window_seconds


def test_groups_of_a_saved_head_are_taken_over_by_name(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"traits": ["a", "b"], "head": {"kind": "binary", "groups": {"voice": [1], "rate": [0]}}})
    )
    (tmp_path / "run.yaml").write_text(
        f"data: {{metadata: t.csv}}\nmodel: {{encoder: 'random:wavlm', head_from: {tmp_path}}}\n"
    )
    assert load_config(tmp_path / "run.yaml").model.head.groups == {"voice": ("b",), "rate": ("a",)}


def test_ratings_set_the_start_of_new_traits_alone(corpus, first, tmp_path):
    from lalia.run import _start_from_ratings

    settings = quick_settings(
        corpus, tmp_path, *GOING_ON, f"model.start_from={first}", "data.traits=[slow_rate, hoarse_harsh]"
    )
    rater = build_rater(settings, settings.data.traits)
    before = [{name: values.clone() for name, values in output.state_dict().items()} for output in rater.head.outputs]
    _start_from_ratings(rater, torch.tensor([[1.0, 4.0], [1.0, 4.0], [1.0, 4.0]]))
    same = [
        all(torch.equal(values, old[name]) for name, values in output.state_dict().items())
        for output, old in zip(rater.head.outputs, before, strict=True)
    ]
    assert same == [True, False]


def test_a_head_goes_on_another_encoder(corpus, first, tmp_path):
    encoder = "model.encoder={random: hubert, layers: 1, width: 16, heads: 2}"
    settings = quick_settings(corpus, tmp_path, *SETTINGS, encoder, "model.adapt=frozen", f"model.head_from={first}")
    rater, source = build_rater(settings, TRAITS), load_rater(first)
    for name, values in source.head.state_dict().items():
        assert torch.equal(rater.head.state_dict()[name], values)
    assert rater.encoder.family == "hubert"


def test_what_a_run_goes_on_from_is_part_of_its_name(corpus, first, tmp_path):
    from lalia.run_begin import _start_hashes

    settings = quick_settings(corpus, tmp_path, *GOING_ON, f"model.start_from={first}")
    (sha256,) = _start_hashes(settings)
    assert sha256 == json.loads((first / "model" / "config.json").read_text())["weights_sha256"]


def test_normalisation_other_than_the_saved_raters_is_refused(tmp_path):
    make_rater().save_pretrained(tmp_path / "saved")
    (tmp_path / "run.yaml").write_text("data: {metadata: t.csv}\nmodel: {start_from: saved}\n")
    assert build_rater(load_config(tmp_path / "run.yaml"), TRAITS).encoder.normalize is True
    with pytest.raises(ModelError, match="trained with audio.normalize true, and the settings say false"):
        build_rater(load_config(tmp_path / "run.yaml", ["audio.normalize=false"]), TRAITS)


def test_dropout_may_be_another_one(corpus, first, tmp_path):
    settings = quick_settings(corpus, tmp_path, *GOING_ON, f"model.start_from={first}", "model.head.dropout=0.4")
    assert build_rater(settings, TRAITS).head.config["dropout"] == 0.4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.layers=last", "pools layers 'weighted', and model.layers is 'last'"),
        ("model.pooling=max", "model.pooling.kind is 'max', there 'mean'"),
        ("model.head={kind: binary}", "model.head.kind is 'binary', there 'ordinal'"),
    ],
)
def test_settings_that_contradict_the_saved_rater_are_refused(corpus, first, tmp_path, override, message):
    settings = quick_settings(corpus, tmp_path, *GOING_ON, f"model.start_from={first}", override)
    with pytest.raises(ModelError, match=message):
        build_rater(settings, TRAITS)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("{layers: last}", "model: encoder is missing"),
        ("{encoder: x, start_from: y}", "start_from brings its own encoder"),
        ("{head_from: x, start_from: y}", "start_from brings its own head"),
        ("{revision: x, start_from: y}", "start_from brings its own encoder: leave revision out"),
    ],
)
def test_an_encoder_or_a_run_to_start_from_is_needed_and_not_both(tmp_path, model, message):
    (tmp_path / "run.yaml").write_text(f"data: {{metadata: t.csv}}\nmodel: {model}\n")
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "run.yaml")
