"""Baselines that hear no speech, and the agreement between people, in the shape of a model's numbers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lalia.data.splits import Split
from lalia.data.table import Flow, RecordingTable
from lalia.errors import TableError
from lalia.evaluation.audit import nuisance_baselines, rater_agreement
from lalia.evaluation.evaluate import evaluate, fit_decisions
from lalia.scale import Scale

SCALE = Scale((1.0, 2.0, 3.0, 4.0), present_from=2.0)
NAN = float("nan")


def make_table(speakers, seconds=None, raters=(), **ratings):
    """Make a table of recordings r00, r01, ...; ``raters`` are (recording, rater, trait, rating)."""
    recordings = pd.DataFrame({"recording": [f"r{row:02}" for row in range(len(speakers))], "speaker": list(speakers)})
    if seconds is not None:
        recordings["duration_seconds"] = np.asarray(seconds, dtype=float)
    columns = {trait: np.asarray(values, dtype=float) for trait, values in ratings.items()}
    rater_ratings = pd.DataFrame(raters, columns=["recording", "rater", "trait", "rating"])
    return RecordingTable(recordings, pd.DataFrame(columns), rater_ratings, SCALE, Flow(len(recordings), 1))


def make_split(table, parts):
    return Split(table.recordings[["recording", "speaker"]].assign(part=list(parts)))


def rows_of(predictions, part, trait="slow"):
    return predictions[(predictions["part"] == part) & (predictions["trait"] == trait)]


def test_majority_predicts_the_training_ratings_everywhere():
    table = make_table("abcdefg", [1] * 7, slow=[1, 1, 2, 4, NAN, 4, 3])
    split = make_split(table, ["train"] * 5 + ["validation", "test"])
    majority = nuisance_baselines(table, split)["majority"]
    assert majority["score"].tolist() == [1.0] * 7
    assert majority["level"].tolist() == [1.0] * 7
    assert majority["probability"].tolist() == [0.5] * 7
    assert rows_of(majority, "test")["rating"].tolist() == [3.0]


def test_the_mean_is_the_mean_with_the_nearest_level():
    table = make_table("abcdefg", [1] * 7, slow=[1, 1, 2, 4, NAN, 4, 3])
    split = make_split(table, ["train"] * 5 + ["validation", "test"])
    mean = nuisance_baselines(table, split)["mean"]
    assert mean[["score", "level", "probability"]].to_numpy().tolist() == [[2.0, 2.0, 0.5]] * 7


def with_features(table, **covariates):
    recordings = table.recordings.assign(**covariates)
    return replace(table, recordings=recordings, covariates=tuple(name for name in covariates if name != "log_mel"))


def test_covariates_and_log_mel_have_a_baseline_where_they_are():
    table = make_table("abcd", [1] * 4, slow=[1, 2, 3, 1])
    split = make_split(table, ["train"] * 3 + ["test"])
    assert list(nuisance_baselines(table, split)) == ["majority", "mean", "duration"]
    more = with_features(table, sex=["f", "m", "f", "m"], log_mel=list(np.eye(4)))
    assert list(nuisance_baselines(more, split)) == ["majority", "mean", "duration", "demographics", "acoustic"]


def test_demographics_find_a_trait_that_is_only_sex():
    sex = ["f", "m"] * 20
    table = make_table([f"s{row}" for row in range(40)], [1] * 40, slow=[1, 4] * 20)
    split = make_split(table, ["train"] * 30 + ["test"] * 10)
    found = nuisance_baselines(with_features(table, sex=sex), split)["demographics"]
    assert rows_of(found, "test")["level"].tolist() == [1, 4] * 5
    assert (rows_of(found, "test")["probability"] > 0.5).tolist() == [False, True] * 5


def test_the_acoustic_baseline_hears_a_band_among_many():
    random = np.random.default_rng(0)
    log_mel = random.normal(size=(120, 20))
    ratings = np.clip(np.round(2.5 + 1.5 * log_mel[:, 3]), 1, 4)
    table = make_table([f"s{row // 2}" for row in range(120)], [1] * 120, slow=ratings)
    split = make_split(table, ["train"] * 80 + ["test"] * 40)
    acoustic = nuisance_baselines(with_features(table, log_mel=list(log_mel)), split)["acoustic"]
    found = evaluate(acoustic, SCALE, {"slow": 0.5}, replicates=20)["test"]["recording"]["traits"]["slow"]
    assert found["spearman"]["value"] > 0.8
    assert found["auc"]["value"] > 0.85


def test_a_penalty_is_chosen_on_other_speakers():
    # each of two recordings shows who speaks, which tells the rating in training only
    random = np.random.default_rng(1)
    own = np.repeat(random.normal(size=(40, 30)), 2, axis=0)
    ratings = np.repeat(random.integers(1, 5, 40), 2)
    table = make_table([f"s{row // 2}" for row in range(80)], [1] * 80, slow=ratings)
    split = make_split(table, ["train"] * 60 + ["test"] * 20)
    acoustic = nuisance_baselines(with_features(table, log_mel=list(own)), split)["acoustic"]
    scores = rows_of(acoustic, "train")["score"]
    # folds of recordings would see each speaker's rating and choose scores that spread as the ratings do
    assert scores.std() < 0.6 * rows_of(acoustic, "train")["rating"].std()


def test_majority_tells_nothing_apart():
    table = make_table("abcdef", [1] * 6, slow=[1, 2, 3, 1, 2, 4])
    split = make_split(table, ["train"] * 3 + ["test"] * 3)
    found = evaluate(nuisance_baselines(table, split)["majority"], SCALE, {"slow": 0.5}, replicates=20)
    metrics = found["test"]["recording"]["traits"]["slow"]
    assert metrics["auc"]["value"] == 0.5
    assert metrics["spearman"]["reason"] == "all scores of the 3 rated recordings are equal"


def test_duration_finds_a_trait_that_is_only_duration():
    seconds = np.tile([1.0, 2.0, 3.0, 4.0], 10)
    table = make_table([f"s{row}" for row in range(40)], seconds, slow=seconds)
    split = make_split(table, ["train"] * 24 + ["validation"] * 8 + ["test"] * 8)
    duration = nuisance_baselines(table, split)["duration"]
    assert rows_of(duration, "test")["score"].tolist() == pytest.approx([1, 2, 3, 4] * 2)
    assert rows_of(duration, "test")["level"].tolist() == [1, 2, 3, 4] * 2
    decisions = fit_decisions(rows_of(duration, "validation"), ["slow"], SCALE)
    found = evaluate(duration, SCALE, {"slow": decisions["slow"].threshold}, replicates=20)
    assert found["test"]["recording"]["traits"]["slow"]["balanced_accuracy"]["value"] == 1.0


def test_duration_learns_nothing_from_other_parts():
    table = make_table("abcdef", [1, 2, 3, 4, 1, 4], slow=[1, 2, 3, 4, 1, 4])
    other = make_table("abcdef", [1, 2, 3, 4, 1, 4], slow=[1, 2, 3, 4, 4, 1])
    split = make_split(table, ["train"] * 4 + ["test"] * 2)
    first, second = (nuisance_baselines(rows, split)["duration"] for rows in (table, other))
    pd.testing.assert_frame_equal(first.drop(columns="rating"), second.drop(columns="rating"))


def test_a_score_from_duration_stays_on_the_scale():
    table = make_table("abcd", [1, 2, 3, 60], slow=[1, 2, 3, NAN])
    split = make_split(table, ["train"] * 3 + ["test"])
    assert nuisance_baselines(table, split)["duration"]["score"].iloc[3] == 4.0


def test_duration_with_one_class_in_training_gives_that_class():
    table = make_table("abcd", [1, 2, 3, 4], slow=[2, 3, 4, 1])
    split = make_split(table, ["train"] * 3 + ["test"])
    assert nuisance_baselines(table, split)["duration"]["probability"].tolist() == [1.0] * 4


def test_a_trait_without_training_ratings_has_no_baseline():
    table = make_table("abcd", [1, 2, 3, 4], slow=[NAN, NAN, 2, 1])
    split = make_split(table, ["train"] * 2 + ["test"] * 2)
    for predictions in nuisance_baselines(table, split).values():
        found = evaluate(predictions, SCALE, {"slow": 0.5}, replicates=20)["test"]["recording"]["traits"]["slow"]
        assert found["mae"]["reason"] == "no scores"


def test_baselines_need_the_durations():
    table = make_table("ab", slow=[1, 2])
    with pytest.raises(TableError, match="lacks the column 'duration_seconds'"):
        nuisance_baselines(table, make_split(table, ["train", "test"]))


# --- people -----------------------------------------------------------------------------------------------------------


def make_rated(ratings_of):
    """Make a test part in which each recording is a speaker; ``ratings_of`` gives the ratings of each rater."""
    n = len(next(iter(ratings_of.values())))
    raters = [
        (f"r{row:02}", rater, "slow", float(value))
        for rater, values in ratings_of.items()
        for row, value in enumerate(values)
        if not np.isnan(value)
    ]
    table = make_table([f"s{row}" for row in range(n)], slow=[1] * n, raters=raters)
    return table, make_split(table, ["test"] * n)


def test_raters_are_held_against_the_median_of_the_others():
    table, split = make_rated({"x": [1, 2, 3, 4], "y": [1, 2, 3, 4], "z": [2, 3, 4, 4]})
    found = rater_agreement(table, split, replicates=50)["test"]["recording"]
    # x and y against the median of an equal rater and z: 0.5, 0.5, 0.5, 0; z against both: 1, 1, 1, 0
    mae = found["traits"]["slow"]["mae"]
    assert mae["value"] == pytest.approx((0.375 + 0.375 + 0.75) / 3)
    assert mae["n"] == 4
    assert mae["low"] <= mae["value"] <= mae["high"]
    assert found["macro"]["mae"]["value"] == mae["value"]
    assert found["macro"]["mae"]["n"] == 1


def test_raters_who_agree_have_a_kappa_of_1():
    table, split = make_rated({"x": [1, 2, 3, 4, NAN], "y": [1, 2, 3, 4, 2]})
    qwk = rater_agreement(table, split, replicates=50)["test"]["recording"]["traits"]["slow"]["qwk"]
    assert (qwk["value"], qwk["n"]) == (1.0, 4)


def test_for_a_speaker_the_ratings_of_each_rater_are_averaged():
    raters = [("r00", "x", "slow", 1.0), ("r01", "x", "slow", 3.0), ("r02", "x", "slow", 4.0)]
    raters += [("r00", "y", "slow", 3.0), ("r01", "y", "slow", 1.0), ("r02", "y", "slow", 4.0)]
    table = make_table("aab", slow=[1, 1, 1], raters=raters)
    tree = rater_agreement(table, make_split(table, ["test"] * 3), replicates=50)["test"]
    assert tree["speaker"]["traits"]["slow"]["mae"]["value"] == 0.0
    assert tree["recording"]["traits"]["slow"]["mae"]["value"] == pytest.approx(4 / 3)


def test_a_trait_that_one_person_rated_is_null_with_a_reason():
    table, split = make_rated({"x": [1, 2, 3, 4], "y": [1, 2, 3, 4]})
    raters = pd.concat(
        [table.rater_ratings, pd.DataFrame([("r00", "x", "breathy", 1.0)], columns=table.rater_ratings.columns)]
    )
    both = RecordingTable(table.recordings, table.ratings.assign(breathy=1.0), raters, SCALE, table.flow)
    for unit in ("recording", "speaker"):
        auc = rater_agreement(both, split, replicates=50)["test"][unit]["traits"]["breathy"]["auc"]
        assert auc["value"] is None
        assert auc["reason"] == "no two raters rated the same recording"


def test_a_part_that_nobody_rated_is_null_with_a_reason():
    table, split = make_rated({"x": [1, 2, 3, NAN], "y": [1, 2, 3, NAN]})
    parts = split.parts.assign(part=["test"] * 3 + ["train"])
    found = rater_agreement(table, Split(parts), replicates=50)
    assert list(found) == ["train", "test"]
    assert found["train"]["recording"]["traits"]["slow"]["auc"]["value"] is None


def test_one_rater_agrees_with_nobody():
    table, split = make_rated({"": [1, 2, 3]})
    assert rater_agreement(table, split) == {}
