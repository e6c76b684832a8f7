"""Which settings a sweep tries."""

import math

import numpy as np
import pytest

from lalia.config import load_sweep
from lalia.errors import ConfigError
from lalia.settings.sweep import SweepSettings
from lalia.sweep.search import open_search


def make(**settings):
    return SweepSettings(base="run.yaml", **settings)


def all_of(settings, score=lambda values: 0.0):
    search = open_search(settings)
    found = []
    for batch in search.batches():
        found += batch
        for values in batch:
            search.tell(values, score(values))
    return found


def test_a_grid_is_every_combination_after_the_trials_that_are_listed():
    settings = make(
        grid={"seed": (1, 2), "model.layers": ("last", 3)}, trials=({"seed": 9}, {"seed": 2, "model.layers": 3})
    )
    assert all_of(settings) == [
        {"seed": 9},
        {"seed": 2, "model.layers": 3},
        {"seed": 1, "model.layers": "last"},
        {"seed": 1, "model.layers": 3},
        {"seed": 2, "model.layers": "last"},
    ]


def test_a_random_search_draws_different_combinations_and_the_same_with_the_same_seed():
    grid = {"train.learning_rate": {"low": 1e-5, "high": 1e-2, "log": True}, "model.layers": ("last", "weighted")}
    settings = make(grid=grid, search={"kind": "random", "trials": 50, "seed": 3})
    drawn = all_of(settings)
    assert len(drawn) == 50 and drawn == all_of(settings)
    assert len({repr(each) for each in drawn}) == 50
    rates = [each["train.learning_rate"] for each in drawn]
    assert all(1e-5 <= rate <= 1e-2 for rate in rates)
    # evenly in the logarithm: about a third in each decade
    assert 8 < sum(rate < 1e-4 for rate in rates) < 26
    few = make(grid={"seed": (1, 2, 3)}, search={"kind": "random", "trials": 50})
    assert sorted(each["seed"] for each in all_of(few)) == [1, 2, 3]
    whole = make(grid={"seed": {"low": 1, "high": 3, "whole": True}}, search={"kind": "random", "trials": 50})
    assert {each["seed"] for each in all_of(whole)} == {1, 2, 3}


def test_a_bayesian_search_comes_nearer_to_the_best_and_proposes_the_same_again():
    def score(values):
        return -((math.log10(values["train.learning_rate"]) + 3.5) ** 2)

    def make_seeded(seed):
        grid = {"train.learning_rate": {"low": 1e-6, "high": 1.0, "log": True}}
        return make(grid=grid, search={"kind": "bayesian", "trials": 30, "seed": seed})

    searches = [all_of(make_seeded(seed), score) for seed in range(8)]
    assert [len(proposed) for proposed in searches] == [30] * 8
    assert searches[1] == all_of(make_seeded(1), score) != searches[0]
    away = np.sqrt([[-score(each) for each in proposed] for proposed in searches])
    # at random the mean of 80 draws has a standard error of 0.1 of 1.6
    assert away[:, -10:].mean() < 0.75 * away[:, :10].mean()
    # a trial that failed is told too
    assert len(all_of(make_seeded(1), lambda values: float("nan"))) == 30


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: run.yaml\n", "there is nothing to try: give grid or trials"),
        ("base: run.yaml\ngrid: {seed: {low: 1, high: 2}}\n", "are ranges: a grid needs a list of values"),
        ("base: run.yaml\ngrid: {runs: [a, b]}\n", "cannot be varied"),
        ("base: run.yaml\ngrids: {seed: [1]}\n", r"grids is not a setting \(did you mean grid\?\)"),
        ("base: run.yaml\ngrid: {seed: {low: 2, high: 1}}\nsearch: random\n", "low must be less than high"),
        ("base: run.yaml\ntrials: [{seed: 1}]\nsearch: bayesian\n", "needs a grid to draw from"),
        ("grid: {seed: [1]}\n", "base is missing"),
    ],
)
def test_settings_of_a_sweep_that_make_no_sense_are_refused(tmp_path, text, message):
    (tmp_path / "grid.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_sweep(tmp_path / "grid.yaml")


def test_places_in_a_grid_are_relative_to_its_file(tmp_path):
    (tmp_path / "encoder").mkdir()
    (tmp_path / "grid.yaml").write_text("base: run.yaml\ngrid: {model.encoder: [encoder, microsoft/wavlm-base]}\n")
    settings = load_sweep(tmp_path / "grid.yaml")
    assert settings.base == str(tmp_path / "run.yaml")
    assert settings.grid["model.encoder"] == (str(tmp_path / "encoder"), "microsoft/wavlm-base")
