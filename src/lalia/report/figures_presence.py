"""Figures of presence: what every threshold of the probability would do, and how true the probability is."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.metrics import precision_recall_curve, roc_curve

from lalia.report.canvas import add_legend, begin_figure, draw_guide
from lalia.report.curves import Band, Bins
from lalia.report.svg import BLUE, GREEN, ORANGE, QUIET, drawn

_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_HEIGHT = 2.82


@drawn
def plot_roc(
    is_present: ArrayLike,
    probability: ArrayLike,
    *,
    operating_point: tuple[float, float] | None = None,
    band: Band | None = None,
    raters: tuple[float, float] | None = None,
) -> Figure:
    """Draw sensitivity over 1 - specificity for every possible threshold.

    Args:
        is_present: 1 where the raters found the trait, 0 where not; both must occur.
        probability: of presence, as the model has it.
        operating_point: specificity and sensitivity at the threshold in use, marked by a dot.
        band: of ``roc_band``.
        raters: specificity and sensitivity of a rater against the others: the human ceiling, a line with a corner.
    """
    false_positive, sensitivity, _ = roc_curve(np.asarray(is_present), np.asarray(probability))
    figure, axes = begin_figure(_HEIGHT)
    draw_guide(axes, [0, 1], [0, 1])
    axes.plot(false_positive, sensitivity, color=BLUE)
    if operating_point is not None:
        specificity, hit_rate = operating_point
        axes.plot([1 - specificity], [hit_rate], linestyle="", marker="o", markersize=7.0, color=ORANGE)
    if raters is not None:
        axes.plot([0, 1 - raters[0], 1], [0, raters[1], 1], color=GREEN, linewidth=1.2, label="raters")
        axes.plot([1 - raters[0]], [raters[1]], linestyle="", marker="s", markersize=5.0, color=GREEN)
    _draw_band(axes, band)
    _span_shares(axes, "1 - specificity (false alarms)", "sensitivity (found)")
    return figure


@drawn
def plot_precision_recall(
    is_present: ArrayLike,
    probability: ArrayLike,
    *,
    operating_point: tuple[float, float] | None = None,
    band: Band | None = None,
    raters: float | None = None,
) -> Figure:
    """Draw precision over sensitivity for every possible threshold, in steps.

    Args:
        is_present: 1 where the raters found the trait, 0 where not; both must occur.
        probability: of presence, as the model has it.
        operating_point: sensitivity and precision at the threshold in use, marked by a dot.
        band: of ``precision_band``.
        raters: the average precision of a rater against the others: the human ceiling, a line.
    """
    present = np.asarray(is_present, dtype=bool)
    precision, recall, _ = precision_recall_curve(present, np.asarray(probability))
    figure, axes = begin_figure(_HEIGHT)
    draw_guide(axes, [0, 1], [present.mean()] * 2)
    # at each sensitivity the strictest threshold that reaches it, as average precision has it; the last point of
    # scikit-learn, precision 1 at sensitivity 0, is no threshold
    axes.plot(recall, [*precision[:-1], precision[-2]], color=BLUE, drawstyle="steps-post")
    if operating_point is not None:
        axes.plot(*[[value] for value in operating_point], linestyle="", marker="o", markersize=7.0, color=ORANGE)
    if raters is not None:
        axes.plot([0, 1], [raters, raters], color=GREEN, linewidth=1.2, label="raters")
    _draw_band(axes, band)
    _span_shares(axes, "sensitivity (found)", "precision (rightly found)")
    return figure


@drawn
def plot_calibration(bins: Bins, probability: ArrayLike, *, threshold: float | None = None) -> Figure:
    """Draw how often the trait is there over how probable the model calls it, and where its probabilities lie.

    Args:
        bins: of ``bin_probabilities``.
        probability: of each recording, drawn as short lines along the axis.
        threshold: in use; a thin line.
    """
    figure, axes = begin_figure(_HEIGHT)
    draw_guide(axes, [0, 1], [0, 1])
    if threshold is not None:
        axes.axvline(threshold, color=ORANGE, linewidth=1.0)
    for x, low, high in zip(bins.probability, bins.low, bins.high, strict=True):
        axes.plot([x, x], [low, high], color=BLUE, linewidth=1.2)
    axes.plot(bins.probability, bins.share, color=BLUE, marker="o", markersize=5.0, linewidth=1.0)
    values = np.asarray(probability, dtype=np.float64)
    axes.vlines(np.unique(values.round(2)), -0.05, -0.02, color=BLUE, linewidth=0.6, alpha=0.6)
    _span_shares(axes, "probability of the model", "share with the trait")
    axes.set_ylim(-0.06, 1.02)
    return figure


@drawn
def plot_coverage(
    coverage: ArrayLike,
    risk: ArrayLike,
    *,
    band: Band | None = None,
    operating_point: tuple[float, float] | None = None,
) -> Figure:
    """Draw how many decisions are wrong over how many are made, the most certain ones first.

    Args:
        coverage: the share of the recordings that is decided, rising.
        risk: the share of these that is decided wrongly.
        band: of ``coverage_curve``.
        operating_point: coverage and risk of the rule in use, marked by a dot.
    """
    figure, axes = begin_figure(_HEIGHT)
    risks = np.asarray(risk, dtype=np.float64)
    axes.plot(np.asarray(coverage), risks, color=BLUE)
    if operating_point is not None:
        axes.plot(*[[value] for value in operating_point], linestyle="", marker="o", markersize=7.0, color=ORANGE)
    _draw_band(axes, band)
    top = max([0.1, float(risks.max()), *([] if band is None else band.high[~np.isnan(band.high)].tolist())])
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02 * top, 1.05 * top), xticks=_TICKS)
    axes.set(xlabel="coverage (share decided)", ylabel="risk (decided wrongly)")
    axes.grid(axis="y")
    return figure


@drawn
def plot_net_benefit(
    thresholds: ArrayLike, model: ArrayLike, everybody: ArrayLike, *, band: Band | None = None
) -> Figure:
    """Draw what acting on the model would bring, over the probability from which on one would act.

    Args:
        thresholds: the probabilities, rising.
        model: net benefit per recording of acting on the model, NaN where it is undefined.
        everybody: of acting on every recording; acting on none has 0.
        band: the intervals of the model.
    """
    figure, axes = begin_figure(_HEIGHT, legend=True)
    values, others = np.asarray(model, dtype=np.float64), np.asarray(everybody, dtype=np.float64)
    axes.axhline(0.0, color=QUIET, linewidth=0.8)
    axes.plot(np.asarray(thresholds), values, color=BLUE, label="model")
    axes.plot(np.asarray(thresholds), others, color=ORANGE, linewidth=1.2, linestyle=(0, (4, 2)), label="everybody")
    _draw_band(axes, band)
    top = np.nanmax([0.05, *values, *others, *([] if band is None else band.high)])
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.4 * top, 1.08 * top), xticks=_TICKS)
    axes.set(xlabel="threshold of acting", ylabel="net benefit")
    axes.grid(axis="y")
    add_legend(axes)
    return figure


def _draw_band(axes: Axes, band: Band | None) -> None:
    if band is not None and not np.isnan(band.low).all():
        axes.fill_between(band.x, band.low, band.high, color=BLUE, alpha=0.16, linewidth=0)


def _span_shares(axes: Axes, xlabel: str, ylabel: str, ticks: Sequence[float] = _TICKS) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=ticks, yticks=ticks)
    axes.set(xlabel=xlabel, ylabel=ylabel, aspect="equal")
    axes.grid()
