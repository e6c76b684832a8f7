import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from lalia.data.audio import (
    Preprocessing,
    load_waveform,
    load_windows,
    read_audio,
    scan_recordings,
    window_bounds,
)
from lalia.data.decoder import decode_blocks
from lalia.errors import AudioError
from lalia.limits import Limits, UnusableFile

PLAIN = Preprocessing(rate_hz=16_000, trim_db=None, window_seconds=30.0, hop_seconds=30.0)
TRIMMED = Preprocessing(rate_hz=16_000, trim_db=40.0, window_seconds=30.0, hop_seconds=30.0)


def tone(seconds: float, rate_hz: int = 16_000, *, hz: float = 440.0, amplitude: float = 0.5) -> np.ndarray:
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate_hz: int = 16_000, subtype: str | None = "FLOAT") -> Path:
    soundfile.write(path, samples, rate_hz, subtype=subtype)
    return path


# --- decoding ---------------------------------------------------------------------------------------------------------


def test_samples_are_read_as_they_were_written(tmp_path):
    samples, rate_hz = read_audio(write(tmp_path / "a.wav", np.array([0.25, -0.5, 1.0], np.float32), 8_000))
    assert (samples.tolist(), rate_hz, samples.dtype) == ([0.25, -0.5, 1.0], 8_000, np.float32)


def test_stereo_is_averaged_not_summed(tmp_path):
    stereo = np.array([[0.5, 0.5], [0.5, -0.5], [1.0, 0.0]], np.float32)
    samples, _ = read_audio(write(tmp_path / "a.wav", stereo))
    assert samples.tolist() == [0.5, 0.0, 0.5]


def test_a_file_of_several_blocks_is_read_whole(tmp_path):
    written = np.random.default_rng(0).normal(size=200_001).astype(np.float32)
    samples, _ = read_audio(write(tmp_path / "a.wav", written))
    assert np.array_equal(samples, written)


def test_a_missing_file_is_named_without_its_folder(tmp_path):
    with pytest.raises(AudioError, match=r"^'gone.wav' does not exist or is not a file. Check its name") as caught:
        read_audio(tmp_path / "gone.wav")
    assert str(tmp_path) not in str(caught.value)


def test_a_text_file_is_refused_in_the_words_of_libsndfile(tmp_path):
    (tmp_path / "notes.wav").write_text("not audio " * 100)
    with pytest.raises(AudioError, match=r"^'notes.wav' cannot be decoded \(libsndfile: .*\). Convert it") as caught:
        read_audio(tmp_path / "notes.wav")
    assert str(tmp_path) not in str(caught.value)


def test_headerless_samples_are_refused(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(1000))
    with pytest.raises(AudioError, match=r"'a.raw' has no header that says its rate and format. Convert it to WAV"):
        read_audio(tmp_path / "a.raw")


