"""Transforms of audiomentations: the same for a seed, refused with advice, and nothing left behind."""

import random
import sys

import numpy as np
import pytest

from lalia.data import catalogue
from lalia.data.augment import Augmentation, Step
from lalia.data.catalogue import apply_transform, check_transform
from lalia.errors import ConfigError

WAVEFORM = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
# they want files, or packages of their own
NOT_TRIED = {
    "AddBackgroundNoise": {"sounds_path": "noise"},
    "AddShortNoises": {"sounds_path": "noise"},
    "ApplyImpulseResponse": {"ir_path": "rooms"},
    "AdjustDuration": {"duration_seconds": 1.0},
    "Limiter": {},
    "LoudnessNormalization": {},
    "Mp3Compression": {},
    "RoomSimulator": {},
}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The input sound is not long enough")


@pytest.fixture
def names():
    pytest.importorskip("audiomentations")
    return [name for name in catalogue._find_transforms() if name not in NOT_TRIED]


def heard(transform="AddGaussianNoise", seed=1, recording="a", epoch=1, **parameters):
    step = Step("audiomentations", 1.0, {"transform": transform, "parameters": parameters})
    return Augmentation((step,), seed).apply(WAVEFORM, 16_000, recording, epoch)


def test_every_transform_gives_the_same_for_a_seed_and_leaves_the_waveform_and_the_global_generators(names):
    assert len(names) > 25
    before, states = WAVEFORM.copy(), (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    for name in names:
        check_transform(name, {}, 16_000)
        rng = [np.random.default_rng(0) for _ in range(2)]
        first, again = (apply_transform(WAVEFORM, 16_000, each, transform=name, parameters={}) for each in rng)
        assert first.dtype == np.float32
        assert first.tobytes() == again.tobytes(), name
    assert np.array_equal(WAVEFORM, before)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states  # noqa: NPY002


@pytest.mark.usefixtures("names")
def test_what_is_drawn_depends_on_seed_recording_and_epoch_and_not_on_the_global_generators():
    drawn = [heard(), heard(seed=2), heard(recording="b"), heard(epoch=2)]
    assert len({each.tobytes() for each in drawn}) == 4
    random.seed(5)
    assert heard().tobytes() == drawn[0].tobytes()


@pytest.mark.usefixtures("names")
def test_the_parameters_reach_the_transform():
    noise = heard(min_amplitude=0.01, max_amplitude=0.01) - WAVEFORM
    assert np.std(noise) == pytest.approx(0.01, rel=0.05)


@pytest.mark.usefixtures("names")
def test_the_version_of_the_package_is_part_of_what_a_view_depends_on():
    step = Step("audiomentations", 1.0, {"transform": "Clip", "parameters": {}})
    assert Augmentation((step,), 1).describe()["audiomentations"] == catalogue.package_version()
    assert "audiomentations" not in Augmentation((), 1).describe()


REFUSED = {
    "AddGausianNoise": ({}, "audiomentations has no transform 'AddGausianNoise'. Did you mean 'AddGaussianNoise'?"),
    "Compose": ({}, "audiomentations has no transform 'Compose'."),
    "Gain": ({"min_gain": 1}, "audiomentations' Gain has no parameter 'min_gain'. Did you mean 'min_gain_db'?"),
    "Clip": ({"p": 1}, "audiomentations' Clip: its p is the distortion's own setting, probability."),
    "Lambda": ({}, "audiomentations' Lambda cannot be used: it takes a function, which settings cannot hold."),
    "AddGaussianSNR": (
        {"min_snr_db": 9, "max_snr_db": 1},
        "audiomentations' AddGaussianSNR cannot be used with {'min_snr_db': 9, 'max_snr_db': 1}: "
        "min_snr_db must not be greater than max_snr_db",
    ),
    "AddShortNoises": ({}, "audiomentations' AddShortNoises cannot be used with {}: "),
}


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_with_what_could_be(name):
    parameters, expected = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        check_transform(name, parameters, 16_000)
    assert str(caught.value).startswith(f"augment: {expected}")


def test_without_the_package_its_line_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "audiomentations", None)
    monkeypatch.setattr(catalogue, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        check_transform("Clip", {}, 16_000)
    assert str(caught.value) == (
        "augment names audiomentations, which is not installed. "
        "Install it with: pip install 'lalia[augment]', or take it out."
    )
