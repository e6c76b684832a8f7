"""Distortions do what their names say, by the number asked for, on any rate and on the shortest clip."""

import numpy as np
import pytest
from scipy.signal import correlate

from lalia.data.augment import DISTORTIONS
from lalia.data.distortions import limit_peak, mean_power
from lalia.settings import AugmentSettings

RATES_HZ = (8_000, 16_000, 48_000)
# every kind of lalia's own with the options of its settings
KINDS = [kind for kind in DISTORTIONS if kind != "audiomentations"]
OPTIONS = {
    kind: AugmentSettings.model_validate({"apply": [kind]}).apply[0].model_dump(exclude={"kind", "probability"})
    for kind in KINDS
}


def noise_bursts(n_samples, rate_hz=16_000, seed=0):
    """Noise whose level changes eight times a second, as that of syllables does."""
    random = np.random.default_rng(seed)
    levels = np.repeat(random.uniform(0.02, 0.2, n_samples * 8 // rate_hz + 1), rate_hz // 8)[:n_samples]
    return (levels * random.standard_normal(n_samples)).clip(-1, 1).astype(np.float32)


def tone(hertz, seconds=1.0, rate_hz=16_000):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def distort(kind, waveform, rate_hz=16_000, seed=0, **options):
    others = {"other": noise_bursts(5_000, rate_hz, seed=9)} if kind == "mix" else {}
    return DISTORTIONS[kind](waveform, rate_hz, np.random.default_rng(seed), **{**OPTIONS[kind], **others, **options})


def level_db(waveform):
    return 10 * np.log10(mean_power(waveform) + 1e-30)


def peak_hertz(waveform, rate_hz=16_000):
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return np.argmax(spectrum) * rate_hz / len(waveform)


def lag(first, second):
    """Return by how many samples the second waveform is later than the first."""
    return int(np.argmax(correlate(second, first, method="fft"))) - (len(first) - 1)


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("kind", KINDS)
def test_every_distortion_is_finite_on_speech_silence_and_the_shortest_clip(kind, rate_hz):
    for waveform in (
        noise_bursts(rate_hz, rate_hz),
        noise_bursts(400, rate_hz),
        np.zeros(rate_hz // 2, np.float32),
        np.zeros(400, np.float32),
        np.full(400, 3.0, np.float32),
        np.ones(1, np.float32),
    ):
        for seed in range(3):
            distorted = distort(kind, waveform, rate_hz, seed)
            assert np.isfinite(distorted).all()
            assert distorted.dtype == np.float32
            assert kind == "speed" or len(distorted) == len(waveform)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_and_another_one_something_else(kind):
    waveform = noise_bursts(8_000)
    before = waveform.copy()
    assert np.array_equal(distort(kind, waveform, seed=1), distort(kind, waveform, seed=1))
    same = np.array_equal(distort(kind, waveform, seed=1), distort(kind, waveform, seed=2))
    assert same == (kind in ("polarity", "telephone"))
    assert np.array_equal(waveform, before)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"mix"}))
def test_silence_stays_silent(kind):
    assert np.abs(distort(kind, np.zeros(4_000, np.float32))).max() < 1e-4


# --- level and time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0, 40.0])
@pytest.mark.parametrize(
    ("kind", "options"), [("noise", {"color": "white"}), ("noise", {"color": "pink"}), ("mix", {})]
)
def test_what_is_added_is_at_the_ratio_asked_for(kind, options, snr_db):
    waveform = noise_bursts(16_000)
    added = distort(kind, waveform, snr_db=(snr_db, snr_db), **options).astype(np.float64) - waveform
    assert abs(level_db(waveform) - level_db(added) - snr_db) < 0.1


@pytest.mark.parametrize(("color", "per_octave_db"), [("white", 3.0), ("pink", 0.0)])
def test_pink_noise_has_the_same_power_in_every_octave_and_white_twice_in_the_next(color, per_octave_db):
    waveform = tone(100, seconds=20)
    added = distort("noise", waveform, snr_db=(0.0, 0.0), color=color).astype(np.float64) - waveform
    power = np.square(np.abs(np.fft.rfft(added)))
    hertz = np.fft.rfftfreq(len(added), 1 / 16_000)
    octaves = [power[(hertz >= low) & (hertz < 2 * low)].sum() for low in (250, 500, 1_000, 2_000)]
    assert np.diff(10 * np.log10(octaves)) == pytest.approx(per_octave_db, abs=0.4)


