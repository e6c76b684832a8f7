"""The figures of the report: numbers in, matplotlib Figure out.

The figures are small and of a few widths: the page sets them side by side, and one below the other on a phone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_curve

from lalia.report.svg import BLUE, GREEN, INK, ORANGE, PAPER, QUIET, drawn

_NARROW, _WIDE = 3.0, 3.6  # inches: a third of the page, and half of it or a phone
_MOST_POINTS = 400
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# inches around the axes, fixed so that the axes of figures side by side are aligned
_LEFT, _RIGHT, _TOP, _BOTTOM, _LEGEND = 0.64, 0.1, 0.08, 0.48, 0.24


class Estimate(NamedTuple):
    """A value and its interval, None where it is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Comparison(NamedTuple):
    """The lines of the dot plot: one trait, the model and what it is compared with."""

    label: str
    model: Estimate
    duration: Estimate
    raters: Estimate


@drawn
def plot_headline(rows: Sequence[Comparison], *, label: str, limits: tuple[float, float], chance: float) -> Figure:
    """Draw the model with its interval, the duration baseline and the raters, a line per trait.

    Args:
        rows: from top to bottom.
        label: what the horizontal axis measures.
        limits: of the horizontal axis.
        chance: where guessing stands; a dashed line.
    """
    figure, axes = _begin(0.8 + 0.4 * len(rows), width=_WIDE, left=0.1, legend=True)
    axes.axvline(chance, color=QUIET, linewidth=1.0, linestyle=(0, (3, 3)))
    for place, row in enumerate(rows):
        if row.model.low is not None and row.model.high is not None:
            axes.plot([row.model.low, row.model.high], [place, place], color=BLUE, linewidth=2.0)
    looks = (
        ("model", [row.model for row in rows], BLUE, "o", 6.5),
        ("duration alone", [row.duration for row in rows], ORANGE, "D", 4.5),
        ("between raters", [row.raters for row in rows], GREEN, "s", 5.0),
    )
    for order, (name, estimates, colour, marker, size) in enumerate(looks):
        found = [(estimate.value, place) for place, estimate in enumerate(estimates) if estimate.value is not None]
        if found:
            values, places = zip(*found, strict=True)
            (dots,) = axes.plot(values, places, linestyle="", marker=marker, markersize=size, color=colour, label=name)
            dots.set(zorder=5 - order, clip_on=False)
    for place, row in enumerate(rows):
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
        axes.text(0, place - 0.28, _shorten(row.label), transform=axes.get_yaxis_transform(), fontsize=8.5, bbox=box)
        if all(estimate.value is None for estimate in row[1:]):
            axes.text(0, place, "undefined", transform=axes.get_yaxis_transform(), va="center", color=QUIET, bbox=box)
    axes.set(xlim=limits, ylim=(len(rows) - 0.6, -0.75), xlabel=label, yticks=[])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    _add_legend(axes)
    return figure


@drawn
def plot_history(
    history: pd.DataFrame,
    lines: Mapping[str, str],
    *,
    label: str,
    best_epoch: int | None = None,
    logarithmic: bool = False,
) -> Figure:
    """Draw columns of the history over the epochs.

    Args:
        history: a row per epoch, with a column epoch.
        lines: the column and the name of each line, three at most.
        label: what the vertical axis measures.
        best_epoch: the epoch that was kept, marked by a dashed line.
        logarithmic: whether the vertical axis is; what is not above 0 is left out then.
    """
    figure, axes = _begin(2.35, legend=True)
    looks = zip((QUIET, BLUE, ORANGE), ("o", "D", "s"), strict=True)
    if len(lines) == 1:
        looks = zip((BLUE,), ("D",), strict=True)
    for (column, name), (colour, marker) in zip(lines.items(), looks, strict=False):
        values = history[column].where(history[column] > 0) if logarithmic else history[column]
        axes.plot(history["epoch"], values, color=colour, marker=marker, label=name)
    if best_epoch is not None:
        axes.axvline(best_epoch, color=INK, linewidth=1.0, linestyle=(0, (3, 3)))
    if logarithmic:
        _scale_by_decades(axes)
    else:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.set(xlabel="epoch", ylabel=label, xlim=(history["epoch"].min() - 0.4, history["epoch"].max() + 0.4))
    axes.grid(axis="y")
    _add_legend(axes)
    return figure


