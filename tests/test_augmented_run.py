"""A run with augmentation: only training hears it, and what it may falsify is said."""

import json
import os
import signal

import pytest
import torch

from lalia.build import build_augmentation
from lalia.data.audio import load_windows
from lalia.data.augment import Augmentation, Step
from lalia.data.dataset import RecordingDataset
from lalia.data.splits import read_split
from lalia.errors import ConfigError, Stopped
from lalia.prepare import prepare
from lalia.progress import Progress
from lalia.run import train
from lalia.settings import TrainSettings
from lalia.training.loop import fit
from toy_data import make_table
from toy_rater import make_rater
from toy_run import quick_settings, write_toy_corpus

AUGMENT = "augment=[{kind: noise, probability: 1}, {kind: speed, probability: 1}, {kind: mix, probability: 0.5}]"
MIX = {"snr_db": (0.0, 10.0)}


class SignalAt(Progress):
    """Sends this process a signal after some steps."""

    def __init__(self, step):
        self.left = step

    def advance(self, note=""):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_toy_corpus(tmp_path_factory.mktemp("corpus"), speakers=4)


def as_bytes(windows):
    return b"|".join(window.tobytes() for window in windows)


def test_training_alone_hears_augmentation_and_all_else_hears_the_files_byte_for_byte(corpus, tmp_path, monkeypatch):
    heard = {}
    read = RecordingDataset.__getitem__

    def spy(self, row):
        item = read(self, row)
        heard.setdefault(self.recordings[row], []).append(as_bytes(item.windows))
        return item

    settings = quick_settings(corpus, tmp_path, AUGMENT)
    prepared = prepare(settings)
    plain = {
        row.recording: as_bytes(load_windows(row.path, prepared.rater.preprocessing))
        for row in prepared.table.recordings.itertuples()
    }
    monkeypatch.setattr(RecordingDataset, "__getitem__", spy)
    run = train(settings)
    parts = read_split(run / "split.csv", prepared.table).parts.set_index("recording")["part"]
    assert set(parts) == {"train", "validation", "test"}
    for recording, part in parts.items():
        if part == "train":
            # two epochs, each other than the file and than each other; then the predictions
            assert len(set(heard[recording])) == 3
            assert [waveform == plain[recording] for waveform in heard[recording]] == [False, False, True]
        else:
            assert set(heard[recording]) == {plain[recording]}


def test_a_run_with_augmentation_is_another_run_and_the_same_each_time(corpus, tmp_path):
    def losses(name, *overrides):
        return (train(quick_settings(corpus, tmp_path / name, *overrides)) / "history.csv").read_text().split("\n")[1]

    first, again, plain = losses("first", AUGMENT), losses("again", AUGMENT), losses("plain")
    assert first.split(",")[1] == again.split(",")[1] != plain.split(",")[1]


def test_what_augmentation_may_falsify_is_a_warning_of_check_and_train(corpus, tmp_path):
    settings = quick_settings(corpus, tmp_path, "augment=[speed]", "train.epochs=1")
    expected = "augment: speed may falsify 'slow_rate': it is the rate that is rated."
    assert expected in prepare(settings).warnings
    manifest = json.loads((train(settings) / "manifest.json").read_text(encoding="utf-8"))
    assert expected in manifest["warnings"]


@pytest.mark.parametrize(("adapt", "is_slow"), [("frozen", True), ("full", False), ("lora", False)])
def test_hidden_frames_that_make_the_cache_useless_are_a_warning(adapt, is_slow, corpus, tmp_path):
    settings = quick_settings(corpus, tmp_path, "augment={spec_augment: {}}", f"model.adapt={adapt}")
    found = [
        warning for warning in prepare(settings).warnings if warning.startswith("augment.spec_augment: the encoder")
    ]
    expected = (
        "augment.spec_augment: the encoder is frozen up to depth 1, and frames are hidden below: each epoch runs the "
        "whole encoder on the training part, whatever the cache holds."
    )
    assert found == [expected] * is_slow


def test_without_augmentation_there_is_none_and_no_warning(corpus, tmp_path):
    prepared = prepare(quick_settings(corpus, tmp_path))
    assert build_augmentation(quick_settings(corpus, tmp_path), prepared.rater.encoder) is None
    assert not [risk for risk in prepared.risks if risk.startswith("augment")]


def test_the_settings_of_every_step_reach_it(corpus, tmp_path):
    settings = quick_settings(corpus, tmp_path, "augment={views: 3, apply: [{kind: gain, gain_db: -3}, telephone]}")
    rater = prepare(settings).rater
    augmentation = build_augmentation(settings, rater.encoder)
    assert (augmentation.seed, augmentation.views) == (settings.seed, 3)
    assert augmentation.min_samples == rater.encoder.min_samples
    assert [(step.kind, step.probability, dict(step.options)) for step in augmentation.steps] == [
        ("gain", 0.5, {"gain_db": (-3.0, -3.0)}),
        ("telephone", 0.5, {}),
    ]


def test_a_transform_of_audiomentations_is_looked_up_by_its_name(corpus, tmp_path):
    pytest.importorskip("audiomentations")
    augment = "augment=[{kind: audiomentations, transform: %s, parameters: {min_gain_db: -3}}]"
    rater = prepare(quick_settings(corpus, tmp_path)).rater
    (step,) = build_augmentation(quick_settings(corpus, tmp_path, augment % "Gain"), rater.encoder).steps
    assert step.options == {"transform": "Gain", "parameters": {"min_gain_db": -3}}
    with pytest.raises(ConfigError, match="has no transform 'Gian'. Did you mean 'Gain'?"):
        build_augmentation(quick_settings(corpus, tmp_path, augment % "Gian"), rater.encoder)


def test_a_stopped_training_goes_on_with_what_it_would_have_heard(tmp_path):
    noisy = Augmentation((Step("noise", options={"snr_db": (0.0, 10.0), "color": "white"}), Step("mix", 0.5, MIX)), 1)
    table = make_table(tmp_path)
    settings = TrainSettings(epochs=3, batch_seconds=1, warmup=0.0, early_stopping=None)

    def trained(name, **options):
        rater = make_rater()
        sets = (RecordingDataset(table, rater.preprocessing, each) for each in (noisy, None))
        return fit(rater, *sets, settings, seed=3, checkpoints=tmp_path / name, **options).last

    whole = trained("whole")
    with pytest.raises(Stopped):
        trained("stopped", progress=SignalAt(step=7))
    resumed = trained("stopped", resume=True)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
