"""Metrics per part, unit and trait: equal to scikit-learn's, undefined as null with a reason, in strict JSON."""

import json
from math import isclose

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, roc_auc_score

from lalia.evaluation.evaluate import (
    average_speakers,
    evaluate,
    fit_decisions,
    metrics_table,
    write_metrics,
)
from lalia.measures.metrics import ALL_METRICS
from lalia.scale import Scale

SCALE = Scale((1.0, 2.0, 3.0, 4.0), present_from=2.0)
NAN = float("nan")
NO_ENDS = dict.fromkeys(("low", "high", "bca_low", "bca_high"))
PROBABILITY = {1.0: 0.1, 2.0: 0.6, 3.0: 0.8, 4.0: 0.9}


def make_rows(trait, ratings, scores, speakers=None, part="test", level=None, probability=None):
    """Make the predictions of one trait; each recording is a speaker unless said otherwise."""
    scores = np.asarray(scores, dtype=float)
    return pd.DataFrame(
        {
            "recording": [f"r{row}" for row in range(len(ratings))],
            "speaker": [f"s{row}" for row in range(len(ratings))] if speakers is None else list(speakers),
            "part": part,
            "trait": trait,
            "rating": np.asarray(ratings, dtype=float),
            "score": scores,
            "level": SCALE.nearest_level(scores) if level is None else level,
            "probability": (scores - 1) / 3 if probability is None else probability,
        }
    )


def draw_rows(trait="hoarse", n=60, seed=0, n_speakers=15, part="test"):
    generator = np.random.default_rng(seed)
    severity = np.resize(np.linspace(0, 3.5, n_speakers), n)
    ratings = np.clip(np.round(severity + generator.normal(size=n)), 1, 4)
    ratings[generator.random(n) < 0.2] = NAN
    scores = np.clip(np.nan_to_num(ratings, nan=2) + generator.normal(scale=1.2, size=n), 1, 4)
    return make_rows(trait, ratings, scores, [f"s{row % n_speakers}" for row in range(n)], part)


def values_of(branch):
    return {metric.name: branch[metric.name]["value"] for metric in ALL_METRICS}


# --- values -----------------------------------------------------------------------------------------------------------


def test_each_metric_is_that_of_the_rated_recordings():
    rows = draw_rows()
    found = evaluate(rows, SCALE, {"hoarse": 0.4}, replicates=20)["test"]["recording"]["traits"]["hoarse"]
    rated = rows.dropna(subset="rating")
    present, called = rated["rating"] >= 2, rated["probability"] >= 0.4
    expected = {
        "auc": roc_auc_score(present, rated["probability"]),
        "balanced_accuracy": balanced_accuracy_score(present, called),
        "accuracy": (present == called).mean(),
        "sensitivity": called[present].mean(),
        "specificity": (~called[~present]).mean(),
        "spearman": spearmanr(rated["rating"], rated["score"]).statistic,
        "pearson": np.corrcoef(rated["rating"], rated["score"])[0, 1],
        "mae": (rated["rating"] - rated["score"]).abs().mean(),
        "qwk": cohen_kappa_score(rated["rating"], rated["level"], labels=[1, 2, 3, 4], weights="quadratic"),
    }
    for name, value in expected.items():
        assert isclose(found[name]["value"], value, abs_tol=1e-9), name
        assert found[name]["n"] == len(rated)


def test_kappa_is_taken_over_the_full_scale():
    rows = make_rows("hoarse", [1, 2, 4, 4], [1, 4, 4, 2])
    found = evaluate(rows, SCALE, {}, replicates=0)["test"]["recording"]["traits"]["hoarse"]
    assert round(found["qwk"]["value"], 3) == 0.407


