"""Settings ranked, and what is chance among them."""

import numpy as np
import pandas as pd
import pytest

from lalia.scale import Scale
from lalia.sweep.leaderboard import best_trial, find_metric, main_effects, rank_settings, spread_of
from lalia.sweep.trials import Outcome

SCALE = Scale((1.0, 2.0, 3.0, 4.0), present_from=2.0)


def make_outcome(tmp_path, noise, draw=0, speakers=20, **varied):
    random = np.random.default_rng([draw, speakers])
    ratings = np.repeat(np.arange(speakers) % 4 + 1.0, 3)
    scores = ratings + noise * random.normal(size=len(ratings))
    rows = pd.DataFrame(
        {
            "recording": [f"r{number}" for number in range(len(ratings))],
            "speaker": [f"s{number // 3:02}" for number in range(len(ratings))],
            "part": "validation",
            "trait": "slow",
            "rating": ratings,
            "score": scores,
            "level": scores.round().clip(1, 4),
            "probability": 1 / (1 + np.exp(1.5 - scores)),
            "threshold": 0.5,
        }
    )
    return Outcome(varied, tmp_path, _known={"validation": rows})


def test_the_best_settings_come_first_with_seeds_together(tmp_path):
    outcomes = [
        make_outcome(tmp_path, noise, seed, **{"model.layers": layers, "seed": seed})
        for seed in (1, 2)
        for noise, layers in ((2.0, "last"), (0.5, "weighted"))
    ]
    outcomes.append(Outcome({"model.layers": 99}, None, "no such depth"))
    for name in ("auc", "mae"):
        standings = rank_settings(outcomes, SCALE, find_metric(name), replicates=200)
        assert [one.varied for one in standings] == [{"model.layers": "weighted"}, {"model.layers": "last"}]
        first = standings[0]
        assert first.mean == pytest.approx(np.mean(first.scores)) and len(first.outcomes) == 2
        assert first.low < first.mean < first.high
        best = best_trial(first, find_metric(name))
        values = first.scores
        assert best is first.outcomes[int(np.argmin(values) if name == "mae" else np.argmax(values))]


def test_an_interval_of_settings_holds_the_chance_of_seeds_too(tmp_path):
    same = [make_outcome(tmp_path, 1.0, 5, seed=seed) for seed in (1, 2)]
    other = [make_outcome(tmp_path, noise, 5, seed=seed) for seed, noise in ((1, 0.1), (2, 4.0))]
    of_same, of_other = (
        rank_settings(each, SCALE, find_metric("spearman"), replicates=500)[0] for each in (same, other)
    )
    alone = rank_settings(same[:1], SCALE, find_metric("spearman"), replicates=500)[0]
    assert of_same.high - of_same.low == pytest.approx(alone.high - alone.low, abs=0.02)
    assert of_other.high - of_other.low > 1.5 * (of_same.high - of_same.low)


def test_settings_with_an_undefined_score_come_last(tmp_path):
    nobody = make_outcome(tmp_path, 0.1, **{"model.layers": 1})
    nobody.validation().loc[:, "rating"] = 1.0
    standings = rank_settings([nobody, make_outcome(tmp_path, 3.0)], SCALE, find_metric("auc"), replicates=50)
    assert [one.varied for one in standings] == [{}, {"model.layers": 1}]


def test_main_effects_are_means_over_all_trials_with_a_value():
    outcomes = [Outcome({"a": a, "b": b}, None) for a in (1, 2) for b in ("x", "y")]
    effects = main_effects(outcomes, [0.1, 0.3, 0.5, 0.9]).set_index(["key", "value"])
    assert effects.loc[("a", "1"), "mean"] == pytest.approx(0.2)
    assert effects.loc[("b", '"y"'), "mean"] == pytest.approx(0.6)
    assert effects.loc[("b", '"y"'), ["lowest", "highest", "trials"]].tolist() == [0.3, 0.9, 2]
    assert main_effects(outcomes[:1], [0.1]).empty


def test_the_spread_of_settings_is_parted_from_that_of_seeds():
    from lalia.sweep.leaderboard import Standing

    random = np.random.default_rng(0)
    true = random.normal(0.7, 0.05, size=200)
    standings = [Standing({}, (), tuple(mean + random.normal(0, 0.02, size=4)), mean, 0, 1) for mean in true]
    found = spread_of(standings)
    assert found.settings == pytest.approx(0.05, rel=0.15)
    assert found.repeats == pytest.approx(0.02, rel=0.1)
    alike = [Standing({}, (), tuple(random.normal(0.7, 0.02, size=4)), 0.7, 0, 1) for _ in range(200)]
    assert spread_of(alike).settings < 0.01
    assert np.isnan(spread_of([Standing({}, (), (0.5,), 0.5, 0, 1)] * 3).settings)
