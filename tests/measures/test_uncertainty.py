from math import erf, isnan

import numpy as np
import pytest
from scipy import stats

from lalia.measures.concordance import ccc
from lalia.measures.discrimination import auc
from lalia.measures.uncertainty import (
    bca_interval,
    degrees_of_freedom,
    expanded_interval,
    interval,
    leave_speakers_out,
    speaker_weights,
)
from lalia.measures.weighted import SpeakerWeights


def test_each_replicate_draws_as_many_speakers_as_there_are():
    weights = speaker_weights(["a", "b", "c", "d"], replicates=50, seed=1)
    assert weights.shape == (50, 4)
    assert (weights.sum(axis=1) == 4).all()
    assert weights.std() > 0


def test_recordings_of_one_speaker_are_drawn_together():
    weights = speaker_weights(["a", "b", "a"], replicates=50, seed=1)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])


def test_the_same_seed_draws_the_same_whatever_the_order_and_number_of_rows():
    weights = speaker_weights(["b", "a", "c"], replicates=20, seed=3)
    more = speaker_weights(["c", "a", "b", "a"], replicates=20, seed=3)
    np.testing.assert_array_equal(more, weights[:, [2, 1, 0, 1]])


def test_another_seed_draws_otherwise():
    speakers = ["a", "b", "c"]
    assert (speaker_weights(speakers, 20, seed=0) != speaker_weights(speakers, 20, seed=1)).any()


def test_a_single_speaker_gives_no_interval():
    weights = speaker_weights(["a", "a"], replicates=10, seed=0)
    assert isnan(interval(auc([0, 1], [0.1, 0.2], weights))[0])
    assert speaker_weights([], replicates=10, seed=0).shape == (10, 0)


def test_interval_takes_the_percentiles():
    assert interval(np.arange(1001), level=0.95) == pytest.approx((25, 975))


def test_interval_ignores_undefined_replicates():
    assert interval([1, 2, 3, float("nan")], level=0.5) == interval([1, 2, 3], level=0.5)


@pytest.mark.parametrize("values", [[], [float("nan")] * 3, [1, float("nan"), float("nan")]])
def test_interval_is_nan_if_most_replicates_are_undefined(values):
    assert [isnan(end) for end in interval(values)] == [True, True]


def test_bca_equals_scipys_on_the_same_replicates():
    sample = np.random.default_rng(0).exponential(size=30)
    found = stats.bootstrap((sample,), np.mean, n_resamples=999, method="BCa", rng=np.random.default_rng(1))
    without_one = leave_speakers_out(30) @ sample / 29
    assert bca_interval(sample.mean(), found.bootstrap_distribution, without_one) == pytest.approx(
        tuple(found.confidence_interval)
    )


def test_bca_of_unbiased_symmetric_replicates_is_the_percentile_interval():
    values = np.linspace(-1, 1, 2001)
    assert bca_interval(0.0, values, [-1, 1]) == pytest.approx(interval(values))


def test_bca_is_nan_without_replicates_or_speakers_or_with_all_replicates_on_one_side():
    for value, values, without_one in ((1, [], [1, 2]), (1, [0, 2], [1]), (1, [2, 3], [1, 2])):
        assert np.isnan(bca_interval(value, values, without_one)).all()


def test_bca_comes_nearer_to_the_truth_than_percentiles_where_replicates_are_skewed():
    # agreement near 1 is skewed: its percentiles reach too low
    generator = np.random.default_rng(0)
    speakers = [f"s{number}" for number in range(25)]
    truth, missed = 2 * 1 / (1 + 1.1), {"percentile": [0, 0], "bca": [0, 0]}
    for simulation in range(300):
        ratings = generator.normal(0, 1, 25)
        scores = ratings + generator.normal(0, np.sqrt(0.1), 25)
        replicates = ccc(ratings, scores, speaker_weights(speakers, 400, seed=simulation))
        without_one = ccc(ratings, scores, leave_speakers_out(25))
        ends = {
            "percentile": interval(replicates),
            "bca": bca_interval(float(ccc(ratings, scores)), replicates, without_one),
        }
        for name, (low, high) in ends.items():
            missed[name][0] += truth < low
            missed[name][1] += truth > high
    # a fair interval misses as often on either side
    assert abs(np.subtract(*missed["bca"])) < abs(np.subtract(*missed["percentile"]))


