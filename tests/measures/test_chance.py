"""What a metric is by chance."""

import numpy as np
import pytest
from scipy.stats import permutation_test, spearmanr
from sklearn.metrics import roc_auc_score

from lalia.measures.chance import auc_by_chance, spearman_by_chance


def draw(n, effect, seed):
    random = np.random.default_rng(seed)
    ratings = random.integers(1, 5, n).astype(float)
    return ratings, effect * ratings + random.normal(size=n)


def test_the_values_are_the_metrics():
    ratings, scores = draw(40, 0.5, 0)
    assert auc_by_chance(ratings > 2, scores, permutations=9, seed=0).value == pytest.approx(
        roc_auc_score(ratings > 2, scores)
    )
    found = spearman_by_chance(ratings, scores, permutations=9, seed=0)
    assert found.value == pytest.approx(spearmanr(ratings, scores).statistic)


def test_p_is_scipys():
    ratings, scores = draw(30, 0.3, 1)
    expected = permutation_test(
        (ratings,),
        lambda x: spearmanr(x, scores).statistic,
        permutation_type="pairings",
        n_resamples=4000,
        alternative="greater",
        rng=np.random.default_rng(0),
    )
    found = spearman_by_chance(ratings, scores, permutations=20_000, seed=0)
    assert found.p == pytest.approx(expected.pvalue, abs=0.015)


@pytest.mark.parametrize(
    "measure",
    [
        lambda r, s, k: auc_by_chance(r > 2, s, permutations=199, seed=k),
        lambda r, s, k: spearman_by_chance(r, s, permutations=199, seed=k),
    ],
    ids=["auc", "spearman"],
)
def test_permuted_labels_are_chance_and_an_effect_is_not(measure):
    without = [measure(*draw(25, 0.0, seed), seed).p for seed in range(400)]
    assert 0.02 < np.mean(np.array(without) <= 0.05) < 0.09
    assert np.mean(without) == pytest.approx(0.5, abs=0.06)
    assert measure(*draw(25, 2.0, 0), 0).p == pytest.approx(1 / 200)
    told = measure(*draw(25, 2.0, 0), 0).to_json()
    assert told["low"] < told["high"] < told["value"]


def test_where_the_metric_is_undefined_there_is_no_chance():
    assert auc_by_chance([True, True], [0.1, 0.2], permutations=9, seed=0) is None
    assert spearman_by_chance([1.0, 2.0], [0.1, 0.2], permutations=9, seed=0) is None
    assert spearman_by_chance([2.0, 2.0, 2.0], [0.1, 0.2, 0.3], permutations=9, seed=0) is None
