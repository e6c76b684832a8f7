"""The report of a sweep: one HTML file that compares settings, without network or script."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

import lalia
from lalia.files import write_text
from lalia.measures.metrics import Metric
from lalia.report.page import open_templates
from lalia.report.svg import to_svg
from lalia.report.tables import format_number
from lalia.sweep.figures import plot_leaderboard, plot_main_effects
from lalia.sweep.leaderboard import main_effects, spread_of
from lalia.sweep.names import Names
from lalia.sweep.result import SweepResult

# more would make a figure of several pages
_MOST_LINES = 30


def write_page(result: SweepResult, metric: Metric) -> Path:
    """Write ``report.html`` into the folder of a sweep.

    Args:
        result: of the sweep.
        metric: by which its settings are ranked.

    Returns:
        The path of the page.
    """
    templates = open_templates()
    templates.globals["number"] = _number
    path = result.folder / "report.html"
    write_text(path, templates.get_template("sweep.html.jinja").render(_describe(result, metric)))
    return path


def _describe(result: SweepResult, metric: Metric) -> dict[str, Any]:
    standings = result.standings
    shown = standings[:_MOST_LINES]
    names = Names(outcome.varied for outcome in result.outcomes)
    labels = [names.say_briefly(one.varied) for one in shown]
    done = [(outcome, score) for outcome, score in zip(result.outcomes, result.scores, strict=True) if outcome.is_done]
    effects = main_effects([outcome for outcome, _ in done], [score for _, score in done])
    effects["value"] = [
        names.say_value(key, json.loads(value)) for key, value in zip(effects["key"], effects["value"], strict=True)
    ]
    effects["key"] = effects["key"].map(names.say_key)
    title = f"{metric.title}, mean over traits, validation part"
    spread = spread_of(standings)
    return {
        "version": lalia.__version__,
        "name": result.folder.name,
        "metric": metric.title,
        "trials": len(result.outcomes),
        "settings": len(standings),
        "failed": [{"values": names.say(each.varied), "error": each.error} for each in result.failed],
        "rows": [
            {
                "values": names.say(one.varied),
                "mean": one.mean,
                "low": one.low,
                "high": one.high,
                "trials": len(one.outcomes),
                "sd": float(np.std(one.scores, ddof=1)) if len(one.scores) > 1 else float("nan"),
            }
            for one in standings
        ],
        "left_out": len(standings) - len(shown),
        "leaderboard": _draw(
            plot_leaderboard(
                labels,
                [one.mean for one in shown],
                [one.low for one in shown],
                [one.high for one in shown],
                label=title,
            ),
            "leaderboard",
            "What each settings reach, with intervals; the table has the numbers",
        )
        if shown
        else None,
        "effects": effects.to_dict("records"),
        "effects_figure": _draw(
            plot_main_effects(effects.head(_MOST_LINES), label=title),
            "effects",
            "What each value of each setting reaches on average; the table has the numbers",
        )
        if len(effects)
        else None,
        "spread": spread,
        "computed": sum(outcome.computed for outcome in result.outcomes),
    }


def _draw(figure: Any, prefix: str, alternative: str) -> Markup:
    return Markup(to_svg(figure, prefix=prefix, alternative=alternative))


def _number(value: float) -> str:
    return "–" if np.isnan(value) else format_number(value)
