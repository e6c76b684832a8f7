import numpy as np
import pytest

from lalia.measures.metrics import RATER_METRICS
from lalia.measures.raters import krippendorff_alpha, leave_one_out_agreement, pairwise_agreement
from lalia.scale import Scale

SCALE = Scale((1, 2, 3, 4), present_from=2)
NAN = float("nan")

# Krippendorff 2011, example C: four observers, twelve units
EXAMPLE_C = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.7434), ("ordinal", 0.8154), ("interval", 0.8491), ("ratio", 0.7974)]
)
def test_alpha_gives_the_published_values(level, published):
    assert krippendorff_alpha(EXAMPLE_C, level) == pytest.approx(published, abs=5e-5)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval", "ratio"])
def test_alpha_under_weights_is_that_of_the_repeated_recordings(level):
    drawn = np.random.default_rng(0).integers(0, 4, (6, 12))
    expected = [krippendorff_alpha(np.repeat(EXAMPLE_C, times, axis=0), level) for times in drawn]
    np.testing.assert_allclose(krippendorff_alpha(EXAMPLE_C, level, weights=drawn), expected)


def test_alpha_leaves_out_recordings_with_one_rating():
    assert krippendorff_alpha([[1, 1], [2, 2], [4, 3]]) == krippendorff_alpha([[1, 1], [2, 2], [4, 3], [9, NAN]])


def test_alpha_of_two_raters_who_always_agree_is_1():
    assert krippendorff_alpha([[1, 1], [3, 3]]) == 1


@pytest.mark.parametrize("ratings", [[[2, 2], [2, 2]], [[1, NAN], [NAN, 2]], np.empty((0, 2))])
def test_alpha_is_nan_where_nothing_could_disagree(ratings):
    assert np.isnan(krippendorff_alpha(ratings))


def test_alpha_refuses_negative_ratings_on_a_ratio_scale():
    with pytest.raises(ValueError, match="must be 0 or more, got -1"):
        krippendorff_alpha([[-1, 2]], "ratio")


def test_pairs_are_averaged_over_the_recordings_they_share():
    # |a - b|: 0, 1, 2 -> 1; |a - c|: 3 -> 3; b and c share nothing
    agreement = pairwise_agreement([[1, 1, NAN], [2, 3, NAN], [3, 1, NAN], [1, NAN, 4]], SCALE)["mae"]
    assert agreement.value == 2
    assert (agreement.comparisons, agreement.recordings, agreement.reason) == (2, 4, None)


def test_auc_of_a_pair_is_the_mean_of_both_directions():
    # presence by the first: 1 and 2 against 1 -> 0.75; by the second: 3 against 1 and 2 -> 1
    assert pairwise_agreement([[1, 1], [2, 1], [3, 2]], SCALE)["auc"].value == 0.875


def test_a_metric_counts_only_the_pairs_in_which_it_is_defined():
    # the third rater gives no order
    agreement = pairwise_agreement([[1, 1, 1], [2, 3, 1], [3, 4, 1]], SCALE)
    assert (agreement["spearman"].comparisons, agreement["mae"].comparisons) == (1, 3)
    assert agreement["spearman"].value == 1


def test_a_metric_undefined_in_every_pair_says_why():
    agreement = pairwise_agreement([[2, 2], [3, 3], [4, 2]], SCALE)["auc"]
    assert np.isnan(agreement.value)
    assert (agreement.comparisons, agreement.recordings) == (0, 0)
    assert agreement.reason == "only one class among the 3 rated recordings"


@pytest.mark.parametrize("agreement", [pairwise_agreement, leave_one_out_agreement])
def test_raters_who_share_no_recording_have_no_agreement(agreement):
    found = agreement([[1, NAN], [NAN, 2]], SCALE, weights=np.ones((3, 2)))
    assert set(found) == {metric.name for metric in RATER_METRICS}
    assert {result.reason for result in found.values()} == {"no two raters rated the same recording"}
    np.testing.assert_array_equal(found["mae"].value, np.full(3, np.nan))


def test_each_rater_is_held_against_the_median_of_the_others():
    # medians of the others: 2.5, 2, 1.5 for the first row; 4 throughout for the second
    agreement = leave_one_out_agreement([[1, 2, 3], [4, 4, 4]], SCALE)["mae"]
    assert agreement.value == pytest.approx((1.5 + 0 + 1.5) / 2 / 3)
    assert (agreement.comparisons, agreement.recordings) == (3, 2)


def test_identical_raters_reach_the_ceiling_of_every_metric():
    errors, target = ("mae", "macro_mae", "bias", "lower_limit", "upper_limit"), {"prevalence": 0.6}
    column = np.array([1, 2, 3, 4, 1])
    for agreement in (pairwise_agreement, leave_one_out_agreement):
        for name, result in agreement(np.column_stack([column] * 3), SCALE).items():
            assert result.value == pytest.approx(0 if name in errors else target.get(name, 1)), name


@pytest.mark.parametrize("agreement", [pairwise_agreement, leave_one_out_agreement])
def test_agreement_under_weights_is_that_of_the_repeated_recordings(agreement):
    generator = np.random.default_rng(0)
    ratings = generator.integers(1, 5, (20, 3)).astype(float)
    ratings[generator.random(ratings.shape) < 0.2] = NAN
    drawn = generator.integers(1, 4, (2, 3, 20))
    found = agreement(ratings, SCALE, weights=drawn)
    for place in np.ndindex(2, 3):
        repeated = agreement(np.repeat(ratings, drawn[place], axis=0), SCALE)
        for name in found:
            assert found[name].value[place] == pytest.approx(float(repeated[name].value)), name


def test_ratings_that_are_no_matrix_are_refused():
    with pytest.raises(ValueError, match=r"shape \(recordings, raters\)"):
        pairwise_agreement([1, 2, 3], SCALE)
