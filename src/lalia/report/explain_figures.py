"""The figures of what a rater has learned: numbers in, matplotlib Figure out, as in ``lalia.report.figures``."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from lalia.report.svg import BLUE, GREEN, INK, ORANGE, PAPER, QUIET, drawn

_WIDE, _NARROW = 3.6, 3.0  # inches: half of the page or a phone, and a third of the page
_WHOLE, _MOST_COLUMNS = 6.4, 1000
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.66, 0.1, 0.48, 0.08
# from white to dark: readable in grey, for colour-blind readers and on paper
_LOUDNESS = LinearSegmentedColormap.from_list("loudness", ["#fefefe", "#9ecae1", "#0072b2", "#00294d"])
_TICKS_HZ = (250, 1000, 2000, 4000, 8000)


class Sounds(NamedTuple):
    """A spectrogram to draw on."""

    level_db: NDArray[np.float64]
    """Shape (bands, columns), the lowest band first."""
    seconds: float
    """From the first column's start to the last one's end."""
    middles_hz: NDArray[np.float64]
    """Of the bands, shape (bands,)."""


@drawn
def plot_spectrogram(sounds: Sounds) -> Figure:
    """Draw how loud each frequency is over time; darker is louder."""
    figure, (axes,) = _begin([1.3])
    _draw_sounds(axes, sounds)
    axes.set_xlabel("seconds")
    return figure


@drawn
def plot_attention(sounds: Sounds, weights: ArrayLike, frame_seconds: ArrayLike) -> Figure:
    """Draw a spectrogram and below it how much each frame counts.

    Args:
        sounds: the recording.
        weights: of the frames, adding up to 1 at most, shape (frames,).
        frame_seconds: the middle of each; frames of one time add up, those of no time (NaN) are left out.
    """
    figure, (above, below) = _begin([1.3, 0.8])
    _draw_sounds(above, sounds)
    above.tick_params(labelbottom=False)
    _draw_attention(below, weights, frame_seconds, sounds.seconds)
    return figure


@drawn
def plot_waveform(waveform: ArrayLike, rate_hz: int, weights: ArrayLike, frame_seconds: ArrayLike) -> Figure:
    """Draw a waveform and below it how much each frame counts.

    Args:
        waveform: shape (samples,).
        rate_hz: of it.
        weights: as for ``plot_attention``.
        frame_seconds: likewise.
    """
    samples = np.asarray(waveform, dtype=float)
    starts = np.unique(np.linspace(0, len(samples), min(len(samples), _MOST_COLUMNS) + 1).astype(int))[:-1]
    high, low = np.maximum.reduceat(samples, starts), np.minimum.reduceat(samples, starts)
    figure, (above, below) = _begin([0.8, 0.8], width=_WHOLE)
    above.fill_between(starts / rate_hz, low, high, color=BLUE, linewidth=0)
    above.set(xlim=(0, len(samples) / rate_hz), yticks=[])
    above.spines["left"].set_visible(False)
    above.tick_params(labelbottom=False)
    _draw_attention(below, weights, frame_seconds, len(samples) / rate_hz)
    return figure


@drawn
def plot_occlusion(sounds: Sounds, bounds_seconds: ArrayLike, change: ArrayLike) -> Figure:
    """Draw a spectrogram and below it what each stretch adds to the score.

    Args:
        sounds: the recording.
        bounds_seconds: of the stretches, shape (stretches + 1,).
        change: the score of the whole less that without each, shape (stretches,).
    """
    bounds, changes = np.asarray(bounds_seconds, dtype=float), np.asarray(change, dtype=float)
    figure, (above, below) = _begin([1.3, 0.8])
    _draw_sounds(above, sounds)
    above.tick_params(labelbottom=False)
    _draw_bars(below, bounds[:-1], np.diff(bounds), changes)
    below.set(xlim=(0, sounds.seconds), xlabel="seconds", ylabel="adds to score")
    return figure


@drawn
def plot_bands(edges_hz: ArrayLike, change: ArrayLike) -> Figure:
    """Draw what each band of frequencies adds to the score.

    Args:
        edges_hz: of the bands, shape (bands + 1,).
        change: the score of the whole less that without each, shape (bands,).
    """
    edges, changes = np.asarray(edges_hz, dtype=float), np.asarray(change, dtype=float)
    figure, (axes,) = _begin([1.75])
    _draw_bars(axes, np.arange(len(changes)), np.ones(len(changes)), changes)
    shown = range(0, len(edges), 2)
    axes.set_xticks(list(shown), [_kilohertz(edges[place]) for place in shown])
    axes.set(xlim=(0, len(changes)), xlabel="kHz", ylabel="adds to score")
    return figure


@drawn
def plot_weight_change(depths: Sequence[int], changes: Sequence[float]) -> Figure:
    """Draw how far training moved the weights of each depth, as a share of their norm before; 0 is the stem."""
    figure, (axes,) = _begin([1.75], width=_NARROW)
    axes.bar(depths, np.asarray(changes) * 100, color=BLUE, width=0.7)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="depth", ylabel="change of weights, %", ylim=(0, None))
    axes.grid(axis="y")
    return figure


@drawn
def plot_edits(names: Sequence[str], changes: ArrayLike, lows: ArrayLike, highs: ArrayLike) -> Figure:
    """Draw how the score moves, on average, when recordings are edited, with intervals; a line per edit.

    Args:
        names: of the edits, from top to bottom.
        changes: of the score, NaN where nothing was changed, shape (edits,).
        lows: of their intervals, NaN where there is none.
        highs: likewise.
    """
    values, low, high = (np.asarray(each, dtype=float) for each in (changes, lows, highs))
    figure, (axes,) = _begin([0.36 * len(names) + 0.1], width=3.6, left=0.1)
    axes.axvline(0, color=QUIET, linewidth=1.0, linestyle=(0, (3, 3)))
    for place, name in enumerate(names):
        axes.plot([low[place], high[place]], [place, place], color=BLUE, linewidth=2.0)
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
        axes.text(0, place - 0.3, name, transform=axes.get_yaxis_transform(), fontsize=8.5, bbox=box)
    (dots,) = axes.plot(values, range(len(names)), linestyle="", marker="o", markersize=6.0, color=BLUE)
    dots.set_clip_on(False)
    reach = max(0.1, float(np.nanmax(np.abs([values, low, high]), initial=0.0)) * 1.1)
    axes.set(xlim=(-reach, reach), ylim=(len(names) - 0.6, -0.8), xlabel="change of score", yticks=[])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, symmetric=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:z.2g}")
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return figure


def sum_by_time(weights: ArrayLike, frame_seconds: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the times of frames in order, each once, and the sum of the weights at each.

    Example:
        >>> sum_by_time([0.1, 0.2, 0.3, 0.4], [float("nan"), 0.0, 1.0, 0.0])
        (array([0., 1.]), array([0.6, 0.3]))
    """
    seconds, values = np.asarray(frame_seconds, dtype=float), np.asarray(weights, dtype=float)
    timed = ~np.isnan(seconds)
    times, places = np.unique(seconds[timed], return_inverse=True)
    sums: NDArray[np.float64] = np.bincount(places, weights=values[timed], minlength=len(times)).astype(float)
    return times, sums


