"""Scores as a table: a recording's depend on it alone, and what cannot be rated is named."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from lalia.data.audio import Preprocessing, load_waveform
from lalia.errors import AudioError, RaterError
from lalia.evaluation.predict import predict, predict_files
from lalia.model.encoders.random import make_random_encoder
from lalia.model.heads import build_head
from lalia.model.pooling import build_pooling
from lalia.model.rater import SpeechRater
from lalia.progress import Progress
from lalia.scale import Scale

SCALE = Scale((1.0, 2.0, 3.0, 4.0), present_from=2.0)
COLUMNS = ["recording", "trait", "score", "level", "probability", "p_ge_2", "p_ge_3", "p_ge_4"]
SECONDS = {"b": 0.3, "a": 1.2, "d": 0.1, "c": 2.1}


def make_rater(kind="ordinal"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpeechRater(
            make_random_encoder("wavlm", layers=1, width=16, heads=2),
            layers="weighted",
            pooling=build_pooling("attention", width=16),
            head=build_head(kind, width=16, n_traits=2, scale=SCALE),
            traits=["slow_rate", "breathy"],
            scale=SCALE,
            preprocessing=Preprocessing(rate_hz=16_000, trim_db=None, window_seconds=1.0, hop_seconds=1.0),
        ).eval()


@pytest.fixture(scope="module")
def rater():
    return make_rater()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Write four recordings of noise, one of them of several windows."""
    folder = tmp_path_factory.mktemp("audio")
    generator = np.random.default_rng(0)
    for name, seconds in SECONDS.items():
        soundfile.write(folder / f"{name}.wav", generator.normal(scale=0.1, size=round(16_000 * seconds)), 16_000)
    return pd.DataFrame({"recording": list(SECONDS), "path": [str(folder / f"{name}.wav") for name in SECONDS]})


def add_file(recordings, path):
    return pd.concat([pd.DataFrame({"recording": ["bad"], "path": [str(path)]}), recordings], ignore_index=True)


def test_there_is_a_row_per_recording_and_trait_in_the_order_given(rater, recordings):
    scores = predict(rater, recordings)
    assert list(scores.columns) == COLUMNS
    assert scores["recording"].tolist() == ["b", "b", "a", "a", "d", "d", "c", "c"]
    assert scores["trait"].tolist() == ["slow_rate", "breathy"] * 4
    assert scores["score"].between(1, 4).all()
    assert scores["level"].isin(SCALE.levels).all()
    assert scores["probability"].between(0, 1).all()


def test_scores_are_those_of_the_rater_alone_with_each_recording(rater, recordings):
    scores = predict(rater, recordings)
    alone = rater.score([load_waveform(path, rater.preprocessing) for path in recordings["path"]])
    for name in ("score", "level", "probability"):
        np.testing.assert_allclose(scores[name], getattr(alone, name).detach().numpy().ravel(), atol=1e-5)


@pytest.mark.parametrize(("batch_seconds", "workers"), [(1.0, 0), (4.0, 1)])
def test_scores_do_not_depend_on_batches_or_workers(rater, recordings, batch_seconds, workers):
    scores = predict(rater, recordings, batch_seconds=batch_seconds, workers=workers)
    pd.testing.assert_frame_equal(scores, predict(rater, recordings), atol=1e-5, rtol=0)


def test_scores_do_not_depend_on_the_order_of_the_table(rater, recordings):
    backwards = predict(rater, recordings[::-1])
    both = backwards.merge(predict(rater, recordings), on=["recording", "trait"])
    np.testing.assert_allclose(both["score_x"], both["score_y"], atol=1e-5)


def test_durations_that_are_known_are_not_measured_again(rater, recordings, monkeypatch):
    expected = predict(rater, recordings)
    monkeypatch.setattr("lalia.evaluation.predict.scan_recordings", None)
    found = predict(rater, recordings.assign(duration_seconds=list(SECONDS.values())))
    pd.testing.assert_frame_equal(found, expected)


def test_a_binary_head_gives_no_level(recordings):
    scores = predict(make_rater("binary"), recordings[:1])
    assert scores["level"].isna().all()
    np.testing.assert_allclose(scores["score"], scores["probability"])


def test_no_recordings_give_an_empty_table(rater, recordings):
    scores = predict(rater, recordings[:0])
    assert len(scores) == 0
    assert list(scores.columns) == COLUMNS


def test_the_rater_stays_in_the_mode_that_it_was_in(recordings):
    rater = make_rater().train()
    predict(rater, recordings[:1])
    assert rater.training
    assert all(parameter.grad is None for parameter in rater.parameters())


def test_progress_counts_recordings(rater, recordings):
    class Counter(Progress):
        count = 0

        def advance(self, note=""):
            self.count += 1

    progress = Counter()
    predict(rater, recordings.assign(duration_seconds=list(SECONDS.values())), progress=progress)
    assert progress.count == 4


# --- what cannot be rated ---------------------------------------------------------------------------------------------


def test_a_recording_that_cannot_be_read_is_named(rater, recordings, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    with pytest.raises(AudioError, match=r"Recordings cannot be rated: 'bad' .*Leave them out"):
        predict(rater, add_file(recordings, tmp_path / "bad.wav"))


def test_a_recording_that_is_too_short_is_named(rater, recordings, tmp_path):
    soundfile.write(tmp_path / "short.wav", np.full(100, 0.1), 16_000)
    with pytest.raises(AudioError, match=r"'bad' is 0\.01 s long, expected at least 0\.0"):
        predict(rater, add_file(recordings, tmp_path / "short.wav"))


def test_a_saved_rater_rates_files_and_reports_those_it_cannot(rater, recordings, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    rater.save_pretrained(tmp_path / "run" / "model")
    problems = predict_files(tmp_path / "run", add_file(recordings, tmp_path / "bad.wav"), tmp_path / "out.csv")
    assert list(problems) == ["bad"]
    written = pd.read_csv(tmp_path / "out.csv")
    pd.testing.assert_frame_equal(written, predict(rater, recordings), atol=1e-5)


def test_nothing_is_written_where_no_recording_can_be_rated(rater, recordings, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    rater.save_pretrained(tmp_path / "model")
    with pytest.raises(AudioError, match="None of the recordings can be rated: 'bad' "):
        predict_files(tmp_path / "model", add_file(recordings[:0], tmp_path / "bad.wav"), tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_folder_without_a_rater_is_refused(recordings, tmp_path):
    with pytest.raises(RaterError, match="No rater in"):
        predict_files(tmp_path, recordings, tmp_path / "out.csv")