@drawn
def plot_scores(level_index: ArrayLike, scores: ArrayLike, level_names: Sequence[str], *, label: str) -> Figure:
    """Draw the scores at each level of the rating: a box (quartiles, median) and, where they are few, every point.

    Args:
        level_index: the index of the rating's level, one per recording.
        scores: of the model, one per recording.
        level_names: of all levels.
        label: what the vertical axis measures.
    """
    index, values = np.asarray(level_index), np.asarray(scores, dtype=np.float64)
    figure, axes = _begin(2.82)
    present = [level for level in range(len(level_names)) if (index == level).any()]
    if len(values) <= _MOST_POINTS:
        # the golden ratio spreads the points evenly and always in the same way
        spread = (np.arange(len(values)) * 0.618034) % 1.0 - 0.5
        axes.plot(index + 0.62 * spread, values, linestyle="", marker="o", color=BLUE, alpha=0.35, markeredgewidth=0)
    if present:
        line = {"color": INK, "linewidth": 1.2}
        axes.boxplot(
            [values[index == level] for level in present],
            positions=present,
            widths=0.62,
            showfliers=len(values) > _MOST_POINTS,
            boxprops=line,
            whiskerprops={"color": QUIET},
            capprops={"color": QUIET},
            medianprops={"color": ORANGE, "linewidth": 2.0},
            flierprops={"marker": "o", "markersize": 2, "markerfacecolor": BLUE, "markeredgewidth": 0},
        )
    axes.set_xticks(range(len(level_names)), list(level_names))
    axes.set(xlim=(-0.6, len(level_names) - 0.4), xlabel="rating", ylabel=label)
    axes.grid(axis="y")
    return figure


@drawn
def plot_roc(
    is_present: ArrayLike, probability: ArrayLike, *, operating_point: tuple[float, float] | None = None
) -> Figure:
    """Draw sensitivity over 1 - specificity for every possible threshold.

    Args:
        is_present: 1 where the raters found the trait, 0 where not; both must occur.
        probability: of presence, as the model has it.
        operating_point: specificity and sensitivity at the threshold in use, marked by a dot.
    """
    false_positive, sensitivity, _ = roc_curve(np.asarray(is_present), np.asarray(probability))
    figure, axes = _begin(2.82)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1.0, linestyle=(0, (3, 3)))
    axes.plot(false_positive, sensitivity, color=BLUE)
    if operating_point is not None:
        specificity, hit_rate = operating_point
        axes.plot([1 - specificity], [hit_rate], linestyle="", marker="o", markersize=7.0, color=ORANGE)
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=ticks, yticks=ticks)
    axes.set(xlabel="1 - specificity (false alarms)", ylabel="sensitivity (found)", aspect="equal")
    axes.grid()
    return figure


@drawn
def plot_confusion(counts: ArrayLike, names: Sequence[str]) -> Figure:
    """Draw how often each rating (row) met each answer of the model (column); darker is more of the row.

    Args:
        counts: shape (names, names).
        names: of the levels.
    """
    table: NDArray[np.float64] = np.asarray(counts, dtype=np.float64)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure, axes = _begin(2.82)
    for (row, column), count in np.ndenumerate(table):
        box = Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, linewidth=0)
        box.set(facecolor=BLUE, alpha=0.06 + 0.54 * shares[row, column])
        axes.add_patch(box)
        axes.text(column, row, f"{count:.0f}", ha="center", va="center", color=INK if count else QUIET)
    axes.set_xticks(range(len(names)), list(names))
    # upright names such as "present" would cover the axis label
    turned: dict[str, Any] = {"rotation": 90, "verticalalignment": "center"} if max(map(len, names)) > 4 else {}
    axes.set_yticks(range(len(names)), list(names), **turned)
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), aspect="equal")
    axes.set(xlabel="model", ylabel="rating")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