def test_a_speaker_has_the_means_of_the_rated_recordings_and_the_level_nearest_to_the_mean_score():
    rows = make_rows("hoarse", [1, 2, NAN, 4], [1.0, 2.2, 4.0, 3.0], speakers="aaab", probability=[0.2, 0.4, 1.0, 0.9])
    found = average_speakers(rows, SCALE)
    assert found["speaker"].tolist() == ["a", "b"]
    assert found["rating"].tolist() == [1.5, 4.0]
    assert found["score"].tolist() == pytest.approx([1.6, 3.0])
    assert found["probability"].tolist() == pytest.approx([0.3, 0.9])
    assert found["level"].tolist() == [2.0, 3.0]


def test_speaker_metrics_are_those_of_the_speaker_means():
    rows = draw_rows()
    found = evaluate(rows, SCALE, {"hoarse": 0.4}, replicates=20)["test"]["speaker"]["traits"]["hoarse"]
    means = rows.dropna(subset="rating").groupby("speaker")[["rating", "score", "probability"]].mean()
    assert isclose(found["pearson"]["value"], np.corrcoef(means["rating"], means["score"])[0, 1])
    assert isclose(found["auc"]["value"], roc_auc_score(SCALE.is_present(means["rating"]), means["probability"]))
    assert found["auc"]["n"] == len(means) == 15


def test_counts_are_those_of_the_ratings():
    rows = make_rows("hoarse", [1, 2, NAN, 4, 4], [1, 1, 1, 1, 1], speakers="aabbb")
    tree = evaluate(rows, SCALE, {}, replicates=0)["test"]
    levels = {"1": 1, "2": 1, "3": 0, "4": 2}
    assert tree["recording"]["traits"]["hoarse"]["counts"] == {
        "rated": 4,
        "present": 3,
        "speakers": 2,
        "levels": levels,
    }
    assert tree["speaker"]["traits"]["hoarse"]["counts"]["levels"] == {"1": 1, "2": 0, "3": 0, "4": 1}


def test_each_part_is_evaluated_alone():
    test, train = draw_rows(), draw_rows(seed=1, part="train")
    both = evaluate(pd.concat([test, train]), SCALE, {"hoarse": 0.5}, replicates=50)
    assert list(both) == ["train", "test"]
    assert both["test"] == evaluate(test, SCALE, {"hoarse": 0.5}, replicates=50)["test"]


def test_numbers_do_not_depend_on_the_order_of_rows():
    rows = pd.concat([draw_rows(), draw_rows("slow", seed=4)])
    shuffled = rows.sample(frac=1, random_state=0)
    first, second = (evaluate(table, SCALE, {}, replicates=50)["test"]["speaker"] for table in (rows, shuffled))
    assert first["traits"]["hoarse"] == second["traits"]["hoarse"]
    assert values_of(first["macro"]) == pytest.approx(values_of(second["macro"]), nan_ok=True)


# --- macro ------------------------------------------------------------------------------------------------------------


def test_macro_is_the_mean_over_the_traits_in_which_the_metric_is_defined():
    rows = pd.concat([draw_rows("a"), draw_rows("b", seed=1), make_rows("c", [1, 1, 1, 1], [1, 2, 3, 4])])
    branch = evaluate(rows, SCALE, dict.fromkeys("abc", 0.5), replicates=20)["test"]["recording"]
    aucs = [branch["traits"][trait]["auc"]["value"] for trait in "ab"]
    assert branch["traits"]["c"]["auc"]["value"] is None
    assert isclose(branch["macro"]["auc"]["value"], np.mean(aucs))
    assert (branch["macro"]["auc"]["n"], branch["macro"]["auc"]["of"]) == (2, 3)
    assert (branch["macro"]["mae"]["n"], branch["macro"]["mae"]["of"]) == (3, 3)
    assert "of" not in branch["traits"]["a"]["auc"]


def test_the_macro_interval_of_equal_traits_is_that_of_one_because_they_share_the_drawn_speakers():
    rows = pd.concat([draw_rows("a"), draw_rows("b")])
    branch = evaluate(rows, SCALE, {}, replicates=200)["test"]["recording"]
    for bound in ("low", "high"):
        assert isclose(branch["macro"]["auc"][bound], branch["traits"]["a"]["auc"][bound])