def test_the_ratio_is_drawn_from_the_whole_range():
    waveform = noise_bursts(4_000)
    ratios = [
        level_db(waveform) - level_db(distort("noise", waveform, seed=seed, snr_db=(10.0, 30.0)) - waveform)
        for seed in range(50)
    ]
    assert 10 <= min(ratios) < 12
    assert 28 < max(ratios) <= 30


def test_a_mixed_recording_repeats_where_it_is_shorter_and_none_changes_nothing():
    waveform, other = noise_bursts(1_000), np.arange(1, 8, dtype=np.float32)
    added = distort("mix", waveform, other=other, snr_db=(0.0, 0.0)).astype(np.float64) - waveform
    assert added[:-7] == pytest.approx(added[7:], abs=1e-6)
    assert np.array_equal(distort("mix", waveform, other=None), waveform)


def test_gain_is_as_asked_for():
    waveform = noise_bursts(4_000)
    assert level_db(distort("gain", waveform, gain_db=(-6.0, -6.0))) - level_db(waveform) == pytest.approx(-6, abs=1e-3)


def test_clipping_cuts_the_peaks_alone():
    waveform = noise_bursts(4_000)
    clipped = distort("clipping", waveform, below_peak_db=(6.0, 6.0))
    limit = np.abs(waveform).max() * 10 ** (-6 / 20)
    assert np.abs(clipped).max() == pytest.approx(limit)
    assert np.array_equal(clipped[np.abs(waveform) < limit], waveform[np.abs(waveform) < limit])


def test_polarity_changes_every_sign():
    waveform = noise_bursts(400)
    assert np.array_equal(distort("polarity", waveform), -waveform)


@pytest.mark.parametrize("shift_ms", [-10.0, 10.0])
def test_a_shift_moves_by_the_time_asked_for_and_lets_silence_in(shift_ms):
    waveform = noise_bursts(4_000)
    moved = distort("shift", waveform, shift_ms=(shift_ms, shift_ms))
    kept, silent = (moved[160:], moved[:160]) if shift_ms > 0 else (moved[:-160], moved[-160:])
    assert np.array_equal(kept, waveform[:-160] if shift_ms > 0 else waveform[160:])
    assert not silent.any()


def test_a_time_mask_silences_stretches_and_at_most_half():
    waveform = noise_bursts(4_000) + 2
    masked = distort("time_mask", waveform, mask_ms=(10.0, 10.0), count=1)
    places = np.flatnonzero(masked == 0)
    assert len(places) == 160
    assert places[-1] - places[0] == 159
    assert (distort("time_mask", waveform, mask_ms=(900.0, 900.0), count=3) == 0).sum() <= 2_000


def test_limiting_the_peak_keeps_all_ratios():
    loud = 3 * noise_bursts(4_000) / 0.2
    assert limit_peak(loud, 1.0) == pytest.approx(loud / np.abs(loud).max())
    assert limit_peak(loud, 100.0) is loud


# --- channels ---------------------------------------------------------------------------------------------------------


