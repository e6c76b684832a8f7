"""The probe of depths: it finds what was planted, finds nothing where nothing is, and never mixes speakers."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.preprocessing import StandardScaler

from lalia.data.table import Flow, RecordingTable
from lalia.errors import SplitError
from lalia.evaluation.calibrate import calibrate
from lalia.evaluation.mix import learn_mix
from lalia.evaluation.probe import INNER_FOLDS, PROBE_METRICS, deal_speakers, probe_vectors
from lalia.evaluation.probe_folds import PENALTIES
from lalia.measures.metrics import METRICS, judge
from lalia.measures.uncertainty import interval, speaker_weights
from lalia.scale import Scale

SCALE = Scale((1.0, 2.0, 3.0, 4.0), present_from=2.0)
TRAITS = ["breathy", "slow"]


def make_planted(speakers=60, each=4, depths=5, width=8, carries=(3, 1), strength=2.0, seed=0):
    """Vectors of noise in which each trait stands in one depth."""
    random = np.random.default_rng(seed)
    count = speakers * each
    speaker = np.repeat(np.arange(speakers), each)
    latent = random.normal(size=(speakers, 2))[speaker] + 0.3 * random.normal(size=(count, 2))
    ratings = 1.0 + np.digitize(latent, [-0.3, 0.5, 1.2])
    vectors = random.normal(size=(count, depths, width)) + random.normal(size=(speakers, depths, width))[speaker]
    for trait, depth in enumerate(carries):
        vectors[:, depth, trait] += strength * latent[:, trait]
    recordings = pd.DataFrame(
        {"recording": [f"r{row:03d}" for row in range(count)], "speaker": [f"s{number:03d}" for number in speaker]}
    )
    table = RecordingTable(recordings, pd.DataFrame(ratings, columns=TRAITS), pd.DataFrame(), SCALE, Flow(0, 0))
    table = RecordingTable(
        recordings,
        table.ratings,
        pd.DataFrame({"recording": [], "rater": [], "trait": [], "rating": []}),
        SCALE,
        Flow(count, speakers),
    )
    return vectors.astype(np.float32), table


def with_ratings(table, ratings):
    return RecordingTable(table.recordings, ratings, table.rater_ratings, table.scale, table.flow)


@pytest.fixture(scope="module")
def planted():
    return make_planted()


@pytest.fixture(scope="module")
def result(planted):
    vectors, table = planted
    return probe_vectors(vectors, range(5), table, replicates=200)


def value(result, depth, trait, metric="auc"):
    return result.estimates[str(depth)][trait][metric].value


def test_the_depth_that_carries_a_trait_is_found(result):
    for trait, depth in (("breathy", 3), ("slow", 1)):
        found = {number: value(result, number, trait) for number in range(5)}
        assert max(found, key=found.get) == depth
        assert found[depth] > 0.85
        assert result.best[trait] == {"severity": [depth] * 5, "presence": [depth] * 5}


def test_best_takes_each_trait_from_its_own_depth(result):
    for metric in PROBE_METRICS:
        assert value(result, "best", "breathy", metric) == value(result, 3, "breathy", metric)
        assert value(result, "best", "slow", metric) == value(result, 1, "slow", metric)


def test_the_last_depth_stands_for_last_where_there_is_no_other(result):
    assert value(result, "last", "slow") == value(result, 4, "slow")


def test_the_learned_sum_leans_on_the_depths_that_carry_a_trait(result):
    assert result.weights.shape == (5, 5)
    np.testing.assert_allclose(result.weights.sum(axis=1), 1)
    assert (result.weights[:, [1, 3]].sum(axis=1) > 0.7).all()
    assert value(result, "weighted", "macro") > value(result, "last", "macro") + 0.2


def test_best_minus_last_has_its_own_interval(result):
    found = result.estimates["best minus last"]["macro"]["auc"]
    assert found.value == pytest.approx(value(result, "best", "macro") - value(result, "last", "macro"))
    assert found.to_json()["low"] > 0.1


def test_levels_and_scores_agree_with_the_ratings_where_the_trait_is(result):
    assert value(result, 3, "breathy", "spearman") > 0.7
    assert value(result, 3, "breathy", "qwk") > 0.6
    assert value(result, 3, "breathy", "balanced_accuracy") > 0.75


def test_permuted_ratings_give_chance(planted):
    vectors, table = planted
    values = {name: [] for name in ("3", "best", "weighted")}
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(table.speakers)
        shuffled = table.ratings.to_numpy().reshape(table.speakers, -1, 2)[order].reshape(-1, 2)
        permuted = with_ratings(table, pd.DataFrame(shuffled, columns=TRAITS))
        found = probe_vectors(vectors, range(5), permuted, replicates=10, seed=seed)
        for name, each in values.items():
            each.append([value(found, name, "macro", metric) for metric in PROBE_METRICS])
    for each in values.values():
        np.testing.assert_allclose(np.mean(each, axis=0), [0.5, 0.5, 0, 0], atol=0.08)


def test_no_fold_shares_a_speaker_and_every_fold_has_some(planted):
    _, table = planted
    fold_of = deal_speakers(table, 5, np.random.default_rng(0))
    folds_of_speaker = pd.Series(fold_of).groupby(table.recordings["speaker"]).nunique()
    assert (folds_of_speaker == 1).all()
    assert set(fold_of) == set(range(5))


def test_ratings_of_the_test_fold_do_not_reach_its_scores(planted):
    """With every rating of a fold replaced, the weights learned without that fold stay the same."""
    vectors, table = planted
    fold_of = deal_speakers(table, 5, np.random.default_rng([0, 0]))
    before = probe_vectors(vectors, range(5), table, replicates=2)
    ratings = table.ratings.copy()
    # the same levels for the same speakers, so that the folds are dealt alike
    for rows in table.recordings[fold_of == 2].groupby("speaker").groups.values():
        ratings.loc[rows] = ratings.loc[rows].to_numpy()[::-1]
    after = probe_vectors(vectors, range(5), with_ratings(table, ratings), replicates=2)
    np.testing.assert_array_equal(before.weights[2], after.weights[2])
    assert (before.weights[3] != after.weights[3]).any()


def test_missing_ratings_are_left_out_of_fit_and_metric(planted):
    vectors, table = planted
    ratings = table.ratings.copy()
    ratings.iloc[::3, 0] = np.nan
    found = probe_vectors(vectors, range(5), with_ratings(table, ratings), replicates=10)
    assert found.estimates["3"]["breathy"]["auc"].n == ratings["breathy"].notna().sum()
    assert found.estimates["3"]["slow"]["auc"].n == 240
    assert value(found, 3, "breathy") > 0.85


def test_a_trait_that_nobody_has_is_undefined_with_its_reason(planted):
    vectors, table = planted
    found = probe_vectors(vectors, range(5), with_ratings(table, table.ratings.assign(slow=1.0)), replicates=10)
    described = found.to_json()["depths"]["3"]["slow"]["auc"]
    assert described["value"] is None
    assert described["reason"].startswith("in every fold: only one class among the")
    assert value(found, 3, "macro") == value(found, 3, "breathy")


def test_a_trait_that_is_not_rated_at_all_is_undefined(planted):
    vectors, table = planted
    found = probe_vectors(vectors, range(5), with_ratings(table, table.ratings.assign(slow=np.nan)), replicates=10)
    assert found.to_json()["depths"]["best"]["slow"]["qwk"]["reason"] == "in every fold: no rated recordings"


def test_the_same_seed_gives_the_same_result(planted, result):
    vectors, table = planted
    again = probe_vectors(vectors, range(5), table, replicates=200)
    pd.testing.assert_frame_equal(again.table, result.table)


def test_the_table_has_a_row_per_depth_trait_and_metric_and_the_json_is_strict(result):
    table = result.table
    rows = ["0", "1", "2", "3", "4", "last", "best", "weighted", "best minus last", "weighted minus last"]
    assert list(table["depth"].unique()) == rows
    assert len(table) == len(rows) * 3 * 4
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).mean() > 0.9
    json.dumps(result.to_json(), allow_nan=False)


def test_fewer_speakers_than_folds_is_refused(planted):
    vectors, table = planted
    few = table.select(np.arange(240) < 16)
    with pytest.raises(SplitError, match=r"Too few speakers to probe: 4 for 5 folds\. Lower probe\.folds\."):
        probe_vectors(vectors[:16], range(5), few)


def test_learned_weights_are_equal_where_no_depth_says_more_than_another():
    random = np.random.default_rng(0)
    one = random.normal(size=(100, 1, 4)).astype(np.float32)
    vectors = np.repeat(one, 3, axis=1)
    targets = one[:, 0, :1] + random.normal(size=(100, 1))
    weights, _ = learn_mix(vectors, targets.astype(np.float64), np.arange(100) % 4, [1.0, 10.0])
    np.testing.assert_allclose(weights, 1 / 3, atol=1e-6)


def search(features, target, folds, test, penalties):
    """Choose the penalty of one target by hand; return left-out predictions, those of the test rows and the loss."""
    rated = ~np.isnan(target)
    best = (np.inf, None, None)
    for penalty in penalties:
        model, split = Ridge(alpha=penalty), PredefinedSplit(folds[rated])
        found = cross_val_predict(model, features[rated], target[rated], cv=split)
        loss = np.square(found - target[rated]).mean()
        if loss < best[0]:
            held_out = np.full(len(target), np.nan)
            held_out[rated] = found
            best = (loss, held_out, model.fit(features[rated], target[rated]).predict(test))
    return best


@pytest.mark.parametrize("width", [8, 300], ids=["tall", "wide"])
def test_metrics_intervals_and_chosen_depths_are_those_of_scikit_learn_one_fit_at_a_time(width):
    vectors, table = make_planted(depths=3, width=width, carries=(2, 1), strength=0.7)
    missing = np.random.default_rng(5).random((240, 2)) < [0.1, 0.6]
    table = with_ratings(table, table.ratings.mask(missing))
    result = probe_vectors(vectors, range(3), table, folds=3, replicates=100)

    fold_of = deal_speakers(table, 3, np.random.default_rng([0, 0]))
    draws = speaker_weights(list(table.recordings["speaker"]), 100, 0)
    ratings = table.ratings.to_numpy()
    values, losses = {}, np.empty((3, 3, 4))
    for fold in range(3):
        is_training = fold_of != fold
        inner = deal_speakers(table.select(is_training), INNER_FOLDS, np.random.default_rng([0, 1 + fold]))
        targets = np.concatenate([ratings, table.scale.is_present(ratings)], axis=1)[is_training]
        penalties = np.array(PENALTIES) * is_training.sum()
        for depth in range(3):
            scaler = StandardScaler().fit(vectors[is_training, depth].astype(float))
            features, test = (
                scaler.transform(vectors[rows, depth].astype(float)) for rows in (is_training, ~is_training)
            )
            found = [search(features, target, inner, test, penalties) for target in targets.T]
            losses[fold, depth] = [one[0] for one in found]
            for trait in range(2):
                pair = (found[trait], found[2 + trait])
                held_out, predicted = (np.stack([one[place] for one in pair], axis=1) for place in (1, 2))
                index = table.scale.level_index(ratings[is_training, trait])[:, np.newaxis]
                said = calibrate(held_out, predicted, index, table.scale)
                rated = ~np.isnan(ratings[~is_training, trait])
                judged = judge(
                    ratings[~is_training, trait][rated],
                    table.scale,
                    scores=said.score[rated, 0],
                    levels=said.level[rated, 0],
                    probability=said.probability[rated, 0],
                    threshold=float(said.threshold[0]),
                )
                for metric in METRICS:
                    weights = draws[:, np.flatnonzero(~is_training)[rated]]
                    both = metric.compute(judged), metric.compute(judged, weights)
                    values.setdefault((depth, trait, metric.name), []).append(both)
    for (depth, trait, metric), folds in values.items():
        if metric in PROBE_METRICS:
            estimate = result.estimates[str(depth)][table.traits[trait]][metric]
            assert estimate.value == pytest.approx(np.mean([value for value, _ in folds]), abs=1e-6)
            replicates = np.nanmean([replicates for _, replicates in folds], axis=0)
            np.testing.assert_allclose(interval(estimate.replicates), interval(replicates), atol=1e-6)
    best = losses.argmin(axis=1)
    for trait, name in enumerate(table.traits):
        assert result.best[name] == {"severity": best[:, trait].tolist(), "presence": best[:, 2 + trait].tolist()}
