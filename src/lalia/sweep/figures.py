"""The figures of a sweep: what settings reach, and what each value of each setting does."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lalia.report.svg import BLUE, INK, ORANGE, QUIET, drawn

_LINE, _PLOT, _TOP, _BOTTOM, _RIGHT = 0.3, 3.2, 0.1, 0.5, 0.15  # inches
_LETTER, _GAP = 0.078, 0.2
_MOST_LETTERS = 60


@drawn
def plot_leaderboard(
    labels: Sequence[str], values: Sequence[float], low: Sequence[float], high: Sequence[float], *, label: str
) -> Figure:
    """Draw what settings reach with their intervals, the first on top.

    Args:
        labels: of the settings.
        values: of each.
        low: of the interval, NaN where there is none.
        high: likewise.
        label: what the axis measures.
    """
    figure, axes = _begin(labels)
    for place, (value, lowest, highest) in enumerate(zip(values, low, high, strict=True)):
        colour = ORANGE if place == 0 else BLUE
        axes.plot([lowest, highest], [place, place], color=colour, linewidth=2.0)
        axes.plot([value], [place], "D" if place == 0 else "o", color=colour, markersize=5.0)
    _label(axes, labels, label)
    return figure


@drawn
def plot_main_effects(effects: pd.DataFrame, *, label: str) -> Figure:
    """Draw the mean over all trials that have a value, with the range of these trials.

    Args:
        effects: columns key, value, mean, lowest, highest.
        label: what the axis measures.
    """
    rows = effects.to_dict("records")
    labels = [f"{row['key']} {row['value']}" for row in rows]
    figure, axes = _begin(labels)
    keys = list(dict.fromkeys(effects["key"]))
    for place, row in enumerate(rows):
        colour = BLUE if keys.index(row["key"]) % 2 == 0 else INK
        axes.plot([row["lowest"], row["highest"]], [place, place], color=QUIET, linewidth=1.2)
        axes.plot([row["mean"]], [place], "o", color=colour, markersize=5.0)
    _label(axes, labels, label)
    return figure


def _begin(labels: Sequence[str]) -> tuple[Figure, Axes]:
    """Return a figure with as much room to the left as the longest label takes."""
    lines, letters = max(len(labels), 1), max(map(len, labels), default=0)
    left = _GAP + _LETTER * min(letters, _MOST_LETTERS)
    width, height = left + _PLOT + _RIGHT, _TOP + _LINE * lines + _BOTTOM
    figure = Figure(figsize=(width, height))
    box = (left / width, _BOTTOM / height, _PLOT / width, _LINE * lines / height)
    return figure, figure.add_axes(box)


def _label(axes: Axes, labels: Sequence[str], label: str) -> None:
    shown = [text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…" for text in labels]
    axes.set_yticks(np.arange(len(shown)), shown)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel(label)
    axes.grid(axis="x")
