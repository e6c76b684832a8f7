"""Figures of agreement and of groups: differences of ratings and scores, speakers side by side, levels per part."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lalia.report.canvas import WIDE, add_legend, begin_figure, shorten
from lalia.report.figures_run import Estimate
from lalia.report.svg import BLUE, GREEN, INK, ORANGE, PAPER, QUIET, drawn

_MOST_POINTS = 400


@drawn
def plot_bland_altman(
    ratings: ArrayLike,
    scores: ArrayLike,
    *,
    bias: Estimate,
    limits: tuple[Estimate, Estimate],
    raters: tuple[float, float] | None = None,
) -> Figure:
    """Draw the difference of score and rating over their mean (Bland and Altman, Lancet 1986).

    Args:
        ratings: of the recordings; of more than 400 every second, third, ... is drawn.
        scores: of the model, on the same scale.
        bias: the mean difference.
        limits: the lower and the upper limit of agreement, between which 95 % of the differences lie.
        raters: the limits of a rater against the others: the human ceiling, two lines.
    """
    rated, scored = np.asarray(ratings, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    figure, axes = begin_figure(2.82, legend=True)
    step = -(-len(rated) // _MOST_POINTS) or 1
    means, differences = ((rated + scored) / 2)[::step], (scored - rated)[::step]
    axes.axhline(0.0, color=QUIET, linewidth=0.8)
    axes.plot(means, differences, linestyle="", marker="o", color=BLUE, alpha=0.35, markeredgewidth=0)
    for estimate, name in ((bias, "bias"), (limits[0], "limits"), (limits[1], "")):
        if estimate.value is None:
            continue
        if estimate.low is not None and estimate.high is not None:
            axes.axhspan(estimate.low, estimate.high, color=ORANGE, alpha=0.12, linewidth=0)
        look = "-" if name == "bias" else (0, (4, 2))
        axes.axhline(estimate.value, color=ORANGE, linewidth=1.4, linestyle=look, label=name or None)
    for number, value in enumerate(raters or ()):
        name_once = None if number else "raters"
        axes.axhline(value, color=GREEN, linewidth=1.4, linestyle=(0, (1, 1.5)), label=name_once)
    axes.set(xlabel="mean of rating and score", ylabel="score - rating")
    axes.grid(axis="y")
    add_legend(axes)
    return figure


@drawn
def plot_groups(
    rows: Sequence[tuple[str, Estimate]], *, label: str, whole: float | None = None, limits: tuple[float, float]
) -> Figure:
    """Draw a metric of each group of speakers with its interval.

    Args:
        rows: the name and the metric of each group, from top to bottom.
        label: what the horizontal axis measures.
        whole: the metric of all speakers together; a dashed line.
        limits: of the horizontal axis.
    """
    figure, axes = begin_figure(0.62 + 0.4 * len(rows), width=WIDE, left=0.1)
    if whole is not None:
        axes.axvline(whole, color=QUIET, linewidth=1.0, linestyle=(0, (3, 3)))
    for place, (name, estimate) in enumerate(rows):
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
        axes.text(0, place - 0.28, shorten(name), transform=axes.get_yaxis_transform(), fontsize=8.5, bbox=box)
        if estimate.value is None:
            continue
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [place, place], color=BLUE, linewidth=2.0)
        axes.plot([estimate.value], [place], linestyle="", marker="o", markersize=5.5, color=BLUE, clip_on=False)
    axes.set(xlim=limits, ylim=(len(rows) - 0.6, -0.75), xlabel=label, yticks=[])
    # short numbers, which the narrow margins do not cut off
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}".replace("-", "\u2212"))
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return figure


@drawn
def plot_levels(counts: Mapping[str, ArrayLike], level_names: Sequence[str], *, label: str = "recordings") -> Figure:
    """Draw how many recordings are at each level, a bar per row, darker the higher the level.

    Args:
        counts: by the name of the row, from top to bottom: one number per level.
        level_names: of all levels.
        label: what is counted.
    """
    figure, axes = begin_figure(0.8 + 0.4 * len(counts), width=WIDE, left=0.1, legend=True)
    names = list(counts)
    table = np.array([np.asarray(counts[name], dtype=np.float64) for name in names])
    starts = np.cumsum(table, axis=1) - table
    shades = np.linspace(0.15, 0.95, len(level_names))
    for level, (name, shade) in enumerate(zip(level_names, shades, strict=True)):
        colour = to_rgba(BLUE, float(shade))
        axes.barh(range(len(names)), table[:, level], left=starts[:, level], height=0.42, color=colour, label=name)
    for place, name in enumerate(names):
        axes.text(0, place - 0.3, shorten(name), fontsize=8.5, color=INK)
    axes.set(ylim=(len(names) - 0.6, -0.8), xlabel=label, yticks=[])
    axes.spines["left"].set_visible(False)
    add_legend(axes, columns=max(1, min(len(level_names), 8)))
    return figure
