"""Two models on the same speakers."""

import numpy as np
import pandas as pd
import pytest

from lalia.errors import RunError
from lalia.evaluation.compare import Model, check_comparable, compare_models, holm, summarize_runs
from lalia.measures.metrics import METRICS
from lalia.scale import Scale

SCALE = Scale((1.0, 2.0, 3.0, 4.0), present_from=2.0)
AUC, SPEARMAN, MAE = ([metric for metric in METRICS if metric.name == name] for name in ("auc", "spearman", "mae"))


def make(name, noise, *, seed=0, speakers=20, recordings=5, traits=("breathy",), same=0):
    """A model whose scores are the ratings of speakers with noise, much of it shared by a speaker's recordings."""
    truth, random = np.random.default_rng(same), np.random.default_rng([seed, 7])
    rows = []
    for trait in traits:
        severity = truth.integers(1, 5, speakers)
        for speaker in range(speakers):
            of_speaker = noise * random.normal()
            for recording in range(recordings):
                score = np.clip(severity[speaker] + of_speaker + 0.3 * noise * random.normal(), 1, 4)
                rows.append((f"s{speaker}_{recording}", f"s{speaker}", trait, float(severity[speaker]), score))
    table = pd.DataFrame(rows, columns=["recording", "speaker", "trait", "rating", "score"])
    table["level"] = table["score"].round()
    table["probability"] = 1 / (1 + np.exp(-2 * (table["score"] - 1.5)))
    return Model(name, table, dict.fromkeys(traits, 0.5))


def test_equal_models_do_not_differ():
    found = compare_models(make("a", 1.0), make("b", 1.0), SCALE, permutations=200, replicates=200)
    defined = found.dropna(subset="difference")
    assert len(defined) == 2 * len(METRICS)
    assert (defined["difference"] == 0).all() and (defined[["low", "high"]] == 0).all(axis=None)
    assert (defined["p"] == 1).all()


def test_a_planted_difference_is_found_for_the_trait_that_has_it():
    traits = ("breathy", "slow_rate", "monopitch")
    first, second = make("a", 1.5, traits=traits), make("b", 1.5, traits=traits)
    better = make("c", 0.2, seed=3, traits=traits)
    is_breathy = second.predictions["trait"] == "breathy"
    second.predictions.loc[is_breathy] = better.predictions[is_breathy]
    found = compare_models(first, second, SCALE, metrics=[*SPEARMAN, *MAE]).set_index(["metric", "trait"])
    assert found.loc[("spearman", "breathy"), "low"] > 0
    assert found.loc[("spearman", "breathy"), "p_holm"] < 0.01
    assert found.loc[("mae", "breathy"), "high"] < 0
    assert found.loc[("spearman", "slow_rate"), "p_holm"] == 1
    assert found.loc[("spearman", "macro"), "n"] == 3
    difference = found.loc["spearman"].loc[list(traits), "difference"].mean()
    assert found.loc[("spearman", "macro"), "difference"] == pytest.approx(difference)


def test_the_values_are_those_of_each_model_by_itself():
    first, second = make("a", 1.0), make("b", 0.5, seed=2)
    found = compare_models(first, second, SCALE, replicates=50, permutations=50).set_index(["trait", "metric"])
    expected = compare_models(first, first, SCALE, replicates=50, permutations=50).set_index(["trait", "metric"])
    pd.testing.assert_series_equal(found["first"], expected["first"])
    pd.testing.assert_series_equal(found["difference"], found["second"] - found["first"], check_names=False)
    swapped = compare_models(second, first, SCALE, replicates=50, permutations=50).set_index(["trait", "metric"])
    np.testing.assert_allclose(swapped["difference"], -found["difference"])


