"""The metrics against scikit-learn and scipy, on samples whose rows are really repeated."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from lalia.measures import metrics as ours

N_ROWS, N_LEVELS = 30, 5


def qwk_reference(truth, predicted):
    return sk.cohen_kappa_score(truth, predicted, labels=list(range(N_LEVELS)), weights="quadratic")


# name -> (ours, theirs, the kinds of its two sides)
PAIRS = {
    "auc": (ours.auc, sk.roc_auc_score, "flag", "tied"),
    "auc without ties": (ours.auc, sk.roc_auc_score, "flag", "number"),
    "average_precision": (ours.average_precision, sk.average_precision_score, "flag", "tied"),
    "average_precision without ties": (ours.average_precision, sk.average_precision_score, "flag", "number"),
    "balanced_accuracy": (ours.balanced_accuracy, sk.balanced_accuracy_score, "flag", "flag"),
    "accuracy": (ours.accuracy, sk.accuracy_score, "flag", "flag"),
    "sensitivity": (ours.sensitivity, sk.recall_score, "flag", "flag"),
    "specificity": (ours.specificity, lambda t, p: sk.recall_score(~t, ~p), "flag", "flag"),
    "spearman": (ours.spearman, lambda x, y: stats.spearmanr(x, y).statistic, "level", "tied"),
    "spearman without ties": (ours.spearman, lambda x, y: stats.spearmanr(x, y).statistic, "level", "number"),
    "pearson": (ours.pearson, lambda x, y: stats.pearsonr(x, y).statistic, "level", "number"),
    "mae": (ours.mae, sk.mean_absolute_error, "level", "number"),
    "qwk": (lambda t, p, weights=None: ours.qwk(t, p, N_LEVELS, weights), qwk_reference, "level", "level"),
}


def draw(kind: str, generator: np.random.Generator) -> np.ndarray:
    if kind == "flag":
        return generator.random(N_ROWS) < 0.4
    if kind == "level":
        return generator.integers(0, N_LEVELS - 1, N_ROWS)  # the top level is never used
    return generator.normal(size=N_ROWS) if kind == "number" else generator.integers(0, 6, N_ROWS) / 7


@pytest.mark.parametrize("name", PAIRS)
def test_a_metric_equals_the_reference_and_under_weights_that_of_the_repeated_sample(name):
    metric, reference, first, second = PAIRS[name]
    generator = np.random.default_rng(7)
    for _ in range(10):
        x, y = draw(first, generator), draw(second, generator)
        assert float(metric(x, y)) == pytest.approx(reference(x, y), abs=1e-12)
        weights = generator.multinomial(N_ROWS, np.full(N_ROWS, 1 / N_ROWS), size=4)
        expected = [reference(np.repeat(x, times), np.repeat(y, times)) for times in weights]
        np.testing.assert_allclose(metric(x, y, weights=weights), expected, atol=1e-12)