def test_macro_without_a_defined_trait_is_null_with_a_reason():
    branch = evaluate(make_rows("c", [1, 1, 1], [1, 2, 3]), SCALE, {}, replicates=20)["test"]["recording"]
    assert branch["macro"]["auc"] == {
        "value": None,
        "low": None,
        "high": None,
        "bca_low": None,
        "bca_high": None,
        "n": 0,
        "of": 1,
        "reason": "undefined in every trait",
    }


# --- intervals --------------------------------------------------------------------------------------------------------


def test_intervals_hold_the_value_and_repeat_with_the_seed():
    rows = draw_rows()
    first, again, other = (evaluate(rows, SCALE, {}, replicates=200, seed=seed)["test"] for seed in (1, 1, 2))
    auc = first["recording"]["traits"]["hoarse"]["auc"]
    assert auc["low"] < auc["value"] < auc["high"]
    assert first == again != other


def test_recordings_of_one_speaker_do_not_narrow_the_interval():
    ratings, scores = [1, 2, 3, 4, 1, 2, 3, 4], [1.2, 3.1, 2.0, 3.0, 2.4, 1.1, 3.6, 2.9]
    once = make_rows("hoarse", ratings, scores)
    repeated = pd.concat([once.assign(recording=once["recording"] + suffix) for suffix in "abcdefghij"])
    narrow, wide = (
        evaluate(rows, SCALE, {}, replicates=300)["test"]["recording"]["traits"]["hoarse"]["mae"]
        for rows in (repeated, once)
    )
    assert (narrow["low"], narrow["high"]) == pytest.approx((wide["low"], wide["high"]))


def test_one_speaker_gives_values_without_intervals():
    rows = make_rows("hoarse", [1, 2, 3, 4], [1, 2, 2, 4], speakers="aaaa")
    mae = evaluate(rows, SCALE, {}, replicates=20)["test"]["recording"]["traits"]["hoarse"]["mae"]
    assert mae == {"value": 0.25, **NO_ENDS, "n": 4}


# --- undefined --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("auc", "only one class among the 4 rated recordings"),
        ("sensitivity", "the trait is absent in all of the 4 rated recordings"),
        ("qwk", "only one level among the 4 rated recordings"),
        ("spearman", "all ratings of the 4 rated recordings are equal"),
    ],
)
def test_an_undefined_metric_is_null_with_a_reason(metric, reason):
    rows = make_rows("hoarse", [1, 1, 1, 1], [1, 2, 3, 4])
    found = evaluate(rows, SCALE, {"hoarse": 0.5}, replicates=20)["test"]["recording"]["traits"]["hoarse"]
    assert found[metric] == {"value": None, **NO_ENDS, "n": 4, "reason": reason}


def test_a_trait_that_is_not_rated_in_a_part_is_null_with_a_reason():
    found = evaluate(make_rows("hoarse", [NAN, NAN], [1, 2]), SCALE, {}, replicates=20)["test"]
    assert found["recording"]["traits"]["hoarse"]["mae"]["reason"] == "no rated recordings"
    assert found["speaker"]["traits"]["hoarse"]["mae"]["reason"] == "no rated speakers"
    assert found["recording"]["traits"]["hoarse"]["counts"]["rated"] == 0


def test_a_binary_head_has_no_level_metrics():
    rows = make_rows("hoarse", [1, 2, 3, 4], [0.1, 0.8, 0.4, 0.9], level=[NAN] * 4, probability=[0.1, 0.8, 0.4, 0.9])
    for unit in ("recording", "speaker"):
        found = evaluate(rows, SCALE, {"hoarse": 0.5}, replicates=20)["test"][unit]["traits"]["hoarse"]
        assert found["qwk"]["reason"] == found["mae"]["reason"] == "a binary head gives no levels"
        assert found["auc"]["value"] == 1.0
        assert found["accuracy"]["value"] == 0.75


