"""What is measured of a recording's making, on signals whose answers are known."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from scipy.signal import butter, sosfilt

from lalia.data.audio import Preprocessing, scan_recordings
from lalia.data.decoding import Decoded, decode
from lalia.data.quality import QUALITY_COLUMNS, bandwidth_hz, clipping_share, estimate_snr_db, measure_quality

RATE_HZ = 16_000
RNG = np.random.default_rng(0)


def sine(hz, seconds=2.0, rate_hz=RATE_HZ, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def in_16_bits(waveform):
    return np.round(np.asarray(waveform) * 32767).astype(np.int16).astype(np.float32) / 32768


def phrases(seconds=10.0, seed=0):
    """Return noise of a power of 0.01 in phrases of 0.6 s with pauses of 0.4 s."""
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return 0.1 * np.random.default_rng(seed).normal(size=len(times)) * (times % 1.0 < 0.6)


# --- noise ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [5, 10, 20, 40, 60])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_the_noise_between_phrases_is_found_to_a_decibel(snr_db, rate_hz):
    times = np.arange(10 * rate_hz) / rate_hz
    random = np.random.default_rng(snr_db)
    speech = 0.1 * random.normal(size=len(times)) * (times % 1.0 < 0.6)
    noise = 0.1 * 10 ** (-snr_db / 20) * random.normal(size=len(times))
    assert estimate_snr_db((speech + noise).astype(np.float32), rate_hz) == pytest.approx(snr_db, abs=1.0)


def test_the_estimate_does_not_depend_on_level_or_offset():
    waveform = (phrases() + 0.005 * RNG.normal(size=160_000)).astype(np.float32)
    found = estimate_snr_db(waveform, RATE_HZ)
    assert estimate_snr_db(waveform * 0.1, RATE_HZ) == pytest.approx(found, abs=1e-4)
    assert estimate_snr_db(waveform + 0.2, RATE_HZ) == pytest.approx(found, abs=0.01)


def test_silence_has_no_snr_and_a_tone_that_never_pauses_has_none_to_speak_of():
    assert np.isnan(estimate_snr_db(np.zeros(RATE_HZ, np.float32), RATE_HZ))
    assert estimate_snr_db(sine(200.0), RATE_HZ) == 0.0


# --- clipping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hz", [50.0, 100.0, 440.0, 3000.0])
@pytest.mark.parametrize("amplitude", [0.9, 0.03, 0.001])
@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_a_smooth_tone_is_not_clipped_however_slow_or_soft(hz, amplitude, rate_hz):
    assert clipping_share(in_16_bits(sine(hz, rate_hz=rate_hz, amplitude=amplitude))) == 0.0


@pytest.mark.parametrize("rounding", [in_16_bits, np.float32])
def test_the_share_of_a_clipped_sine_is_that_of_its_arc(rounding):
    # |sin| is above 0.8 for 1 - 2 asin(0.8) / pi of the time
    clipped = rounding(np.clip(sine(101.0, seconds=4.0, amplitude=0.5), -0.4, 0.4))
    assert clipping_share(clipped) == pytest.approx(1 - 2 * np.arcsin(0.8) / np.pi, abs=0.01)


def test_clipping_is_found_at_any_level():
    clipped = np.clip(phrases(), -0.15, 0.15).astype(np.float32)
    assert clipping_share(in_16_bits(clipped * 0.2)) == pytest.approx(clipping_share(in_16_bits(clipped)), abs=1e-3)
    assert clipping_share(in_16_bits(clipped)) > 0.001


def test_8_bits_are_not_clipping():
    coarse = np.round(sine(150.0, amplitude=0.7) * 127) / 128
    assert clipping_share(coarse.astype(np.float32)) == 0.0


def test_noise_and_silence_are_not_clipped():
    assert clipping_share(in_16_bits(0.1 * RNG.normal(size=RATE_HZ).clip(-5, 5))) == 0.0
    assert clipping_share(np.zeros(RATE_HZ, np.float32)) == 0.0


# --- bandwidth --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_white_noise_reaches_half_the_sampling_rate(rate_hz):
    noise = in_16_bits(0.1 * np.random.default_rng(1).normal(size=3 * rate_hz))
    assert bandwidth_hz(noise, rate_hz) == rate_hz / 2


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_a_telephone_is_heard_under_any_sampling_rate(rate_hz):
    band = butter(10, (300, 3400), "bandpass", fs=8_000, output="sos")
    call = sosfilt(band, 0.1 * np.random.default_rng(2).normal(size=24_000))
    resampled = in_16_bits(soxr.resample(call.astype(np.float32), 8_000, rate_hz))
    assert 3400 <= bandwidth_hz(resampled, rate_hz) <= 4050


@pytest.mark.parametrize("cut_hz", [1000, 2500, 5000, 7000])
def test_the_edge_of_a_steep_filter_is_found(cut_hz):
    noise = 0.1 * np.random.default_rng(3).normal(size=64_000).astype(np.float32)
    narrow = soxr.resample(noise, RATE_HZ, 2 * cut_hz, quality="VHQ")
    assert bandwidth_hz(soxr.resample(narrow, 2 * cut_hz, RATE_HZ, quality="VHQ"), RATE_HZ) == pytest.approx(
        cut_hz, rel=0.05
    )


def test_rounding_to_16_bits_is_no_bandwidth():
    soft = sosfilt(butter(10, 2000, fs=RATE_HZ, output="sos"), 0.001 * np.random.default_rng(4).normal(size=64_000))
    assert bandwidth_hz(in_16_bits(soft), RATE_HZ) < 3000


def test_a_lone_whine_is_no_bandwidth():
    low = soxr.resample(0.1 * np.random.default_rng(5).normal(size=24_000).astype(np.float32), 8_000, 48_000)
    assert bandwidth_hz(low + sine(15_625.0, 3.0, 48_000, 0.001), 48_000) < 4100


def test_silence_has_no_bandwidth():
    assert np.isnan(bandwidth_hz(np.zeros(RATE_HZ, np.float32), RATE_HZ))


# --- the file ---------------------------------------------------------------------------------------------------------


def describe(path, samples, rate_hz=RATE_HZ):
    soundfile.write(path, samples, rate_hz, subtype="FLOAT")
    return measure_quality(decode(path))


def test_the_offset_is_the_mean_of_the_samples(tmp_path):
    assert describe(tmp_path / "a.wav", sine(100.0) + 0.05)["dc_offset"] == pytest.approx(0.05, abs=1e-6)


def test_two_equal_channels_are_mono_as_stereo_and_two_others_are_not(tmp_path):
    tone, other = sine(100.0), sine(120.0)
    assert describe(tmp_path / "a.wav", np.column_stack([tone, tone]))["is_mono_as_stereo"] is True
    assert describe(tmp_path / "b.wav", np.column_stack([tone, other]))["is_mono_as_stereo"] is False
    assert describe(tmp_path / "c.wav", tone)["is_mono_as_stereo"] is False


@pytest.mark.parametrize("count", [1, 2, 10, 500])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_few_samples_and_a_constant_have_no_noise_and_no_band(count, value):
    found = measure_quality(Decoded(np.full(count, value, np.float32), RATE_HZ, 1))
    assert np.isnan([found["snr_db"], found["bandwidth_hz"]]).all()
    assert (found["clipping_share"], found["dc_offset"]) == (0.0, value)


def test_a_scan_takes_the_quality_along_in_the_same_reading(tmp_path):
    soundfile.write(tmp_path / "a.wav", phrases(), RATE_HZ)
    (tmp_path / "b.wav").write_text("no audio")
    paths = [str(tmp_path / "a.wav"), str(tmp_path / "b.wav")]
    plain = Preprocessing(RATE_HZ, trim_db=None, window_seconds=30.0, hop_seconds=30.0)
    found = scan_recordings(
        pd.DataFrame({"recording": ["a", "b"], "path": paths}), plain, min_seconds=0.1, describe=measure_quality
    )
    assert set(QUALITY_COLUMNS) <= set(found)
    assert found["bandwidth_hz"].tolist()[0] == 8000
    assert found["bandwidth_hz"].isna().tolist() == [False, True]
