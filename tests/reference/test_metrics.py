"""The metrics against scikit-learn and scipy, on samples whose rows are really repeated."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from lalia.measures import metrics as ours
from lalia.measures.weighted import SpeakerWeights

N_ROWS, N_LEVELS = 30, 5


def qwk_reference(truth, predicted):
    return sk.cohen_kappa_score(truth, predicted, labels=list(range(N_LEVELS)), weights="quadratic")


def kappa_reference(truth, predicted):
    return sk.cohen_kappa_score(truth, predicted, labels=list(range(N_LEVELS)), weights="linear")


def highest_sensitivity(truth, scores):
    false_alarms, sensitivity, _ = sk.roc_curve(truth, scores, drop_intermediate=False)
    return sensitivity[false_alarms <= 0.1 + 1e-9].max()


def macro_mae_reference(truth, scores):
    return np.mean(
        [sk.mean_absolute_error(truth[truth == level], scores[truth == level]) for level in np.unique(truth)]
    )


def ccc_reference(x, y):
    return 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def icc_reference(x, y):
    """ICC(A,1) from the mean squares of a two-way analysis of variance."""
    table = np.column_stack([x, y]).astype(float)
    n, k = table.shape
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    msr = k * ((rows - table.mean()) ** 2).sum() / (n - 1)
    msc = n * ((columns - table.mean()) ** 2).sum() / (k - 1)
    residual = table - rows[:, np.newaxis] - columns + table.mean()
    mse = (residual**2).sum() / ((n - 1) * (k - 1))
    return (msr - mse) / (msr + (k - 1) * mse + k * (msc - mse) / n)


def regression_reference(truth, probability):
    """Slope by scikit-learn, without a penalty."""
    given = logit(probability)[:, np.newaxis]
    return LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(given, truth).coef_[0, 0]


def offset_reference(truth, probability):
    return brentq(lambda shift: expit(logit(probability) + shift).sum() - truth.sum(), -20, 20, xtol=1e-12)


def calibration_error_reference(truth, probability):
    which = np.minimum((probability * 10).astype(int), 9)
    gaps = [(which == at).mean() * abs((probability - truth)[which == at].mean()) for at in np.unique(which)]
    return sum(gaps)


def net_benefit_reference(truth, called):
    """At a threshold of 0.2, from the counts of a confusion matrix."""
    _, false_alarms, _, hits = sk.confusion_matrix(truth, called, labels=[False, True]).ravel()
    return hits / truth.size - false_alarms / truth.size * 0.2 / 0.8


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
    "positive_predictive_value": (ours.positive_predictive_value, sk.precision_score, "flag", "flag"),
    "negative_predictive_value": (
        ours.negative_predictive_value,
        lambda t, p: sk.precision_score(~t, ~p),
        "flag",
        "flag",
    ),
    "f1": (ours.f1, sk.f1_score, "flag", "flag"),
    "sensitivity_at_specificity": (ours.sensitivity_at_specificity, highest_sensitivity, "flag", "tied"),
    "kendall": (ours.kendall, lambda x, y: stats.kendalltau(x, y).statistic, "level", "tied"),
    "kendall without ties": (ours.kendall, lambda x, y: stats.kendalltau(x, y).statistic, "level", "number"),
    "ccc": (ours.ccc, ccc_reference, "level", "number"),
    "icc": (ours.icc_of_two, icc_reference, "level", "number"),
    "bias": (ours.bias, lambda x, y: np.mean(y - x), "level", "number"),
    "lower_limit": (
        ours.lower_limit,
        lambda x, y: np.mean(y - x) - 1.96 * np.std(y - x, ddof=1),
        "level",
        "number",
    ),
    "upper_limit": (
        ours.upper_limit,
        lambda x, y: np.mean(y - x) + 1.96 * np.std(y - x, ddof=1),
        "level",
        "number",
    ),
    "macro_mae": (
        lambda x, y, weights=None: ours.macro_mae(x, y, x, weights),
        macro_mae_reference,
        "level",
        "number",
    ),
    "net_benefit": (
        lambda t, p, weights=None: ours.net_benefit(t, p, 0.2, weights),
        net_benefit_reference,
        "flag",
        "flag",
    ),
    "brier": (ours.brier_score, sk.brier_score_loss, "flag", "probability"),
    "calibration_error": (ours.calibration_error, calibration_error_reference, "flag", "probability"),
    "calibration_slope": (ours.calibration_slope, regression_reference, "flag", "probability"),
    "calibration_intercept": (ours.calibration_intercept, offset_reference, "flag", "probability"),
    "linear_kappa": (
        lambda t, p, weights=None: ours.linear_kappa(t, p, N_LEVELS, weights),
        kappa_reference,
        "level",
        "level",
    ),
    "exact_agreement": (ours.exact_agreement, sk.accuracy_score, "level", "level"),
    "within_one": (ours.within_one, lambda t, p: np.mean(np.abs(t - p) <= 1), "level", "level"),
    "qwk": (lambda t, p, weights=None: ours.qwk(t, p, N_LEVELS, weights), qwk_reference, "level", "level"),
}


def draw(kind: str, generator: np.random.Generator) -> np.ndarray:
    if kind == "flag":
        return generator.random(N_ROWS) < 0.4
    if kind == "level":
        return generator.integers(0, N_LEVELS - 1, N_ROWS)  # the top level is never used
    if kind == "probability":
        return generator.uniform(0.02, 0.98, N_ROWS)
    return generator.normal(size=N_ROWS) if kind == "number" else generator.integers(0, 6, N_ROWS) / 7


@pytest.mark.parametrize("name", PAIRS)
def test_a_metric_equals_the_reference_and_under_weights_that_of_the_repeated_sample(name):
    metric, reference, first, second = PAIRS[name]
    generator = np.random.default_rng(7)
    for _ in range(10):
        x, y = draw(first, generator), draw(second, generator)
        # scikit-learn's solver stops at a gradient that is merely small
        exact = 1e-4 if name == "calibration_slope" else 1e-9 if name == "calibration_intercept" else 1e-12
        assert float(metric(x, y)) == pytest.approx(reference(x, y), abs=exact)
        weights = generator.multinomial(N_ROWS, np.full(N_ROWS, 1 / N_ROWS), size=4)
        expected = [reference(np.repeat(x, times), np.repeat(y, times)) for times in weights]
        np.testing.assert_allclose(metric(x, y, weights=weights), expected, atol=exact)


@pytest.mark.parametrize("name", PAIRS)
def test_a_metric_under_weights_of_speakers_is_that_under_weights_of_their_rows(name):
    metric, _, first, second = PAIRS[name]
    generator = np.random.default_rng(8)
    x, y = draw(first, generator), draw(second, generator)
    speaker = generator.integers(0, 12, N_ROWS)
    weights = SpeakerWeights(generator.multinomial(12, np.full(12, 1 / 12), size=50), speaker)
    np.testing.assert_allclose(metric(x, y, weights=weights), metric(x, y, weights=np.asarray(weights)), atol=1e-9)
