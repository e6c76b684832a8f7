"""What probes learn from some of the speakers."""

import numpy as np
import pytest

from lalia.evaluation.audit.confounds import probe_each
from lalia.evaluation.audit.learning_curve import MOST_COLUMNS, compress, learning_curve
from toy_audit import make_table


def vectors_of(table, strength, width=40, seed=0):
    random = np.random.default_rng(seed)
    severity = table.ratings["slow"].to_numpy()[:, np.newaxis] - 2.5
    return random.normal(size=(len(severity), width)) + strength * severity * random.normal(size=width) / width**0.5


def test_more_speakers_bring_more_where_there_is_something_to_learn():
    table = make_table(speakers=100, per_speaker=1)
    curve = learning_curve(vectors_of(table, 1.0), table, replicates=50)
    values = [tree["slow"]["auc"].value for tree in curve.values()]
    assert list(curve) == [10, 20, 40, 60, 80]
    assert values[-1] > values[0] + 0.05
    assert values[-1] > 0.7


def test_all_training_speakers_give_what_a_probe_gives():
    table = make_table(speakers=40, per_speaker=2)
    vectors = vectors_of(table, 1.0)
    curve = learning_curve(vectors, table, replicates=20)
    whole = probe_each({"vectors": vectors}, table, replicates=20)["vectors"]
    # the same outer folds and speakers; the inner folds, which choose the penalty, are dealt anew
    assert curve[32]["slow"]["auc"].value == pytest.approx(whole["slow"]["auc"].value, abs=0.03)


def test_noise_teaches_nothing_however_many_speakers():
    table = make_table(speakers=60, per_speaker=2)
    values = [tree["slow"]["auc"].value for tree in learning_curve(vectors_of(table, 0), table, replicates=10).values()]
    assert np.mean(values) == pytest.approx(0.5, abs=0.08)


def test_the_curve_is_the_same_every_time():
    table = make_table(speakers=30)
    first, second = (learning_curve(vectors_of(table, 1.0), table, replicates=10) for _ in range(2))
    assert first[24]["hoarse"]["qwk"].to_json() == second[24]["hoarse"]["qwk"].to_json()


def test_few_speakers_have_no_curve():
    table = make_table(speakers=12)
    assert learning_curve(vectors_of(table, 1.0), table) == {}


def test_wide_vectors_are_compressed_without_a_loss_where_few_directions_hold_them():
    random = np.random.default_rng(0)
    wide = random.normal(size=(60, 20)) @ random.normal(size=(20, 300))
    standard = (wide - wide.mean(axis=0)) / wide.std(axis=0)
    found = compress(wide)
    assert found.shape == (60, MOST_COLUMNS)
    np.testing.assert_allclose(found @ found.T, standard @ standard.T, atol=1e-8)
    # no column is much smaller than the others, so that standardising them again changes little
    assert found.std(axis=0).max() < 3 * found.std(axis=0).min()


def test_narrow_vectors_stay_as_they_are():
    vectors = np.random.default_rng(0).normal(size=(5, MOST_COLUMNS))
    np.testing.assert_array_equal(compress(vectors), vectors)