def test_a_file_without_samples_is_refused(tmp_path):
    with pytest.raises(AudioError, match=r"'a.wav' holds no samples"):
        read_audio(write(tmp_path / "a.wav", np.zeros(0, np.float32)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path, bad):
    with pytest.raises(AudioError, match=r"'a.wav' holds samples that are NaN or infinite"):
        read_audio(write(tmp_path / "a.wav", np.array([0.0, bad, 0.0], np.float32)))


@pytest.mark.parametrize("rate_hz", [1, 3_999, 384_001, 2**31 - 1])
def test_an_absurd_rate_is_refused(tmp_path, rate_hz):
    with pytest.raises(AudioError, match=f"'a.wav' has a rate of {rate_hz} Hz, expected 4000 to 384000"):
        read_audio(write(tmp_path / "a.wav", np.zeros(10, np.float32), rate_hz))


def test_absurdly_many_channels_are_refused(tmp_path):
    with pytest.raises(AudioError, match=r"'a.wav' has 1000 channels, expected at most 32"):
        read_audio(write(tmp_path / "a.wav", np.zeros((10, 1000), np.float32)))


def test_a_recording_that_promises_to_be_too_long_is_refused(tmp_path):
    path = write(tmp_path / "bomb.flac", np.zeros(16_000 * 60, np.int16), subtype=None)
    with pytest.raises(AudioError, match=r"'bomb.flac' is longer than 0.01 hours. Cut it into recordings, or raise"):
        read_audio(path, Limits(max_seconds=36))


def test_a_decoding_bomb_is_stopped_while_it_is_decoded(tmp_path):
    # Ogg does not promise its length
    path = tmp_path / "bomb.ogg"
    with soundfile.SoundFile(path, "w", 16_000, 1, subtype="VORBIS") as file:
        for _ in range(120):
            file.write(np.zeros(16_000, np.float32))
    frames = []
    with pytest.raises(UnusableFile, match=r"is longer than 0.01 hours"):
        decode_blocks(str(path), Limits(max_seconds=36), lambda *_: None, lambda block: frames.append(len(block)))
    assert sum(frames) <= 36 * 16_000


def test_a_file_of_too_many_bytes_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", np.zeros(3_000, np.float32))
    with pytest.raises(AudioError, match=r"'a.wav' has 1.21e-05 GB, expected at most 1e-06"):
        read_audio(path, Limits(max_gb=1e-6))


def test_samples_far_beyond_full_scale_are_refused(tmp_path):
    with pytest.raises(AudioError, match=r"'a.wav' holds samples of up to 1.0e\+30 times full scale"):
        read_audio(write(tmp_path / "a.wav", np.array([0.0, 1e30, 0.0], np.float32)))


def test_a_rater_sets_no_limits_and_they_change_no_waveform():
    wide = Preprocessing(16_000, None, 30.0, 30.0, Limits(max_seconds=1e9))
    assert wide == PLAIN
    assert "limits" not in wide.describe()


@pytest.mark.parametrize("extension", ["wav", "aiff", "au"])
def test_a_truncated_file_is_refused(tmp_path, extension):
    whole = write(tmp_path / f"whole.{extension}", tone(2.0), subtype="PCM_16")
    cut = tmp_path / f"cut.{extension}"
    cut.write_bytes(whole.read_bytes()[: 44 + 16_000 * 2])
    with pytest.raises(AudioError, match=r"is cut off: its header promises 2.00 s, 1.00 s are there. Copy it again"):
        read_audio(cut)


def test_a_truncated_flac_is_refused(tmp_path):
    whole = write(tmp_path / "whole.flac", np.random.default_rng(0).uniform(-1, 1, 32_000), subtype="PCM_16")
    cut = tmp_path / "cut.flac"
    cut.write_bytes(whole.read_bytes()[:40_000])
    with pytest.raises(AudioError, match=r"'cut.flac' cannot be decoded"):
        read_audio(cut)


@pytest.mark.parametrize(
    ("promised_bytes", "reason"),
    [
        (0xFFFF_FFFF, "a stream of unknown length, as ffmpeg writes"),
        (0x7FFF_F000, "a stream of unknown length, as sox writes"),
        (32_000 + 44, "a recorder that counts the header as samples"),
    ],
)
def test_a_header_that_promises_more_for_a_known_reason_is_read(tmp_path, promised_bytes, reason):
    path = write(tmp_path / "a.wav", tone(1.0), subtype="PCM_16")
    content = bytearray(path.read_bytes())
    assert content[36:40] == b"data"
    content[40:44] = struct.pack("<I", promised_bytes)
    path.write_bytes(content)
    assert len(read_audio(path)[0]) == 16_000, reason


# --- resampling and trimming ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_resampling_keeps_the_frequency_and_amplitude_of_a_sine(tmp_path, rate_hz):
    waveform = load_waveform(write(tmp_path / "a.wav", tone(1.0, rate_hz, hz=440, amplitude=0.5), rate_hz), PLAIN)
    assert len(waveform) == 16_000
    assert waveform.dtype == np.float32
    assert np.allclose(waveform[800:-800], tone(1.0, 16_000, hz=440, amplitude=0.5)[800:-800], atol=1e-3)


def test_resampling_removes_what_the_lower_rate_cannot_hold(tmp_path):
    waveform = load_waveform(write(tmp_path / "a.wav", tone(1.0, 48_000, hz=12_000), 48_000), PLAIN)
    assert np.abs(waveform[800:-800]).max() < 1e-3


def test_a_file_at_the_right_rate_is_left_as_it_is(tmp_path):
    samples = np.random.default_rng(0).normal(size=1_000).astype(np.float32)
    assert np.array_equal(load_waveform(write(tmp_path / "a.wav", samples), PLAIN), samples)


def test_trimming_cuts_only_the_silence_before_and_after(tmp_path):
    quiet = tone(0.5, amplitude=0.5 * 10 ** (-50 / 20))
    samples = np.concatenate([quiet, tone(0.3), np.zeros(8_000, np.float32), tone(0.3), quiet])
    trimmed = load_waveform(write(tmp_path / "a.wav", samples), TRIMMED)
    speech = np.concatenate([tone(0.3), np.zeros(8_000, np.float32), tone(0.3)])
    extra = len(trimmed) - len(speech)
    assert 0 <= extra <= 2 * 400  # less than a frame of 25 ms on each side
    start = next(shift for shift in range(401) if np.array_equal(trimmed[shift : shift + len(speech)], speech))
    assert start <= 400


def test_a_higher_trim_db_keeps_what_is_quieter(tmp_path):
    quiet = tone(0.5, amplitude=0.5 * 10 ** (-50 / 20))
    path = write(tmp_path / "a.wav", np.concatenate([quiet, tone(1.0), quiet]))
    assert len(load_waveform(path, Preprocessing(16_000, 60.0, 30.0, 30.0))) == 32_000


def test_a_recording_without_silence_is_not_trimmed(tmp_path):
    assert len(load_waveform(write(tmp_path / "a.wav", tone(1.234)), TRIMMED)) == round(1.234 * 16_000)


def test_a_silent_recording_has_nothing_left_after_trimming(tmp_path):
    with pytest.raises(AudioError, match=r"'a.wav' is 0.00 s long after trimming at 40 dB, because it is silent"):
        load_waveform(write(tmp_path / "a.wav", np.zeros(16_000, np.float32)), TRIMMED)


def test_a_silent_recording_is_fine_without_trimming(tmp_path):
    assert len(load_waveform(write(tmp_path / "a.wav", np.zeros(16_000, np.float32)), PLAIN)) == 16_000


@pytest.mark.parametrize("n_samples", [1, 2, 399, 400, 401])
def test_recordings_about_as_long_as_a_frame_are_trimmed(tmp_path, n_samples):
    path = write(tmp_path / "a.wav", np.full(n_samples, 0.5, np.float32))
    assert len(load_waveform(path, TRIMMED)) == n_samples


def test_a_recording_that_resampling_leaves_empty_is_refused(tmp_path):
    with pytest.raises(AudioError, match=r"'a.wav' is 0.00 s long at 16000 Hz"):
        load_waveform(write(tmp_path / "a.wav", np.ones(1, np.float32), 48_000), PLAIN)


# --- windows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "hop"), [(30, 30), (30, 29), (30, 10), (30, 1), (8, 3), (5, 5), (3, 3)])
def test_windows_cover_every_sample(window, hop):
    shortest = 5
    for n_samples in range(1, 150):
        bounds = window_bounds(n_samples, window, hop, shortest)
        heard = np.zeros(n_samples, int)
        for start, end in bounds:
            assert 0 <= start < end <= n_samples
            assert min(shortest, window, n_samples) <= end - start <= window
            heard[start:end] += 1
        assert heard.min() >= 1
        assert [start for start, _ in bounds[:-1]] == [hop * number for number in range(len(bounds) - 1)]
        if hop == window:
            assert (heard - 1).sum() < shortest


def test_a_recording_as_long_as_a_window_is_one_window():
    assert window_bounds(30, 30, 30, 5) == [(0, 30)]
    assert window_bounds(31, 30, 30, 5) == [(0, 30), (26, 31)]


def test_a_hop_longer_than_a_window_is_refused():
    with pytest.raises(ValueError, match=r"hop must be 1 to 30 samples \(a window\), got 31"):
        window_bounds(100, 30, 31, 5)


def test_the_last_window_of_a_long_recording_is_at_least_a_second(tmp_path):
    samples = np.arange(16_000 * 5 + 100, dtype=np.float32) / 1e5
    windows = load_windows(write(tmp_path / "a.wav", samples), Preprocessing(16_000, None, 2.5, 2.5))
    assert [len(window) for window in windows] == [40_000, 40_000, 16_000]
    assert np.array_equal(windows[2], samples[-16_000:])


# --- scanning ---------------------------------------------------------------------------------------------------------


def scan(folder: Path, *names: str, preprocessing: Preprocessing = PLAIN, **keywords) -> pd.DataFrame:
    recordings = pd.DataFrame(
        {"recording": [Path(name).stem for name in names], "path": [str(folder / n) for n in names]}
    )
    return scan_recordings(recordings, preprocessing, min_seconds=0.1, **keywords)


def test_a_scan_measures_each_file(tmp_path):
    write(tmp_path / "a.wav", np.stack([tone(1.0, 8_000, hz=400), tone(1.0, 8_000, hz=400)], axis=1), 8_000)
    row = scan(tmp_path, "a.wav").iloc[0]
    assert (row["recording"], row["problem"]) == ("a", "")
    assert (row["duration_seconds"], row["file_seconds"], row["rate_hz"], row["channels"]) == (1.0, 1.0, 8_000, 2)
    assert row["peak_db"] == pytest.approx(20 * np.log10(0.5), abs=0.01)
    assert row["level_db"] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.05)
    assert row["silence_share"] == 0.0
    assert row["sha256"] == hashlib.sha256((tmp_path / "a.wav").read_bytes()).hexdigest()


