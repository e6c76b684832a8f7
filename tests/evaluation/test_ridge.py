"""Ridge regressions from one decomposition: the same as scikit-learn's, one fit at a time."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from lalia.evaluation import left_out as left_out_module
from lalia.evaluation.left_out import fill_left_out
from lalia.evaluation.ridge import decompose
from lalia.evaluation.ridge_fit import fit_ridge

PENALTIES = (1.0, 100.0, 10_000.0)


def make_data(rows=60, width=7, targets=3, seed=0):
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, width)) + 3
    values = features[:, :1] * np.arange(1, targets + 1) + random.normal(size=(rows, targets))
    return features, values, np.arange(rows) % 4


def fit_one_by_one(features, target, folds, penalty):
    rated = ~np.isnan(target)
    model = SklearnRidge(alpha=penalty).fit(features[rated], target[rated])
    held_out = cross_val_predict(
        SklearnRidge(alpha=penalty), features[rated], target[rated], cv=PredefinedSplit(folds[rated])
    )
    return model, held_out, rated


@pytest.mark.parametrize(("rows", "width"), [(60, 7), (20, 50)], ids=["tall", "wide"])
def test_a_fit_equals_scikit_learns_with_the_same_penalty(rows, width):
    features, targets, _ = make_data(rows, width)
    weights, intercepts = decompose(features).fit(targets, np.array([0.5, 2.0, 30.0]))
    for column, penalty in enumerate((0.5, 2.0, 30.0)):
        expected = SklearnRidge(alpha=penalty).fit(features, targets[:, column])
        np.testing.assert_allclose(weights[:, column], expected.coef_, atol=1e-9)
        assert intercepts[column] == pytest.approx(expected.intercept_)


def test_predictions_on_left_out_rows_are_those_of_a_fit_without_them():
    features, targets, _ = make_data()
    left_out = np.array([3, 4, 40])
    folds = np.isin(np.arange(len(features)), left_out).astype(int)
    predicted = fill_left_out(decompose(features), targets, folds, np.array([5.0]))[0, 1, left_out]
    model = SklearnRidge(alpha=5.0).fit(np.delete(features, left_out, 0), np.delete(targets, left_out, 0))
    np.testing.assert_allclose(predicted, model.predict(features[left_out]), atol=1e-9)


@pytest.mark.parametrize("missing", ["none", "same", "some", "most"])
@pytest.mark.parametrize(("rows", "width"), [(60, 7), (40, 50), (90, 2)], ids=["tall", "wide", "narrow"])
def test_penalties_weights_and_held_out_predictions_equal_a_search_with_scikit_learn(missing, rows, width):
    features, targets, folds = make_data(rows, width)
    random = np.random.default_rng(1)
    if missing == "same":
        targets[random.random(rows) < 0.1] = np.nan
    elif missing != "none":
        targets[random.random(targets.shape) < {"some": 0.1, "most": 0.6}[missing]] = np.nan
    fit = fit_ridge(features, targets, folds, PENALTIES)
    for column, target in enumerate(targets.T):
        searched = [fit_one_by_one(features, target, folds, penalty) for penalty in PENALTIES]
        rated = searched[0][2]
        losses = [np.square(held_out - target[rated]).mean() for _, held_out, _ in searched]
        best = int(np.argmin(losses))
        model, held_out, _ = searched[best]
        assert fit.penalties[column] == PENALTIES[best]
        assert fit.losses[column] == pytest.approx(losses[best])
        np.testing.assert_allclose(fit.held_out[rated, column], held_out, atol=1e-8)
        assert np.isnan(fit.held_out[~rated, column]).all()
        np.testing.assert_allclose(fit.weights[:, column], model.coef_, atol=1e-8)
        np.testing.assert_allclose(fit.predict(features)[:, column], model.predict(features), atol=1e-8)


@pytest.mark.parametrize(("rows", "width"), [(60, 7), (40, 50)], ids=["tall", "wide"])
def test_targets_that_lack_few_rows_many_rows_and_the_same_rows_are_filled_together(rows, width, monkeypatch):
    """Every regression without a fold, and the one with all folds, is scikit-learn's on the rated rows."""
    features, targets, folds = make_data(rows, width, targets=6)
    random = np.random.default_rng(2)
    for column, share in enumerate((0, 0.02, 0.1, 0.3, 0.45)):
        targets[random.permutation(rows)[: round(share * rows)], column] = np.nan
    targets[np.isnan(targets[:, 2]), 5] = np.nan
    penalties = np.array(PENALTIES)
    ridge = decompose(features)
    filled = fill_left_out(ridge, targets, folds, penalties)
    for place, penalty in enumerate(penalties):
        for fold in range(5):
            for column, target in enumerate(targets.T):
                is_seen = ~np.isnan(target) & (folds != fold)
                model = SklearnRidge(alpha=penalty).fit(features[is_seen], target[is_seen])
                expected = np.where(is_seen, target, model.predict(features))
                np.testing.assert_allclose(filled[place, fold, :, column], expected, atol=1e-8)
    monkeypatch.setattr(left_out_module, "_CHUNK_NUMBERS", 1)
    np.testing.assert_allclose(fill_left_out(ridge, targets, folds, penalties), filled, atol=1e-12)


def test_rows_that_are_very_many_get_a_decomposition_for_each_pattern_and_the_same_fit(monkeypatch):
    features, targets, folds = make_data()
    targets[:5, 0] = np.nan
    together = fit_ridge(features, targets, folds, PENALTIES)
    monkeypatch.setattr("lalia.evaluation.ridge_fit._MOST_SHARED_ROWS", 10)
    apart = fit_ridge(features, targets, folds, PENALTIES)
    for name in ("weights", "intercepts", "held_out", "penalties", "losses", "inner_weights", "inner_intercepts"):
        np.testing.assert_allclose(getattr(apart, name), getattr(together, name), atol=1e-8)


def test_inner_weights_give_the_held_out_predictions():
    features, targets, folds = make_data()
    targets[:5, 0] = np.nan
    fit = fit_ridge(features, targets, folds, PENALTIES)
    again = np.einsum("rw,rwt->rt", features, fit.inner_weights[folds]) + fit.inner_intercepts[folds]
    np.testing.assert_allclose(np.where(np.isnan(targets), np.nan, again), fit.held_out, atol=1e-8)


def test_a_target_that_only_one_fold_has_is_nan_and_the_others_are_not():
    features, targets, folds = make_data()
    targets[folds != 0, 1] = np.nan
    fit = fit_ridge(features, targets, folds, PENALTIES)
    assert np.isnan(fit.weights).all(axis=0).tolist() == [False, True, False]
    assert np.isnan(fit.held_out).all(axis=0).tolist() == [False, True, False]


def test_constant_features_predict_the_mean():
    features, targets, folds = make_data()
    fit = fit_ridge(np.ones_like(features), targets, folds, PENALTIES)
    np.testing.assert_allclose(fit.predict(np.ones((1, 7)))[0], targets.mean(axis=0))
