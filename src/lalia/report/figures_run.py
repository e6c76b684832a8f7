"""Figures of a run as a whole and of the scores of a trait: its headline, its training, its levels, its depths."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from lalia.report.canvas import WIDE, add_legend, begin_figure, draw_guide, scale_by_decades, shorten
from lalia.report.svg import BLUE, GREEN, INK, ORANGE, PAPER, PURPLE, QUIET, drawn

_MOST_POINTS = 400


class Estimate(NamedTuple):
    """A value and its interval, None where it is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Comparison(NamedTuple):
    """A line of the dot plot: one trait, the model and what it is compared with."""

    label: str
    model: Estimate
    duration: Estimate
    raters: Estimate
    covariates: Estimate = Estimate(None)


@drawn
def plot_headline(rows: Sequence[Comparison], *, label: str, limits: tuple[float, float], chance: float) -> Figure:
    """Draw the model with its interval, two confounds and the human ceiling, a line per trait.

    Args:
        rows: from top to bottom.
        label: what the horizontal axis measures.
        limits: of the horizontal axis.
        chance: where guessing stands; a dashed line.
    """
    figure, axes = begin_figure(0.8 + 0.4 * len(rows), width=WIDE, left=0.1, legend=True)
    axes.axvline(chance, color=QUIET, linewidth=1.0, linestyle=(0, (3, 3)))
    for place, row in enumerate(rows):
        if row.model.low is not None and row.model.high is not None:
            axes.plot([row.model.low, row.model.high], [place, place], color=BLUE, linewidth=2.0)
    looks = (
        ("model", [row.model for row in rows], BLUE, "o", 6.5),
        ("duration", [row.duration for row in rows], ORANGE, "D", 4.5),
        ("covariates", [row.covariates for row in rows], PURPLE, "^", 5.0),
        ("raters", [row.raters for row in rows], GREEN, "|", 15.0),
    )
    for order, (name, estimates, colour, marker, size) in enumerate(looks):
        found = [(estimate.value, place) for place, estimate in enumerate(estimates) if estimate.value is not None]
        if found:
            values, places = zip(*found, strict=True)
            (dots,) = axes.plot(values, places, linestyle="", marker=marker, markersize=size, color=colour, label=name)
            dots.set(zorder=6 - order, clip_on=False, markeredgewidth=2.6 if marker == "|" else 1.0)
    for place, row in enumerate(rows):
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
        axes.text(0, place - 0.28, shorten(row.label), transform=axes.get_yaxis_transform(), fontsize=8.5, bbox=box)
        if all(estimate.value is None for estimate in row[1:]):
            axes.text(0, place, "undefined", transform=axes.get_yaxis_transform(), va="center", color=QUIET, bbox=box)
    axes.set(xlim=limits, ylim=(len(rows) - 0.6, -0.75), xlabel=label, yticks=[])
    # short numbers, which the narrow margins do not cut off
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}".replace("-", "\u2212"))
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    add_legend(axes, columns=4)
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
    figure, axes = begin_figure(2.35, legend=True)
    looks = zip((QUIET, BLUE, ORANGE), ("o", "D", "s"), strict=True)
    if len(lines) == 1:
        looks = zip((BLUE,), ("D",), strict=True)
    for (column, name), (colour, marker) in zip(lines.items(), looks, strict=False):
        values = history[column].where(history[column] > 0) if logarithmic else history[column]
        axes.plot(history["epoch"], values, color=colour, marker=marker, label=name)
    if best_epoch is not None:
        axes.axvline(best_epoch, color=INK, linewidth=1.0, linestyle=(0, (3, 3)))
    if logarithmic:
        scale_by_decades(axes)
    else:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.set(xlabel="epoch", ylabel=label, xlim=(history["epoch"].min() - 0.4, history["epoch"].max() + 0.4))
    axes.grid(axis="y")
    add_legend(axes)
    return figure


@drawn
def plot_scores(
    level_index: ArrayLike,
    scores: ArrayLike,
    level_names: Sequence[str],
    *,
    label: str,
    levels: Sequence[float] | None = None,
) -> Figure:
    """Draw the scores at each level of the rating: a box (quartiles, median) and, where they are few, every point.

    Args:
        level_index: the index of the rating's level, one per recording.
        scores: of the model, one per recording.
        level_names: of all levels.
        label: what the vertical axis measures.
        levels: the value of each level where the scores are on the same scale; a dashed line says what is right.
    """
    index, values = np.asarray(level_index), np.asarray(scores, dtype=np.float64)
    figure, axes = begin_figure(2.82)
    if levels is not None:
        draw_guide(axes, range(len(levels)), levels)
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
def plot_confusion(counts: ArrayLike, names: Sequence[str]) -> Figure:
    """Draw how often each rating (row) met each answer of the model (column); darker is more of the row.

    Args:
        counts: shape (names, names).
        names: of the levels.
    """
    table: NDArray[np.float64] = np.asarray(counts, dtype=np.float64)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure, axes = begin_figure(2.82)
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
    figure, axes = begin_figure(2.35)
    axes.bar(range(len(weights)), weights, color=BLUE, width=0.7)
    draw_guide(axes, [-0.5, len(weights) - 0.5], [1 / len(weights)] * 2)
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
        axes.set_yticks(range(values.shape[0]), [shorten(str(name), 24) if place == 0 else "" for name in values.index])
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