def test_speaker_intervals_cover_the_truth_and_recording_intervals_do_not():
    # 40 speakers with 25 recordings each; the trait is the speaker's, and speakers score apart more than recordings
    generator = np.random.default_rng(0)
    speakers = np.repeat([f"s{number}" for number in range(40)], 25)
    recordings = [f"r{number}" for number in range(1000)]
    shift, speaker_sd, recording_sd = 1.0, 1.0, 0.5
    truth = (1 + erf(shift / 2 / np.hypot(speaker_sd, recording_sd))) / 2
    by_speaker, by_bca, by_recording = [], [], []
    names, speaker = np.unique(speakers, return_inverse=True)
    for simulation in range(200):
        is_present = np.repeat(np.arange(40) % 2 == 0, 25)
        scores = shift * is_present + np.repeat(generator.normal(0, speaker_sd, 40), 25)
        scores += generator.normal(0, recording_sd, 1000)
        for units, covered in ((speakers, by_speaker), (recordings, by_recording)):
            low, high = interval(auc(is_present, scores, speaker_weights(units, 400, seed=simulation)))
            covered.append(low <= truth <= high)
        replicates = auc(is_present, scores, SpeakerWeights(speaker_weights(names, 400, seed=simulation), speaker))
        without_one = auc(is_present, scores, SpeakerWeights(leave_speakers_out(40), speaker))
        low, high = bca_interval(float(auc(is_present, scores)), replicates, without_one)
        by_bca.append(low <= truth <= high)
    assert 0.92 <= np.mean(by_speaker) <= 0.98
    assert 0.92 <= np.mean(by_bca) <= 0.98
    assert np.mean(by_recording) < 0.60


def cover_no_difference(n_present, n_absent, simulations):
    """Return how often intervals of two equally good scorings' AUC difference hold 0: percentile and expanded."""
    generator = np.random.default_rng(0)
    n = n_present + n_absent
    speaker = np.repeat(np.arange(n), 5)
    has_trait = np.arange(n) < n_present
    is_present = has_trait[speaker]
    left_out = SpeakerWeights(leave_speakers_out(n), speaker)
    covered = []
    for simulation in range(simulations):
        shared = generator.normal(0, 0.7, n)
        own = generator.normal(0, 0.7, (2, n))
        first, second = (is_present + (shared + one)[speaker] + generator.normal(0, 0.6, len(speaker)) for one in own)
        drawn = SpeakerWeights(speaker_weights([f"s{number:03d}" for number in range(n)], 800, simulation), speaker)
        replicates, without_one = (auc(is_present, second, w) - auc(is_present, first, w) for w in (drawn, left_out))
        ends = interval(replicates), expanded_interval(replicates, degrees_of_freedom(without_one, has_trait))
        covered.append([low <= 0 <= high for low, high in ends])
    return np.mean(covered, axis=0)


def test_expanded_intervals_of_a_difference_hold_0_more_often_where_three_speakers_have_the_trait():
    percentile, expanded = cover_no_difference(3, 17, simulations=150)
    assert percentile < 0.91 < expanded


@pytest.mark.slow
@pytest.mark.parametrize(("n_present", "n_absent"), [(3, 17), (5, 5), (5, 15), (10, 10), (10, 30), (20, 20), (40, 40)])
def test_expanded_intervals_of_a_difference_hold_0_from_three_speakers_to_many(n_present, n_absent):
    _, expanded = cover_no_difference(n_present, n_absent, simulations=1500)
    assert 0.915 <= expanded <= 0.98


def test_a_number_that_rests_on_one_speaker_has_no_degrees_of_freedom_and_no_interval():
    assert isnan(degrees_of_freedom([0.5, float("nan"), 0.6], [0, 1, 0]))
    assert np.isnan(expanded_interval([0.1, 0.2, 0.3], float("nan"))).all()


def test_degrees_of_freedom_of_one_group_are_its_speakers_less_one():
    assert degrees_of_freedom([0.1, 0.4, 0.2, 0.9], [1, 1, 1, 1]) == pytest.approx(3)


def test_percentiles_are_those_of_numpy():
    values = np.random.default_rng(0).normal(size=1001)
    assert interval(values, 0.9) == pytest.approx(tuple(np.quantile(values, [0.05, 0.95])), abs=1e-12)
    assert interval([2.0], 0.9) == (2.0, 2.0)
