from math import erf, isnan

import numpy as np
import pytest

from lalia.measures.discrimination import auc
from lalia.measures.uncertainty import interval, speaker_weights


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


def test_speaker_intervals_cover_the_truth_and_recording_intervals_do_not():
    # 40 speakers with 25 recordings each; the trait is the speaker's, and speakers score apart more than recordings
    generator = np.random.default_rng(0)
    speakers = np.repeat([f"s{number}" for number in range(40)], 25)
    recordings = [f"r{number}" for number in range(1000)]
    shift, speaker_sd, recording_sd = 1.0, 1.0, 0.5
    truth = (1 + erf(shift / 2 / np.hypot(speaker_sd, recording_sd))) / 2
    by_speaker, by_recording = [], []
    for simulation in range(200):
        is_present = np.repeat(np.arange(40) % 2 == 0, 25)
        scores = shift * is_present + np.repeat(generator.normal(0, speaker_sd, 40), 25)
        scores += generator.normal(0, recording_sd, 1000)
        for units, covered in ((speakers, by_speaker), (recordings, by_recording)):
            low, high = interval(auc(is_present, scores, speaker_weights(units, 300, seed=simulation)))
            covered.append(low <= truth <= high)
    assert 0.90 <= np.mean(by_speaker) <= 0.99
    assert np.mean(by_recording) < 0.60