def test_the_duration_is_that_after_trimming(tmp_path):
    write(tmp_path / "a.wav", np.concatenate([np.zeros(16_000, np.float32), tone(1.0)]))
    row = scan(tmp_path, "a.wav", preprocessing=TRIMMED).iloc[0]
    assert row["file_seconds"] == 2.0
    assert row["duration_seconds"] == pytest.approx(1.0, abs=0.025)
    assert row["duration_seconds"] == len(load_waveform(tmp_path / "a.wav", TRIMMED)) / 16_000


def test_half_silence_has_a_silence_share_of_a_half(tmp_path):
    write(tmp_path / "a.wav", np.concatenate([tone(1.0), np.zeros(16_000, np.float32)]))
    assert scan(tmp_path, "a.wav")["silence_share"].item() == pytest.approx(0.5, abs=0.02)


def test_digital_silence_has_a_finite_level(tmp_path):
    write(tmp_path / "a.wav", np.zeros(16_000, np.float32))
    row = scan(tmp_path, "a.wav").iloc[0]
    assert (row["level_db"], row["peak_db"], row["silence_share"], row["problem"]) == (-120.0, -120.0, 1.0, "")


def test_a_bad_file_becomes_its_problem(tmp_path):
    write(tmp_path / "good.wav", tone(1.0))
    write(tmp_path / "short.wav", tone(0.05))
    write(tmp_path / "silent.wav", np.zeros(16_000, np.float32))
    (tmp_path / "text.wav").write_text("not audio " * 100)
    scanned = scan(tmp_path, "good.wav", "gone.wav", "short.wav", "silent.wav", "text.wav", preprocessing=TRIMMED)
    problems = dict(zip(scanned["recording"], scanned["problem"], strict=True))
    assert problems.pop("text").startswith("cannot be decoded (libsndfile: ")
    assert problems == {
        "good": "",
        "gone": "does not exist or is not a file",
        "short": "is 0.05 s long after trimming at 40 dB, expected at least 0.100 s",
        "silent": "is 0.00 s long after trimming at 40 dB, because it is silent throughout",
    }
    assert scanned["duration_seconds"].isna().tolist() == [False, True, False, True, True]


