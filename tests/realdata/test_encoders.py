"""Real recordings through every family: each alone and among others, and long ones in windows."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lalia.data.audio import Preprocessing, load_waveform, load_windows
from lalia.errors import EncoderError, ModelError
from lalia.model.encoders.load import encode
from toy_encoders import FAMILIES, make_encoder
from toy_rater import make_rater

DATA = Path(os.environ.get("LALIA_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
WINDOWS_OF_2 = Preprocessing(rate_hz=16_000, trim_db=None, window_seconds=2.0, hop_seconds=2.0)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real recordings are not here")


def files_in(folder: str, count: int) -> list[Path]:
    return [DATA / folder / file for file in pd.read_csv(DATA / folder / "metadata.csv")["file"].head(count)]


@pytest.mark.parametrize("name", [*FAMILIES, "whisper on the clip", "wavlm with group norm"])
def test_real_speech_has_the_same_frames_alone_and_among_others(name):
    encoder = make_encoder(name)
    # the toy spectrogram encoders hold 2 s
    clips = [load_waveform(path, WINDOWS_OF_2)[:31_999] for path in files_in("speechocean762", 6)]
    clips[0] = clips[0][: len(clips[0]) // 2]
    for clip, together in zip(clips, encode(encoder, clips), strict=True):
        (alone,) = encode(encoder, [clip])
        for depth, frames in alone.items():
            assert frames.isfinite().all()
            scale = max(1.0, frames.abs().max().item())
            torch.testing.assert_close(together[depth], frames, atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize("name", ["whisper", "whisper on the clip", "audio-spectrogram-transformer"])
def test_long_recordings_go_through_windows_and_every_sample_is_heard(name):
    encoder = make_encoder(name)
    rater = make_rater(encoder=encoder, window_seconds=2.0)
    for path in files_in("long", 6):
        waveform = load_waveform(path, WINDOWS_OF_2)
        windows = load_windows(path, WINDOWS_OF_2)
        assert len(waveform) > 30 * 16_000
        assert sum(map(len, windows)) >= len(waveform)
        plain = rater.score([waveform]).score
        # a change in the last second is heard
        changed = np.concatenate([waveform[:-16_000], waveform[-16_000:][::-1]])
        assert not torch.equal(rater.score([changed]).score, plain)


@pytest.mark.parametrize("name", ["whisper", "whisper on the clip", "audio-spectrogram-transformer"])
def test_more_than_the_context_is_refused_never_cut_off(name):
    encoder = make_encoder(name)
    (waveform,) = (load_waveform(path, WINDOWS_OF_2) for path in files_in("long", 1))
    with pytest.raises(EncoderError, match=r"takes at most 2.* s\. Set audio.window_seconds"):
        encode(encoder, [waveform])
    with pytest.raises(ModelError, match="A window of 30 s is longer than the 2"):
        make_rater(encoder=encoder, window_seconds=30.0)
