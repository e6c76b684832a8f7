"""The demo corpus looks like a user's folder and is the same for the same seed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.stats import spearmanr

from lalia.config import load_config
from lalia.data.synth import write_corpus
from lalia.data.voice import TRAITS


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, speakers=20, recordings_per_speaker=4, seed=7)
    return folder


def read_metadata(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "metadata.csv", dtype=str, keep_default_na=False)


def combine_raters(metadata: pd.DataFrame, trait: str) -> pd.Series:
    raters = metadata[[f"{trait}_r{rater}" for rater in (1, 2, 3)]].astype(float)
    return raters.replace({-1: np.nan, 1.5: 1}).median(axis=1)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_corpus(tmp_path / name, speakers=2, recordings_per_speaker=2, seed=3)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 2 * 2 + 2
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_another_seed_gives_other_speech_and_ratings(tmp_path: Path) -> None:
    for seed in (3, 4):
        write_corpus(tmp_path / str(seed), speakers=1, recordings_per_speaker=1, seed=seed)
    assert (tmp_path / "3/audio/S001_1.wav").read_bytes() != (tmp_path / "4/audio/S001_1.wav").read_bytes()
    assert (tmp_path / "3/metadata.csv").read_bytes() != (tmp_path / "4/metadata.csv").read_bytes()


def test_every_row_has_its_recording_of_2_to_4_seconds_at_16_khz(corpus: Path) -> None:
    metadata = read_metadata(corpus)
    assert len(metadata) == 20 * 4
    assert {path.stem for path in (corpus / "audio").iterdir()} == set(metadata["id"])
    for recording in metadata["id"]:
        file = soundfile.info(corpus / "audio" / f"{recording}.wav")
        assert (file.samplerate, file.channels, file.subtype) == (16_000, 1, "PCM_16")
        assert 2.0 <= file.duration <= 4.0


def test_no_recording_is_clipped_or_silent(corpus: Path) -> None:
    for path in (corpus / "audio").iterdir():
        samples, _ = soundfile.read(path)
        assert 0.05 < np.abs(samples).max() < 0.99


def test_metadata_describe_speakers_once_and_recordings_by_task_and_date(corpus: Path) -> None:
    metadata = read_metadata(corpus)
    of_speaker = metadata.groupby("speaker")[["age", "sex", "site"]].nunique()
    assert len(of_speaker) == 20
    assert (of_speaker == 1).all(axis=None)
    assert metadata.groupby("speaker")["task"].nunique().eq(2).all()
    assert metadata["date"].str.fullmatch(r"\d{4}-\d\d-\d\d").all()


def test_ratings_are_levels_missing_codes_and_a_few_halves(corpus: Path) -> None:
    metadata = read_metadata(corpus)
    columns = [f"{trait}_r{rater}" for trait in TRAITS for rater in (1, 2, 3)]
    assert list(metadata.columns) == ["id", "speaker", "date", "task", "age", "sex", "site", *columns]
    shares = metadata[columns].melt()["value"].value_counts(normalize=True)
    assert set(shares.index) == {"1", "2", "3", "4", "-1", "1.5"}
    assert 0.02 < shares["-1"] < 0.1
    assert shares["1.5"] < 0.03


@pytest.mark.parametrize("trait", TRAITS)
def test_raters_disagree_but_follow_the_same_truth(trait: str, corpus: Path) -> None:
    raters = read_metadata(corpus)[[f"{trait}_r{rater}" for rater in (1, 2, 3)]].astype(float)
    rated = raters[(raters != -1).all(axis=1)]
    assert 0.05 < (rated.min(axis=1) < rated.max(axis=1)).mean() < 0.6
    assert spearmanr(rated.iloc[:, 0], rated.iloc[:, 1]).statistic > 0.7


@pytest.mark.parametrize("trait", TRAITS)
def test_each_trait_is_present_in_somewhat_under_half_and_unrated_somewhere(trait: str, corpus: Path) -> None:
    rating = combine_raters(read_metadata(corpus), trait)
    assert rating.isna().any()
    assert 0.3 < (rating.dropna() >= 2).mean() < 0.6


def test_traits_are_drawn_independently_of_each_other(tmp_path: Path) -> None:
    write_corpus(tmp_path, speakers=60, recordings_per_speaker=1, seed=1)
    ratings = pd.DataFrame({trait: combine_raters(read_metadata(tmp_path), trait) for trait in TRAITS})
    correlations = ratings.corr(method="spearman").to_numpy()[np.triu_indices(len(TRAITS), 1)]
    assert np.abs(correlations).max() < 0.4


def test_duration_tells_little_of_any_trait(corpus: Path) -> None:
    metadata = read_metadata(corpus)
    seconds = [soundfile.info(corpus / "audio" / f"{recording}.wav").duration for recording in metadata["id"]]
    for trait in TRAITS:
        rating = combine_raters(metadata, trait)
        assert abs(spearmanr(seconds, rating, nan_policy="omit").statistic) < 0.4


def test_the_settings_of_the_run_load_and_fit_the_folder(corpus: Path) -> None:
    settings = load_config(corpus / "run.yaml")
    assert settings.data.traits == TRAITS
    assert Path(settings.data.metadata) == corpus / "metadata.csv"
    assert settings.data.scale.recode == {1.5: 1}
    assert settings.audio.window_seconds >= 4
