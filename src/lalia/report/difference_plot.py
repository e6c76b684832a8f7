"""The figure of a comparison: a difference with its interval for each trait."""

import pandas as pd
from matplotlib.figure import Figure

from lalia.measures.metrics import METRICS
from lalia.report.svg import BLUE, INK, QUIET, drawn

_LINE, _LABEL, _PLOT, _GAP, _TOP, _BOTTOM = 0.28, 2.0, 2.2, 0.25, 0.35, 0.5  # inches


@drawn
def plot_differences(table: pd.DataFrame) -> Figure:
    """Draw differences between runs with their intervals, a line per pair of runs and trait, a column per metric.

    Args:
        table: columns first_run, second_run, trait, metric, difference, low, high; the mean over traits is called
            macro. What is NaN is left out.
    """
    metrics = list(dict.fromkeys(table["metric"]))
    titles = {metric.name: metric.title for metric in METRICS}
    keys = list(dict.fromkeys(table[["second_run", "trait"]].itertuples(index=False, name=None)))
    several = len(set(table["second_run"])) > 1
    labels = [f"{run}: {trait}" if several else trait for run, trait in keys]
    width = _LABEL + len(metrics) * (_PLOT + _GAP)
    height = _TOP + _LINE * len(keys) + _BOTTOM
    figure = Figure(figsize=(width, height))
    for column, metric in enumerate(metrics):
        left = (_LABEL + column * (_PLOT + _GAP)) / width
        axes = figure.add_axes((left, _BOTTOM / height, _PLOT / width, _LINE * len(keys) / height))
        rows = table[table["metric"] == metric].set_index(["second_run", "trait"])
        axes.axvline(0.0, color=QUIET, linewidth=1.0, linestyle=(0, (3, 3)))
        for place, key in enumerate(keys):
            if key not in rows.index:
                continue
            difference, low, high = rows.loc[key, ["difference", "low", "high"]].astype(float)
            color = INK if key[1] == "macro" else BLUE
            axes.plot([low, high], [place, place], color=color, linewidth=2.0)
            axes.plot([difference], [place], "o", color=color, markersize=5.0)
        axes.set_ylim(len(keys) - 0.5, -0.5)
        axes.set_yticks(range(len(keys)), [label[:40] for label in labels] if column == 0 else [""] * len(keys))
        axes.set_title(titles[metric], loc="left", fontsize=9.0)
        axes.set_xlabel("difference to the first run")
    return figure