def test_a_frequency_mask_takes_out_a_band_of_the_width_asked_for():
    waveform = np.random.default_rng(0).standard_normal(64_000).astype(np.float32)
    masked = distort("frequency_mask", waveform, width_hz=(1_000.0, 1_000.0))
    powers = [np.square(np.abs(np.fft.rfft(each)))[:32_000] for each in (waveform, masked)]
    before, after = (power.reshape(-1, 100).mean(axis=1) for power in powers)
    gains = 10 * np.log10(after / before + 1e-12)  # per 25 Hz
    assert 37 <= (gains < -20).sum() <= 44
    assert (np.abs(gains) < 1.0).sum() >= 320 - 50


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_telephone_passes_300_to_3400_hertz(rate_hz):
    def gain_db(hertz):
        waveform = tone(hertz, rate_hz=rate_hz)
        middle = slice(rate_hz // 4, -rate_hz // 4)
        return level_db(distort("telephone", waveform, rate_hz)[middle]) - level_db(waveform[middle])

    assert all(abs(gain_db(hertz)) < 0.5 for hertz in (320, 1_000, 3_300))
    assert all(gain_db(hertz) < -40 for hertz in (100, 180, 5_000, 7_000) if hertz < rate_hz / 2)


def test_reverberation_keeps_the_direct_sound_and_the_level():
    click = np.zeros(16_000, np.float32)
    click[3_000] = 0.5
    for seed in range(10):
        wet = distort("reverberation", click, seed=seed, rt60_seconds=(0.1, 1.0), direct_db=(0.0, 12.0))
        assert np.argmax(np.abs(wet)) == 3_000
        assert not wet[:2_990].any() or np.abs(wet[:2_990]).max() < 1e-6
        waveform = noise_bursts(16_000)
        wet = distort("reverberation", waveform, seed=seed)
        assert lag(waveform, wet) == 0
        assert level_db(wet) == pytest.approx(level_db(waveform), abs=1e-3)


@pytest.mark.parametrize("rt60", [0.2, 0.6])
def test_echoes_fall_by_60_db_within_rt60_and_have_the_energy_asked_for(rt60):
    click = np.zeros(32_000, np.float32)
    click[0] = 1.0
    wet = distort("reverberation", click, rt60_seconds=(rt60, rt60), direct_db=(6.0, 6.0)).astype(np.float64)
    echoes = wet[1:]
    assert 10 * np.log10(wet[0] ** 2 / np.square(echoes).sum()) == pytest.approx(6.0, abs=0.01)
    # Schroeder's backward integration, between -5 and -25 dB
    decay = 10 * np.log10(np.cumsum(np.square(echoes)[::-1])[::-1] / np.square(echoes).sum() + 1e-30)
    slope = (np.argmax(decay < -25) - np.argmax(decay < -5)) / 16_000 / 20
    assert slope * 60 == pytest.approx(rt60, rel=0.15)


@pytest.mark.parametrize("compression", [0.3, 0.99])
@pytest.mark.parametrize("rate_hz", [*RATES_HZ, 44_100, 12_345])
@pytest.mark.parametrize("codec", ["mp3", "vorbis", "opus"])
def test_a_codec_changes_the_waveform_but_not_its_length_and_place(codec, rate_hz, compression):
    for n_samples in (400, 3 * rate_hz + 77):
        waveform = noise_bursts(n_samples, rate_hz)
        decoded = distort("codec", waveform, rate_hz, codecs=(codec,), compression=(compression, compression))
        assert len(decoded) == n_samples
        assert lag(waveform, decoded) == 0
        assert not np.allclose(decoded, waveform, atol=1e-4)


@pytest.mark.parametrize("codec", ["mp3", "vorbis", "opus"])
def test_a_codec_takes_what_lies_above_full_scale_and_minutes_at_once(codec):
    waveform = 20 * noise_bursts(3_000_000)
    decoded = distort("codec", waveform, codecs=(codec,), compression=(0.5, 0.5))
    assert level_db(decoded) == pytest.approx(level_db(waveform), abs=1.5)


# --- tempo and pitch --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.8, 0.95, 1.1, 1.5])
def test_speed_changes_length_and_pitch_by_the_factor(factor):
    faster = distort("speed", tone(200), factor=(factor, factor))
    assert len(faster) == round(16_000 / factor)
    assert peak_hertz(faster) == pytest.approx(200 * factor, abs=1.5)
    assert level_db(faster) == pytest.approx(level_db(tone(200)), abs=0.1)


@pytest.mark.parametrize("semitones", [-12.0, -3.0, 0.0, 2.0, 12.0])
def test_pitch_moves_by_the_semitones_and_the_length_stays(semitones):
    moved = distort("pitch", tone(200), semitones=(semitones, semitones))
    assert len(moved) == 16_000
    assert peak_hertz(moved) == pytest.approx(200 * 2 ** (semitones / 12), rel=0.01)
    assert level_db(moved) == pytest.approx(level_db(tone(200)), abs=1.0)


def test_pitch_leaves_the_rhythm_in_its_place():
    bursts = np.concatenate([tone(300, 0.2), np.zeros(3_200, np.float32)] * 4)
    moved = distort("pitch", bursts, semitones=(4.0, 4.0))
    envelopes = [np.abs(each).reshape(-1, 160).mean(axis=1) for each in (bursts, moved)]
    assert np.corrcoef(*envelopes)[0, 1] > 0.95