@drawn
def plot_layer_weights(weights: Sequence[float]) -> Figure:
    """Draw the weight of each depth in the layer mix, from depth 0 (below the first block)."""
    figure, axes = _begin(2.35)
    axes.bar(range(len(weights)), weights, color=BLUE, width=0.7)
    axes.axhline(1 / len(weights), color=QUIET, linewidth=1.0, linestyle=(0, (3, 3)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="depth", ylabel="weight", ylim=(0, None))
    axes.grid(axis="y")
    return figure


@drawn
def plot_heat_maps(maps: Mapping[str, pd.DataFrame], *, chance: Mapping[str, float]) -> Figure:
    """Draw tables of values side by side, darker the further above chance; the largest of each row has a frame.

    Args:
        maps: by the name of what they hold: a row per trait, a column per depth, NaN where undefined; the same rows and
            columns in all.
        chance: of each, where the colour begins; it ends at 1.
    """
    first = next(iter(maps.values()))
    cell, label_width, gap, top = 0.3, 1.7, 0.25, 0.35
    width, height = cell * first.shape[1], cell * first.shape[0]
    whole = (label_width + len(maps) * (width + gap), top + height + 0.95)
    figure = Figure(figsize=whole)
    for place, (title, values) in enumerate(maps.items()):
        left = label_width + place * (width + gap)
        axes = figure.add_axes((left / whole[0], 0.95 / whole[1], width / whole[0], height / whole[1]))
        _draw_heat(axes, values.to_numpy(dtype=np.float64), chance[title])
        axes.set_title(title, loc="left", fontsize=9.0)
        axes.set_xticks(range(values.shape[1]), list(values.columns), rotation=90)
        axes.set_yticks(
            range(values.shape[0]), [_shorten(str(name), 24) if place == 0 else "" for name in values.index]
        )
        axes.set_xlabel("depth")
    return figure


def _draw_heat(axes: Axes, values: NDArray[np.float64], chance: float) -> None:
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            axes.text(column, row, "–", ha="center", va="center", color=QUIET, fontsize=6.5)
            continue
        above = float(np.clip((value - chance) / (1 - chance), 0.0, 1.0))
        box = Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, linewidth=0)
        box.set(facecolor=BLUE, alpha=0.04 + 0.66 * above)
        axes.add_patch(box)
        axes.text(column, row, f"{value:z.2f}".replace("0.", ".", 1), ha="center", va="center", fontsize=6.0)
        if value == np.nanmax(values[row]):
            frame = Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, fill=False, edgecolor=ORANGE, linewidth=1.2)
            axes.add_patch(frame)
    axes.set(xlim=(-0.5, values.shape[1] - 0.5), ylim=(values.shape[0] - 0.5, -0.5))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _shorten(label: str, most: int = 48) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"


def _begin(height: float, *, width: float = _NARROW, left: float = _LEFT, legend: bool = False) -> tuple[Figure, Axes]:
    """Return a figure of this size in inches and its axes, with room for a legend above if asked."""
    figure = Figure(figsize=(width, height))
    top = _TOP + (_LEGEND if legend else 0)
    box = (left / width, _BOTTOM / height, 1 - (left + _RIGHT) / width, 1 - (_BOTTOM + top) / height)
    return figure, figure.add_axes(box)


def _scale_by_decades(axes: Axes) -> None:
    """Make the vertical axis logarithmic, from one power of ten to another, so that at least two are named."""
    low, high = axes.dataLim.intervaly
    if np.isfinite(low):
        axes.set_yscale("log")
        axes.set_ylim(10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high * 1.0001)))
        axes.yaxis.set_major_formatter(lambda value, _: "10" + f"{round(np.log10(value))}".translate(_RAISED))
        axes.minorticks_off()


def _add_legend(axes: Axes) -> None:
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=3,
            fontsize=8.5,
            handletextpad=0.4,
            columnspacing=1.0,
            borderpad=0,
            borderaxespad=0.5,
        )