def test_a_trait_without_scores_or_threshold_is_null_with_a_reason():
    rows = make_rows("hoarse", [1, 2, 3, 4], [NAN] * 4)
    found = evaluate(rows, SCALE, {}, replicates=20)["test"]["recording"]["traits"]["hoarse"]
    assert found["mae"]["reason"] == "no scores"
    assert found["auc"]["reason"] == "no probability of presence"
    assert found["accuracy"]["reason"] == "no decision threshold"


# --- thresholds -------------------------------------------------------------------------------------------------------


def test_the_decision_is_the_best_threshold_of_the_rated_recordings():
    rows = make_rows("hoarse", [1, 1, 3, 4, NAN], [1, 1, 1, 1, 1], probability=[0.1, 0.2, 0.6, 0.9, 0.3])
    decision = fit_decisions(rows, ["hoarse"], SCALE)["hoarse"]
    assert (decision.threshold, decision.reason) == (0.4, None)


def test_where_no_threshold_can_be_fitted_it_is_one_half_with_a_reason():
    rows = pd.concat([make_rows("a", [1, 1], [1, 2]), make_rows("b", [NAN, NAN], [1, 2])])
    decisions = fit_decisions(rows, ["a", "b", "c"], SCALE)
    assert {decision.threshold for decision in decisions.values()} == {0.5}
    assert decisions["a"].reason == "only one class among the 2 rated recordings in the validation part"
    assert decisions["b"].reason == decisions["c"].reason == "no rated recording in the validation part"


# --- files and tables -------------------------------------------------------------------------------------------------


def test_metrics_are_written_as_strict_json(tmp_path):
    rows = pd.concat([draw_rows(), make_rows("slow", [1, 1], [NAN, NAN])])
    tree = evaluate(rows, SCALE, {"hoarse": 0.5}, replicates=20)
    write_metrics(tree, tmp_path / "metrics.json")
    text = (tmp_path / "metrics.json").read_text(encoding="utf-8")

    def refuse(constant):
        raise AssertionError(constant)

    assert json.loads(text, parse_constant=refuse) == tree


def test_a_nan_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_metrics({"test": {"value": NAN}}, tmp_path / "metrics.json")
    assert list(tmp_path.iterdir()) == []


def test_the_table_has_a_row_per_trait_and_metric():
    rows = pd.concat([draw_rows("a"), draw_rows("b", seed=1)])
    tree = evaluate(rows, SCALE, {}, replicates=20)
    table = metrics_table(tree, "test", "speaker")
    assert list(dict.fromkeys(table["trait"])) == ["a", "b", "macro"]
    assert len(table) == 3 * len(ALL_METRICS)
    auc = table[(table["trait"] == "b") & (table["metric"] == "auc")]
    assert auc["value"].item() == tree["test"]["speaker"]["traits"]["b"]["auc"]["value"]


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_each_task_has_the_numbers_of_its_recordings_alone():
    rows = draw_rows()
    task_of = {name: "reading" if int(name[1:]) % 3 else "vowel" for name in rows["recording"]}
    found = evaluate(rows, SCALE, {"hoarse": 0.4}, tasks=task_of, replicates=20)["test"]["tasks"]
    assert set(found) == {"reading", "vowel"}
    alone = evaluate(rows[rows["recording"].map(task_of) == "vowel"], SCALE, {"hoarse": 0.4}, replicates=20)["test"]
    assert found["vowel"] == alone


def test_one_task_or_none_has_no_numbers_of_its_own():
    rows = draw_rows()
    for tasks in (None, dict.fromkeys(rows["recording"], "reading"), dict.fromkeys(rows["recording"])):
        assert "tasks" not in evaluate(rows, SCALE, {}, tasks=tasks, replicates=20)["test"]


def test_bca_ends_stand_beside_percentiles_and_differ_where_replicates_are_skewed():
    found = evaluate(draw_rows(), SCALE, {"hoarse": 0.4}, replicates=400)["test"]["recording"]
    for one in (found["traits"]["hoarse"]["pearson"], found["macro"]["pearson"]):
        assert one["bca_low"] < one["value"] < one["bca_high"]
        assert (one["bca_low"], one["bca_high"]) != (one["low"], one["high"])