@pytest.mark.parametrize(
    "metrics", [pytest.param(SPEARMAN, id="spearman", marks=pytest.mark.slow), pytest.param(AUC, id="auc")]
)
def test_equally_good_models_are_told_apart_in_five_of_a_hundred(metrics):
    p, covered = [], []
    for seed in range(200):
        given = {"speakers": 40, "same": seed}
        first, second = (make(name, 1.0, seed=[seed, number], **given) for number, name in enumerate("ab"))
        found = compare_models(first, second, SCALE, metrics=metrics, replicates=200, permutations=199, seed=seed)
        row = found[found["trait"] == "breathy"].iloc[0]
        p.append(row["p"])
        covered.append(row["low"] <= 0 <= row["high"])
    # 200 draws of a share of 0.05 lie below 0.1 but once in 500
    assert np.mean(np.array(p) <= 0.05) < 0.1
    assert 0.35 < np.mean(np.array(p) <= 0.5) < 0.65
    assert np.mean(covered) > 0.88


def test_scores_in_other_units_do_not_matter_to_the_order():
    first, second = make("a", 1.0), make("b", 0.5, seed=2)
    in_percent = Model("c", second.predictions.assign(score=second.predictions["score"] * 100), second.thresholds)
    options = {"metrics": SPEARMAN, "replicates": 100, "permutations": 300}
    expected, found = (compare_models(first, each, SCALE, **options) for each in (second, in_percent))
    pd.testing.assert_frame_equal(found, expected)


def test_speakers_are_compared_by_their_means():
    first, second = make("a", 1.0), make("b", 0.5, seed=2)
    found = compare_models(first, second, SCALE, metrics=MAE, unit="speaker", replicates=100, permutations=100)
    means = second.predictions.groupby("speaker")[["rating", "score"]].mean()
    assert found["second"].iloc[0] == pytest.approx((means["score"] - means["rating"]).abs().mean())
    assert found["n"].iloc[0] == found["speakers"].iloc[0] == 20


def test_runs_together_have_the_mean_of_their_values_and_an_interval_of_both_chances():
    models = [make(f"seed{number}", 1.0, seed=number, traits=("breathy", "slow_rate")) for number in range(4)]
    found = summarize_runs(models, SCALE, metrics=MAE, replicates=1000).set_index("trait")
    each = [
        (model.predictions["score"] - model.predictions["rating"]).abs().groupby(model.predictions["trait"]).mean()
        for model in models
    ]
    expected = pd.DataFrame(each)
    pd.testing.assert_series_equal(found.loc[expected.columns, "mean"], expected.mean(), check_names=False)
    pd.testing.assert_series_equal(found.loc[expected.columns, "sd"], expected.std(), check_names=False)
    assert found.loc["macro", "mean"] == pytest.approx(expected.mean().mean())
    assert found.loc["macro", "lowest"] == pytest.approx(expected.mean(axis=1).min())
    # equal runs leave the speakers' chance alone; runs of other seeds add theirs
    same = summarize_runs([models[0]] * 4, SCALE, metrics=MAE, replicates=1000).set_index("trait")
    assert same.loc["breathy", "sd"] == 0
    alone = same.loc["breathy", "high"] - same.loc["breathy", "low"]
    worse = Model("worse", models[0].predictions.assign(score=4.0), models[0].thresholds)
    mixed = summarize_runs([models[0], worse], SCALE, metrics=MAE, replicates=1000).set_index("trait")
    assert mixed.loc["breathy", "high"] - mixed.loc["breathy", "low"] > alone


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.005, 0.04, 0.011, np.nan, 0.5])), [0.02, 0.08, 0.033, np.nan, 0.5])
    assert np.isnan(holm(np.array([np.nan]))).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[table["speaker"] != "s3"], "different speakers: s3 only in 'a'"),
        (lambda table: table[table["recording"] != "s3_1"], r"different recordings or traits: s3_1 \(breathy\) only"),
        (
            lambda table: table.assign(rating=table["rating"].where(table["recording"] != "s3_1", 9.0)),
            "other ratings of",
        ),
        (lambda table: table.assign(trait="slow_rate"), "different recordings or traits"),
    ],
)
def test_models_of_other_data_are_refused(change, message):
    first, second = make("a", 1.0), make("b", 1.0)
    check_comparable(first, second)
    with pytest.raises(RunError, match=message):
        check_comparable(first, Model("b", change(second.predictions), second.thresholds))