def _draw_attention(axes: Axes, weights: ArrayLike, frame_seconds: ArrayLike, whole_seconds: float) -> None:
    seconds, summed = sum_by_time(weights, frame_seconds)
    # the same height whatever the rate of the frames: 1 is what an even attention would give
    even = summed * len(seconds) / max(float(summed.sum()), 1e-12)
    axes.fill_between(seconds, even, step="mid", color=ORANGE, alpha=0.35, linewidth=0)
    axes.step(seconds, even, where="mid", color=ORANGE, linewidth=1.0)
    axes.axhline(1.0, color=QUIET, linewidth=1.0, linestyle=(0, (3, 3)))
    axes.set(xlim=(0, whole_seconds), ylim=(0, None), xlabel="seconds", ylabel="attention")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3))


def _draw_sounds(axes: Axes, sounds: Sounds) -> None:
    bands = len(sounds.middles_hz)
    axes.imshow(
        sounds.level_db,
        origin="lower",
        aspect="auto",
        extent=(0, sounds.seconds, -0.5, bands - 0.5),
        cmap=_LOUDNESS,
        interpolation="nearest",
    )
    ticks = [hertz for hertz in _TICKS_HZ if sounds.middles_hz[0] <= hertz <= sounds.middles_hz[-1]]
    places = np.interp(ticks, sounds.middles_hz, np.arange(bands))
    axes.set_yticks(places, [_kilohertz(hertz) for hertz in ticks])
    axes.set_ylabel("kHz")


def _draw_bars(axes: Axes, starts: NDArray[Any], widths: NDArray[Any], changes: NDArray[np.float64]) -> None:
    colours = [ORANGE if change > 0 else GREEN for change in changes]
    axes.bar(starts, changes, width=widths, align="edge", color=colours, alpha=0.75, linewidth=0)
    axes.axhline(0, color=INK, linewidth=0.8)
    reach = max(0.05, float(np.abs(changes).max(initial=0.0)) * 1.1)
    axes.set_ylim(-reach, reach)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, symmetric=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:z.2g}")


def _kilohertz(hertz: float) -> str:
    return f"{hertz / 1000:.2g}"


def _begin(heights: Sequence[float], *, width: float = _WIDE, left: float = _LEFT) -> tuple[Figure, list[Axes]]:
    """Return a figure with axes of these heights in inches, one below the other."""
    gap = 0.12
    whole = _TOP + sum(heights) + gap * (len(heights) - 1) + _BOTTOM
    figure = Figure(figsize=(width, whole))
    axes, top = [], whole - _TOP
    for height in heights:
        box = (left / width, (top - height) / whole, 1 - (left + _RIGHT) / width, height / whole)
        axes.append(figure.add_axes(box))
        top -= height + gap
    return figure, axes
