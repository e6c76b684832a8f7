"""Recordings edited in a known way: what is asked for is changed, and nothing else."""

import numpy as np
import pytest

from lalia.evaluation.explain.edits import (
    EDITS,
    add_breath,
    add_pause,
    cut_high,
    cut_pauses,
    find_pauses,
    make_background,
    silence_band,
    silence_stretch,
    soften,
)
from toy_speech import say

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def speech():
    return say(seed=3)


def with_pause(speech, seconds=0.5):
    """Put a pause of the recording's own noise into the middle."""
    pause = 0.0005 * np.random.default_rng(0).normal(size=round(seconds * RATE_HZ))
    return np.concatenate([speech[:24_000], pause, speech[24_000:]]).astype(np.float32)


def power(waveform, low_hz, high_hz):
    spectrum = np.abs(np.fft.rfft(waveform)) ** 2
    hertz = np.fft.rfftfreq(len(waveform), 1 / RATE_HZ)
    return spectrum[(hertz >= low_hz) & (hertz < high_hz)].sum() / len(waveform)


def test_a_pause_is_found_where_it_is(speech):
    assert find_pauses(speech, RATE_HZ) == []
    ((start, end),) = find_pauses(with_pause(speech), RATE_HZ)
    assert abs(start - 24_000) < 1_600
    assert abs(end - 32_000) < 1_600


def test_tones_and_silence_have_no_pause():
    tone = np.sin(np.arange(16_000) / 5).astype(np.float32)
    assert find_pauses(tone, RATE_HZ) == []
    assert find_pauses(np.zeros(16_000, np.float32), RATE_HZ) == []


def test_cutting_pauses_takes_out_the_pause_alone(speech):
    cut = cut_pauses(with_pause(speech), RATE_HZ)
    assert find_pauses(cut, RATE_HZ) == []
    assert abs(len(cut) - (len(speech) + 0.12 * RATE_HZ)) < 0.1 * RATE_HZ
    np.testing.assert_array_equal(cut[:20_000], speech[:20_000])
    np.testing.assert_array_equal(cut[-15_000:], speech[-15_000:])
    np.testing.assert_array_equal(cut_pauses(speech, RATE_HZ), speech)


def test_a_pause_that_is_put_in_is_found_and_cut_again(speech):
    longer = add_pause(speech, RATE_HZ)
    assert len(longer) - len(speech) == pytest.approx(0.6 * RATE_HZ, abs=200)
    assert len(find_pauses(longer, RATE_HZ)) == 1
    assert find_pauses(cut_pauses(longer, RATE_HZ), RATE_HZ) == []


def test_a_silenced_stretch_leaves_the_rest(speech):
    background = make_background(speech, RATE_HZ)
    edited = silence_stretch(speech, RATE_HZ, 10_000, 20_000, background)
    np.testing.assert_array_equal(edited[10_000:20_000], background[10_000:20_000])
    np.testing.assert_array_equal(edited[:9_900], speech[:9_900])
    np.testing.assert_array_equal(edited[20_100:], speech[20_100:])


def test_a_silenced_band_leaves_the_rest(speech):
    background = make_background(speech, RATE_HZ)
    edited = silence_band(speech, RATE_HZ, 1_000, 2_000, background)
    assert power(edited, 1_000, 2_000) < 0.02 * power(speech, 1_000, 2_000)
    for band in ((0, 900), (2_100, 8_000)):
        assert power(edited, *band) == pytest.approx(power(speech, *band), rel=1e-3)


def test_all_bands_silenced_one_after_the_other_leave_the_background(speech):
    background = make_background(speech, RATE_HZ)
    edited = silence_band(speech, RATE_HZ, 0, RATE_HZ / 2, background)
    np.testing.assert_allclose(edited, background, atol=1e-5)


def test_background_is_as_loud_as_what_is_quiet_and_sounds_like_it():
    rng = np.random.default_rng(0)
    hum = 0.01 * np.sin(2 * np.pi * 400 * np.arange(32_000) / RATE_HZ)
    loud = np.where(np.arange(32_000) < 16_000, 0.3, 0.0) * rng.normal(size=32_000)
    background = make_background((hum + loud).astype(np.float32), RATE_HZ)
    assert np.sqrt(np.mean(background**2)) == pytest.approx(0.01 / np.sqrt(2), rel=0.2)
    assert power(background, 300, 500) > 0.9 * power(background, 0, 8_000)


def test_breath_lies_above_1500_hz_has_the_level_of_the_voice_there_and_follows_it(speech):
    paused = with_pause(speech)
    noise = add_breath(paused, RATE_HZ) - paused
    assert power(noise, 0, 1_000) < 0.01 * power(noise, 0, 8_000)
    for band in ((1_500, 3_000), (3_000, 8_000)):
        assert 10 * np.log10(power(noise, *band) / power(speech, *band)) == pytest.approx(6.0, abs=3.0)
    assert np.mean(noise[26_000:30_000] ** 2) < 0.01 * np.mean(noise**2)


def test_cutting_what_is_high_and_softening(speech):
    assert power(cut_high(speech, RATE_HZ), 3_100, 8_000) < 0.05 * power(speech, 3_100, 8_000)
    np.testing.assert_allclose(soften(speech, RATE_HZ), speech / 10**0.5, rtol=1e-5)


@pytest.mark.parametrize("n_samples", [1, 300, 5_000])
@pytest.mark.parametrize("name", list(EDITS))
def test_edits_take_short_and_silent_recordings_and_change_nothing_in_place(name, n_samples):
    for waveform in (np.zeros(n_samples, np.float32), say(seed=1)[:n_samples]):
        before = waveform.copy()
        edited = EDITS[name](waveform, RATE_HZ)
        assert edited.dtype == np.float32
        assert np.isfinite(edited).all()
        assert len(edited) >= min(n_samples, 300)
        np.testing.assert_array_equal(waveform, before)
        np.testing.assert_array_equal(EDITS[name](waveform, RATE_HZ), edited)
