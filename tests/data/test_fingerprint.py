"""The fingerprint and the log-mel statistics of a recording, on synthetic speech."""

import numpy as np
import pytest

from lalia.data.fingerprint import fingerprint
from lalia.data.log_mel import log_mel_statistics
from lalia.data.spectra import power_spectra
from lalia.data.voice import RATE_HZ
from toy_speech import CHANGES, say


def differing(first, second, lag=0):
    """Return the share of bits that differ in frames that are audible in both."""
    (bits, audible), (others, also) = first, second
    count = min(len(bits) - lag, len(others))
    is_common = audible[lag : lag + count] & also[:count]
    return np.bitwise_count(bits[lag : lag + count] ^ others[:count])[is_common].mean() / 32


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_keeps_its_fingerprint(change):
    shares = []
    for seed in range(3):
        changed, rate_hz = CHANGES[change](say(seed))
        shares.append(differing(fingerprint(say(seed), RATE_HZ), fingerprint(changed, rate_hz)))
    assert max(shares) < 0.2


def test_other_words_of_the_same_voice_have_another_fingerprint():
    first, second = (fingerprint(say(seed), RATE_HZ) for seed in (0, 1))
    assert min(differing(first, second, lag) for lag in range(60)) > 0.35


def test_bits_say_where_energy_moves_between_bands():
    # the bands of each frame are compared with those of the frame before: what stays as it is sets no bit
    tone = np.sin(2 * np.pi * 1000 * np.arange(8_000) / 8_000).astype(np.float32)
    steady, _ = fingerprint(np.tile(tone[:128], 60), 8_000)
    assert steady.tolist() == [0] * len(steady)


def test_a_recording_shorter_than_a_frame_has_no_fingerprint():
    bits, audible = fingerprint(np.ones(100, np.float32), 8_000)
    assert (len(bits), len(audible)) == (0, 0)


def test_frames_that_are_silent_do_not_count():
    _, audible = fingerprint(np.concatenate([np.zeros(RATE_HZ, np.float32), say(0)]), RATE_HZ)
    assert not audible[:40].any()
    assert audible[60:].any()


def test_power_spectra_are_those_of_each_frame_across_pieces():
    noise = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    spectra = np.concatenate(list(power_spectra(noise, 64, 1)))
    window = np.hanning(65)[:-1]
    assert len(spectra) == 3000 - 63
    assert spectra[2500] == pytest.approx(np.abs(np.fft.rfft(noise[2500:2564] * window)) ** 2, rel=1e-4)


def test_twice_the_amplitude_adds_the_logarithm_of_4_to_each_mean_and_nothing_to_the_spread():
    # on noise that stays far above the floor
    noise = 0.1 * np.random.default_rng(0).normal(size=RATE_HZ).astype(np.float32)
    soft, loud = log_mel_statistics(noise, RATE_HZ), log_mel_statistics(2 * noise, RATE_HZ)
    assert (loud - soft)[:40] == pytest.approx(np.log(4), abs=1e-4)
    assert (loud - soft)[40:] == pytest.approx(0, abs=1e-4)


def test_a_tone_is_in_its_band_at_any_sampling_rate():
    for rate_hz in (16_000, 44_100):
        tone = np.sin(2 * np.pi * 1000 * np.arange(rate_hz) / rate_hz).astype(np.float32)
        # 40 bands from 20 Hz to 8 kHz on Slaney's scale, which is linear up to 1 kHz: centres every 73 Hz
        assert log_mel_statistics(tone, rate_hz)[:40].argmax() == 12
