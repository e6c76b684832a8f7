"""Clips of recordings in the page."""

import base64
import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile

from lalia.data.audio import read_audio
from lalia.report.clips import encode_clip, read_clips
from lalia.report.contents import read_contents
from toy_report import make_run


def tone(rate_hz, seconds=2.0, hertz=440.0):
    return np.sin(2 * np.pi * hertz * np.arange(round(rate_hz * seconds)) / rate_hz).astype(np.float32) * 0.5


def decode(source):
    kind, _, data = source.partition(";base64,")
    assert kind == "data:audio/mpeg"
    return soundfile.read(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize(("rate_hz", "kept_hz"), [(8000, 8000), (11025, 8000), (16000, 16000), (48000, 24000)])
def test_clip_sounds_like_the_recording(rate_hz, kept_hz):
    samples, found_hz = decode(encode_clip(tone(rate_hz), rate_hz)[0])
    assert found_hz == kept_hz
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * found_hz / len(samples) == pytest.approx(440.0, abs=2.0)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.1)


def test_clip_is_cut_and_always_the_same():
    source, seconds = encode_clip(tone(8000, seconds=3.0), 8000, seconds=1.0)
    assert seconds == 1.0
    assert len(decode(source)[0]) / 8000 == pytest.approx(1.0, abs=0.2)
    assert encode_clip(tone(8000, seconds=3.0), 8000, seconds=1.0)[0] == source


@pytest.fixture
def heard(tmp_path):
    """A run of eight test recordings of which two are there, one of them changed since."""
    run = make_run(tmp_path / "run", report={"embed_audio": True})
    names = [f"test-00{number}" for number in range(8)]
    for name in names[:2]:
        soundfile.write(tmp_path / f"{name}.wav", tone(8000), 8000)
    table = pd.DataFrame({"recording": names[:2], "speaker": names[:2], "hoarse_harsh": 1, "slow_rate": 1})
    table.to_csv(tmp_path / "metadata.csv", index=False)
    contents = read_contents(run)
    data = contents.settings.data.model_copy(update={"metadata": str(tmp_path / "metadata.csv"), "exclude": ()})
    (run / "data.csv").write_text("recording,sha256,row\ntest-001,0000,x\n")
    settings = contents.settings.model_copy(update={"data": data})
    return run, replace(contents, settings=settings)


def test_recordings_that_are_not_there_or_have_changed_are_not_heard(heard):
    run, contents = heard
    rows = contents.disagreements(50)
    clips = {clip.name: clip for clip in read_clips(run, contents, rows)}
    assert len(clips) == 8
    known, changed, gone = (clips[contents.name(f"test-00{number}")] for number in (0, 1, 2))
    assert (known.reason, known.seconds) == ("", 2.0)
    assert decode(known.source)[1] == 8000
    assert (changed.source, changed.reason) == ("", "the file is not the one that the run scored")
    assert (gone.source, gone.reason) == ("", "the recording is not where it was")


def test_clip_says_what_raters_and_model_said(heard):
    run, contents = heard
    clip = next(
        each for each in read_clips(run, contents, contents.disagreements(50)) if each.name == contents.name("test-003")
    )
    assert clip.said == ("hoarse_harsh: rated 4.00, model 1.40", "slow_rate: rated 4.00, model 1.40")


def test_report_without_its_recordings_says_so(tmp_path):
    from lalia.report.page import write_report

    run = make_run(tmp_path / "run", report={"embed_audio": True})
    html = write_report(run).read_text(encoding="utf-8")
    assert "<audio" not in html
    assert html.count("Not to be heard: the recordings are not where they were.") == 8


def test_clip_is_read_as_every_recording_is(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.stack([tone(8000), tone(8000)], axis=1), 8000)
    waveform, rate_hz = read_audio(tmp_path / "a.flac")
    assert len(decode(encode_clip(waveform, rate_hz)[0])[0]) == pytest.approx(16000, abs=1200)
