"""Recordings and an encoder to a file of pooled vectors."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from commands import call_lalia
from lalia.data.audio import Preprocessing, load_waveform
from lalia.errors import AudioError, ConfigError, EncoderError
from lalia.model.encoders.encode import encode
from lalia.model.encoders.load import load_encoder
from lalia.run_embed import embed_files, read_depths

ENCODER = {"random": "wavlm", "layers": 2, "width": 16, "heads": 2}
VECTOR = [f"v{number}" for number in range(16)]


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(ENCODER)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three recordings, one of them at another rate and one longer than a window, and a file that is none."""
    folder = tmp_path_factory.mktemp("recordings")
    random = np.random.default_rng(0)
    for name, rate_hz, seconds in (("a", 16_000, 2), ("b", 22_050, 1), ("long", 16_000, 40)):
        soundfile.write(folder / f"{name}.wav", random.normal(0, 0.1, rate_hz * seconds), rate_hz)
    (folder / "broken.wav").write_bytes(b"RIFF no sound")
    return folder


@pytest.fixture
def recordings(folder):
    names = ["long", "a", "broken", "b"]
    return pd.DataFrame({"recording": names, "path": [str(folder / f"{name}.wav") for name in names]})


@pytest.mark.parametrize("statistic", ["mean", "max", "std"])
def test_vectors_are_the_statistic_over_the_frames_that_encode_gives(encoder, recordings, tmp_path, statistic):
    problems = embed_files(encoder, recordings, tmp_path / "e.parquet", depths=[0, 2, "last"], statistic=statistic)
    assert list(problems) == ["broken"]
    table = pd.read_parquet(tmp_path / "e.parquet")
    assert list(table) == ["recording", "depth", *VECTOR]
    assert table["recording"].tolist() == ["long"] * 3 + ["a"] * 3 + ["b"] * 3
    assert table["depth"].tolist() == ["0", "2", "last"] * 3
    preprocessing = Preprocessing(16_000, trim_db=None, window_seconds=30.0, hop_seconds=30.0)
    for name in ("long", "a", "b"):
        path = recordings.set_index("recording")["path"][name]
        windows = preprocessing.windows(load_waveform(path, preprocessing))
        assert len(windows) == (2 if name == "long" else 1)
        frames = encode(encoder, windows, [0, 2, "last"])
        for depth in (0, 2, "last"):
            every = np.concatenate([each[depth].numpy() for each in frames])
            expected = {"mean": every.mean(0), "max": every.max(0), "std": every.std(0)}[statistic]
            row = table[(table["recording"] == name) & (table["depth"] == str(depth))]
            np.testing.assert_allclose(row[VECTOR].to_numpy()[0], expected, rtol=1e-4, atol=1e-5)


def test_no_recording_that_can_be_encoded_is_an_error(encoder, recordings, tmp_path):
    with pytest.raises(AudioError, match="None of the recordings can be encoded: 'broken'"):
        embed_files(encoder, recordings.iloc[[2]], tmp_path / "e.parquet")
    assert not (tmp_path / "e.parquet").exists()


def test_a_depth_that_there_is_not_is_told_before_anything_is_read(encoder, tmp_path):
    with pytest.raises(EncoderError, match="has no depth 3"):
        embed_files(encoder, pd.DataFrame({"recording": ["x"], "path": ["x.wav"]}), tmp_path / "e.csv", depths=[3])


@pytest.mark.parametrize("text", ["", "9;12", "-1", "first", "1,,2"])
def test_what_lists_no_depths_is_refused(text):
    with pytest.raises(ConfigError, match="Depths are numbers"):
        read_depths(text)


def test_the_command_writes_the_file_and_takes_the_second_time_from_the_cache(
    folder, tmp_path, monkeypatch, capsys, encoder
):
    from lalia.training import pooled

    computed = []
    before = pooled.compute_entries
    monkeypatch.setattr(
        pooled,
        "compute_entries",
        lambda part, encoder, dataset, missing, **more: (
            computed.append(len(missing)) or before(part, encoder, dataset, missing, **more)
        ),
    )
    files, outputs = [folder / "a.wav", folder / "b.wav"], []
    for out in ("one.csv", "two.csv"):
        code = call_lalia("embed", "random:whisper", *files, "--depths", "0,last", "--out", tmp_path / out)
        assert code == 0, capsys.readouterr().err
        outputs.append((tmp_path / out).read_text())
    assert computed == [2]
    assert outputs[0] == outputs[1]
    assert f"Wrote {tmp_path / 'two.csv'}: 2 recordings" in capsys.readouterr().out
