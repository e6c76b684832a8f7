"""Files that are rated in the app: within limits, with the scores of predict, shown as text."""

import os
import time

import numpy as np
import pandas as pd
import pytest
import soundfile

from lalia.app.browse import Browser
from lalia.app.rating import Limits, listen, rate_files
from lalia.app.server import choose_token, sweep
from lalia.app.tables import show_problems, show_scores
from lalia.csv_files import csv_text
from lalia.errors import ConfigError
from lalia.evaluation.predict import predict
from lalia.model.decisions import Abstention
from lalia.report.contents import hash_id
from lalia.scale import Scale
from toy_finished import IDS, make_finished_run
from toy_rater import SCALE, TRAITS, make_rater, make_waveform

RATE_HZ = 16_000


@pytest.fixture
def rater():
    return make_rater(pooling="attention").eval()


def write(folder, *seconds):
    paths = []
    for number, each in enumerate(seconds):
        paths.append(folder / f"r{number}.wav")
        soundfile.write(paths[-1], make_waveform(each, number), RATE_HZ)
    return paths


def test_scores_are_those_of_predict(rater, tmp_path):
    paths = write(tmp_path, 0.5, 2.0)
    rated = rate_files(rater, paths, Limits())
    expected = predict(rater, pd.DataFrame({"recording": ["r0.wav", "r1.wav"], "path": map(str, paths)}))
    pd.testing.assert_frame_equal(rated.scores.drop(columns="decision"), expected)
    assert rated.problems == {}


def test_what_is_beyond_a_limit_is_not_rated_and_the_rest_is(rater, tmp_path):
    paths = write(tmp_path, 0.5, 1.5, 4.0, 0.5)
    rated = rate_files(rater, paths, Limits(minutes=1 / 60, megabytes=0.1, files=3))
    assert rated.problems == {
        "r1.wav": "is longer than 0.0166667 minutes",
        "r2.wav": "is larger than 0.1 MB",
        "r3.wav": "is more than the 3 files that are rated at once",
    }
    assert set(rated.scores["recording"]) == {"r0.wav"}


def test_files_of_one_name_keep_apart_and_no_file_is_no_error(rater, tmp_path):
    (tmp_path / "a").mkdir()
    paths = [*write(tmp_path, 0.5), *write(tmp_path / "a", 0.7)]
    assert list(rate_files(rater, paths, Limits()).scores["recording"].unique()) == ["r0.wav", "r0.wav (2)"]
    (tmp_path / "b.wav").write_text("text")
    rated = rate_files(rater, [tmp_path / "b.wav"], Limits())
    assert len(rated.scores) == 0
    assert "cannot be decoded" in rated.problems["b.wav"]


def test_decisions_follow_thresholds_and_abstention(rater, tmp_path):
    paths = write(tmp_path, 0.5)
    probability = rate_files(rater, paths, Limits()).scores["probability"].to_numpy()
    rater.thresholds[TRAITS[0]] = float(probability[0]) + 0.01
    rater.thresholds[TRAITS[1]] = float(probability[1]) - 0.01
    assert list(rate_files(rater, paths, Limits()).scores["decision"]) == ["absent", "present"]
    rater.abstentions[TRAITS[1]] = Abstention(absent_to=0.0, present_from=1.0)
    assert list(rate_files(rater, paths, Limits()).scores["decision"]) == ["absent", "undecided"]


def test_attention_is_given_where_there_is_some(rater, tmp_path):
    (path,) = write(tmp_path, 0.5)
    waveform, weights = listen(rater, path)
    assert len(waveform) == RATE_HZ // 2
    assert weights.weights.shape[-1] == len(weights.seconds)
    assert listen(make_rater(pooling="mean").eval(), path)[1] is None


def test_cells_that_are_formulas_are_made_text():
    names = ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "plain", "a=1"]
    scores = pd.DataFrame({"recording": names, "score": [-1.5] * len(names)})
    lines = csv_text(scores).replace("\r", "")
    for name in names[:4]:
        assert f"'{name},-1.5\n" in lines
    assert "\nplain,-1.5\n" in lines
    assert "\na=1,-1.5\n" in lines


def test_what_is_shown_is_text_and_on_the_scale():
    row = {"recording": "r", "trait": "<i>&", "score": 2.5, "level": 2.0, "probability": 0.5, "decision": "undecided"}
    html = show_scores(pd.DataFrame([row]), SCALE)
    assert "<i>" not in html
    assert "&lt;i&gt;&amp;" in html
    assert "width:50%" in html
    assert "<td>1.00</td>" in html  # one bit of uncertainty
    binary = show_scores(pd.DataFrame([row | {"level": np.nan, "score": 0.25}]), Scale((0, 1), present_from=1))
    assert "<td>–</td>" in binary
    assert "width:25%" in binary
    assert "<b>" not in show_problems({"<b>.wav": "is <b>"})
    assert show_problems({}) == ""


@pytest.mark.parametrize("show_ids", [False, True])
def test_a_run_is_browsed_by_disagreement_under_hashes_unless_ids_are_asked_for(tmp_path, show_ids):
    run = make_finished_run(tmp_path / "run")
    if show_ids:
        config = run / "config.yaml"
        config.write_text(config.read_text().replace("show_ids: false", "show_ids: true"))
    browser = Browser(run)
    assert browser.problem == ""
    assert browser.rows["difference"].abs().is_monotonic_decreasing
    assert set(browser.rows["name"]) == (set(IDS) if show_ids else {hash_id(name) for name in IDS})
    assert browser.path(0).parent == run.parent / "audio"
    assert browser.path(-1) is None
    assert browser.path(10_000) is None
    assert list(browser.scores(0)["trait"]) == list(TRAITS)


def test_a_run_whose_recordings_are_gone_says_so(tmp_path):
    run = make_finished_run(tmp_path / "run")
    (run.parent / "metadata.csv").unlink()
    browser = Browser(run)
    assert browser.problem.startswith("The recordings of the run cannot be found, so there is nothing to hear.")
    assert browser.path(0) is None


def test_any_other_address_gets_a_token():
    assert choose_token("127.0.0.1", None) is None
    first, second = (choose_token("0.0.0.0", None) for _ in range(2))
    assert first != second
    assert choose_token("127.0.0.1", "a" * 16) == "a" * 16
    for token in ("short", "a" * 15 + " ", "a" * 15 + ";", "", "ä" * 20):
        with pytest.raises(ConfigError, match="The token must be at least 16 letters, digits, - or _"):
            choose_token("0.0.0.0", token)


def test_what_lies_for_long_is_deleted(tmp_path):
    (tmp_path / "old" / "x").mkdir(parents=True)
    old, new = tmp_path / "old" / "x" / "a.wav", tmp_path / "b.wav"
    for path in (old, new):
        path.write_text("")
    for path in (old, tmp_path / "old" / "x", tmp_path / "old"):
        os.utime(path, (time.time() - 1000,) * 2)
    sweep(tmp_path, 900)
    assert not old.exists()
    assert new.exists()
    sweep(tmp_path, -1)
    assert list(tmp_path.iterdir()) == []