def test_a_scan_does_not_depend_on_the_number_of_threads(tmp_path):
    names = [f"{number}.wav" for number in range(8)]
    for number, name in enumerate(names):
        write(tmp_path / name, tone(0.2 + number / 10))
    pd.testing.assert_frame_equal(scan(tmp_path, *names, workers=1), scan(tmp_path, *names, workers=4))


def test_progress_is_told_of_each_file_once(tmp_path):
    write(tmp_path / "a.wav", tone(1.0))
    calls = []
    scan(tmp_path, "a.wav", "gone.wav", "gone-too.wav", progress=lambda: calls.append(1))
    assert len(calls) == 3


def test_a_scan_of_nothing_has_the_same_columns(tmp_path):
    write(tmp_path / "a.wav", tone(1.0))
    nothing = scan_recordings(pd.DataFrame({"recording": [], "path": []}), PLAIN, min_seconds=0.1)
    assert len(nothing) == 0
    assert list(nothing) == list(scan(tmp_path, "a.wav"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_a_pipe_or_a_device_in_the_place_of_a_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", Path("/dev/zero"), tmp_path):
        with pytest.raises(AudioError, match=r"does not exist or is not a file"):
            read_audio(path)
        # also where it took the place of a file after that look
        with pytest.raises(UnusableFile, match=r"is not a file but a device, a pipe or a folder"):
            decode_blocks(str(path), Limits(), lambda *_: None, lambda _: None)
