"""Formats beyond libsndfile: read where PyAV is installed, named with its pip line where it is not."""

import sys
from pathlib import Path

import numpy as np
import pytest

from lalia.data.audio import read_audio
from lalia.data.container_formats import find_container
from lalia.data.decoder import decode_blocks
from lalia.errors import AudioError
from lalia.limits import Limits, UnusableFile

av = pytest.importorskip("av")


def write(path: Path, container: str, codec: str, rate_hz: int, seconds: float = 1.0, channels: int = 1) -> Path:
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    tone = (0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    layout = {1: "mono", 2: "stereo"}[channels]
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate_hz, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.repeat(tone, channels)[None], format="flt", layout=layout)
        frame.sample_rate = rate_hz
        file.mux([*stream.encode(frame), *stream.encode(None)])
    return path


@pytest.mark.parametrize(
    ("name", "container", "codec", "rate_hz"),
    [
        ("a.m4a", "mp4", "aac", 16_000),
        ("a.aac", "adts", "aac", 16_000),
        ("a.webm", "webm", "libopus", 48_000),
        ("a.amr", "amr", "libopencore_amrnb", 8_000),
        ("a.3gp", "3gp", "aac", 44_100),
        ("a.ts", "mpegts", "mp2", 16_000),
        ("a.avi", "avi", "pcm_s16le", 16_000),
        ("a.flv", "flv", "aac", 44_100),
        ("a.wv", "wv", "wavpack", 16_000),
        ("a.caf", "caf", "alac", 16_000),
    ],
)
def test_what_libsndfile_does_not_read_is_read(tmp_path, name, container, codec, rate_hz):
    samples, read_rate_hz = read_audio(write(tmp_path / name, container, codec, rate_hz))
    assert read_rate_hz == rate_hz
    # what encoders put before and after the sound is not all taken away again
    assert len(samples) / rate_hz == pytest.approx(1.0, abs=0.15)
    middle = samples[len(samples) // 4 : -len(samples) // 4].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * rate_hz / len(middle) == pytest.approx(440, abs=5)
    # and it is about as loud as it was
    assert 20 * np.log10(middle.std() / (0.5 / np.sqrt(2))) == pytest.approx(0, abs=1.5)


def test_stereo_is_averaged(tmp_path):
    path = write(tmp_path / "a.avi", "avi", "pcm_s16le", 16_000, channels=2)
    blocks = []
    assert decode_blocks(str(path), Limits(), lambda *header: blocks.append(header), lambda block: None)
    assert blocks == [(16_000, 2, 0)]


def test_limits_hold_for_them_too(tmp_path):
    path = write(tmp_path / "a.m4a", "mp4", "aac", 16_000)
    with pytest.raises(AudioError, match=r"'a.m4a' is longer than 0.000139 hours"):
        read_audio(path, Limits(max_seconds=0.5))
    with pytest.raises(AudioError, match=r"'a.m4a' has a rate of 16000 Hz, expected 4000 to 8000"):
        read_audio(path, Limits(max_rate_hz=8_000))


def test_a_file_without_sound_is_refused(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=25, width=16, height=16, pix_fmt="yuv420p")
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
        file.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(AudioError, match=r"'a.mp4' is MP4 or M4A without sound. Convert it"):
        read_audio(tmp_path / "a.mp4")


def test_a_cut_off_file_is_refused(tmp_path):
    path = write(tmp_path / "a.m4a", "mp4", "aac", 16_000)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(AudioError, match=r"'a.m4a' (cannot be decoded \(FFmpeg: |is MP4 or M4A with)"):
        read_audio(path)


def test_without_the_extra_its_pip_line_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.m4a", "mp4", "aac", 16_000)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UnusableFile, match=r"is MP4 or M4A, which needs PyAV: pip install 'lalia\[formats\]'"):
        decode_blocks(str(path), Limits(), lambda *_: None, lambda _: None)


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{target}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{target}'\n",
        "[playlist]\nFile1={target}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{target}</BaseURL></MPD>',
        "http://127.0.0.1:9/{target}",
    ],
)
@pytest.mark.parametrize("extension", ["m3u8", "mp4", "wav"])
def test_a_playlist_opens_no_other_file(tmp_path, playlist, extension):
    target = write(tmp_path / "target.m4a", "mp4", "aac", 16_000)
    path = tmp_path / f"list.{extension}"
    path.write_text(playlist.format(target=target))
    assert find_container(path.read_bytes()) is None
    with pytest.raises(AudioError, match=r"cannot be decoded \(libsndfile: "):
        read_audio(path)
