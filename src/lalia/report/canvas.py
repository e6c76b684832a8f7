"""A figure and its axes, of a few sizes and with fixed margins, so that figures side by side are aligned."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lalia.report.svg import QUIET

NARROW, WIDE = 3.0, 3.6
"""Widths in inches: a column of a paper or a third of the page, and half of the page or a phone."""

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# inches around the axes
_LEFT, _RIGHT, _TOP, _BOTTOM, _LEGEND = 0.64, 0.1, 0.08, 0.48, 0.24


def shorten(label: str, most: int = 48) -> str:
    """Return a label that is not longer than that many characters."""
    return label if len(label) <= most else f"{label[: most - 1]}…"


def begin_figure(
    height: float, *, width: float = NARROW, left: float = _LEFT, legend: bool = False
) -> tuple[Figure, Axes]:
    """Return a figure of this size in inches and its axes, with room for a legend above if asked."""
    figure = Figure(figsize=(width, height))
    top = _TOP + (_LEGEND if legend else 0)
    box = (left / width, _BOTTOM / height, 1 - (left + _RIGHT) / width, 1 - (_BOTTOM + top) / height)
    return figure, figure.add_axes(box)


def draw_guide(axes: Axes, x: Sequence[float], y: Sequence[float], color: str = QUIET) -> None:
    """Draw a dashed line that is no data."""
    axes.plot(x, y, color=color, linewidth=1.0, linestyle=(0, (3, 3)))


def scale_by_decades(axes: Axes) -> None:
    """Make the vertical axis logarithmic, from one power of ten to another, so that at least two are named."""
    low, high = axes.dataLim.intervaly
    if np.isfinite(low):
        axes.set_yscale("log")
        axes.set_ylim(10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high * 1.0001)))
        axes.yaxis.set_major_formatter(lambda value, _: "10" + f"{round(np.log10(value))}".translate(_RAISED))
        axes.minorticks_off()


def add_legend(axes: Axes, columns: int = 3) -> None:
    """Name what is drawn above the axes, where it is more than one thing."""
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=columns,
            fontsize=8.5,
            handletextpad=0.4,
            columnspacing=1.0,
            borderpad=0,
            borderaxespad=0.5,
        )
