"""Every figure of the report by name: numbers in, matplotlib Figure out, without any global state.

The figures are small and of a few widths: a column of a paper, a third of the page, or a phone. ``draw_figures`` of
``run_figures.py`` draws those of a run from its folder.
"""

from lalia.report.difference_plot import plot_differences
from lalia.report.figures_agreement import plot_bland_altman, plot_groups, plot_levels
from lalia.report.figures_presence import (
    plot_calibration,
    plot_coverage,
    plot_net_benefit,
    plot_precision_recall,
    plot_roc,
)
from lalia.report.figures_run import (
    Comparison,
    Estimate,
    plot_confusion,
    plot_headline,
    plot_heat_maps,
    plot_history,
    plot_layer_weights,
    plot_scores,
)

__all__ = [
    "Comparison",
    "Estimate",
    "plot_bland_altman",
    "plot_calibration",
    "plot_confusion",
    "plot_coverage",
    "plot_differences",
    "plot_groups",
    "plot_headline",
    "plot_heat_maps",
    "plot_history",
    "plot_layer_weights",
    "plot_levels",
    "plot_net_benefit",
    "plot_precision_recall",
    "plot_roc",
    "plot_scores",
]
