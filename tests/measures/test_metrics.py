import numpy as np
import pytest

from lalia.measures.metrics import ALL_METRICS, METRICS, Judged, Metric
from lalia.scale import Scale

SCALE = Scale((1, 2, 3, 4), present_from=2)
BY_NAME = {metric.name: metric for metric in ALL_METRICS}


def judged(ratings, scores, threshold=0.5, unit="recording") -> Judged:
    scores = np.asarray(scores, dtype=float)
    probability = scores / 4
    return Judged(
        ratings=np.asarray(ratings, dtype=float),
        level_index=SCALE.level_index(ratings),
        is_present=SCALE.is_present(ratings) == 1,
        n_levels=4,
        scores=scores,
        probability=probability,
        predicted_index=SCALE.level_index(scores),
        is_called=probability >= threshold,
        threshold=threshold,
        unit=unit,
    )


def reasons(rows: Judged) -> dict[str, str]:
    found = {metric.name: metric.reason(rows) for metric in ALL_METRICS}
    return {name: reason for name, reason in found.items() if reason is not None}


def test_the_table_names_the_metrics_in_the_order_of_a_report():
    assert " ".join(metric.name for metric in METRICS) == (
        "auc average_precision balanced_accuracy accuracy sensitivity specificity spearman pearson mae qwk"
    )
    assert ALL_METRICS[: len(METRICS)] == METRICS
    assert len({metric.name for metric in ALL_METRICS}) == len(ALL_METRICS)
    assert [metric.name for metric in ALL_METRICS if metric.better == "lower"] == [
        "mae",
        "macro_mae",
        "brier",
        "calibration_error",
    ]


def test_every_metric_is_defined_on_ordinary_rows():
    rows = judged([1, 2, 3, 4, 1], [1.2, 2.6, 3.1, 3.9, 2.0])
    assert reasons(rows) == {
        "calibration_slope": "a cut on the probability parts the classes of the 5 rated recordings"
    }
    assert reasons(judged([1, 2, 3, 4, 1], [1.2, 1.6, 3.1, 3.9, 2.0])) == {}
    values = {metric.name: float(metric.compute(rows)) for metric in ALL_METRICS}
    assert values["auc"] == 1
    assert values["specificity"] == 0.5
    assert values["mae"] == pytest.approx(0.4)


def test_one_class_leaves_these_metrics_undefined_with_its_count():
    assert reasons(judged([2] * 11 + [3], range(12))) == {
        **dict.fromkeys(
            (
                "auc",
                "average_precision",
                "balanced_accuracy",
                "sensitivity_at_90_specificity",
                "calibration_intercept",
                "calibration_slope",
            ),
            "only one class among the 12 rated recordings",
        ),
        "specificity": "the trait is present in all of the 12 rated recordings",
    }


def test_one_level_leaves_order_and_kappa_undefined():
    found = reasons(judged([1, 1, 1], [1, 2, 3], unit="speaker"))
    assert found["sensitivity"] == "the trait is absent in all of the 3 rated speakers"
    assert found["spearman"] == "all ratings of the 3 rated speakers are equal"
    assert found["qwk"] == "only one level among the 3 rated speakers"
    assert "accuracy" not in found and "mae" not in found


def test_equal_scores_leave_correlations_undefined_but_not_the_auc():
    rows = judged([1, 2, 3], [2, 2, 2])
    assert reasons(rows) == {
        **dict.fromkeys(("spearman", "pearson", "kendall"), "all scores of the 3 rated recordings are equal"),
        "npv": "all of the 3 rated recordings are called present",
        "calibration_slope": "a cut on the probability parts the classes of the 3 rated recordings",
    }
    assert BY_NAME["ccc"].compute(rows) == 0
    assert BY_NAME["auc"].compute(rows) == 0.5


def test_fewer_than_3_rated_recordings_give_no_correlation():
    assert reasons(judged([1, 2], [1, 2]))["pearson"] == "fewer than 3 rated recordings"


def test_without_rated_recordings_every_metric_says_so():
    rows = judged([], [])
    assert set(reasons(rows).values()) == {"no rated recordings"} and len(reasons(rows)) == len(ALL_METRICS)


def test_a_binary_head_leaves_kappa_and_mae_undefined():
    full = judged([1, 2, 3, 1], [1, 2, 3, 2])
    rows = Judged(
        full.ratings, full.level_index, full.is_present, 4, full.scores, full.probability, None, full.is_called
    )
    of_values = ("mae", "macro_mae", "ccc", "icc", "bias", "lower_limit", "upper_limit")
    of_levels = ("qwk", "linear_kappa", "exact_agreement", "within_one")
    found = reasons(rows)
    assert {name for name, reason in found.items() if reason == "a binary head gives no levels"} == {
        *of_values,
        *of_levels,
    }


def test_what_was_not_said_is_named():
    full = judged([1, 2, 3], [1, 2, 3])
    found = reasons(Judged(full.ratings, full.level_index, full.is_present, n_levels=4))
    assert found["auc"] == "no probability of presence"
    assert found["sensitivity"] == "no decision threshold"
    assert found["spearman"] == "no scores"


@pytest.mark.parametrize("metric", ALL_METRICS, ids=lambda metric: metric.name)
def test_a_value_is_nan_exactly_where_there_is_a_reason(metric: Metric):
    generator = np.random.default_rng(0)
    for n_rows in (0, 1, 2, 3, 4) * 40:
        rows = judged(generator.integers(1, 4, n_rows), generator.integers(1, 4, n_rows))
        assert np.isnan(metric.compute(rows)) == (metric.reason(rows) is not None), (rows.ratings, rows.scores)


def test_an_undefined_metric_is_nan_in_every_replicate():
    values = BY_NAME["auc"].compute(judged([2, 3], [1, 2]), weights=np.ones((5, 2)))
    np.testing.assert_array_equal(values, np.full(5, np.nan))


def test_judged_rows_of_different_length_are_refused():
    with pytest.raises(ValueError, match="one value per rating"):
        Judged(np.array([1.0, 2.0]), np.array([0, 1]), np.array([False]), n_levels=4)
