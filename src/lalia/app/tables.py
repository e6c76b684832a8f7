"""What the app shows of scores: a table as HTML, and what could not be rated."""

import math
from collections.abc import Hashable, Mapping

import pandas as pd
from markupsafe import Markup, escape

from lalia.scale import Scale


def show_scores(scores: pd.DataFrame, scale: Scale) -> str:
    """Return the scores of one recording as an HTML table, a row per trait.

    Args:
        scores: rows of ``Rated.scores``.
        scale: which the levels and scores are of.
    """
    rows = [_row(row, scale) for row in scores.to_dict("records")]
    levels = f"{scale.levels[0]:g} to {scale.levels[-1]:g}"
    head = (
        "<thead><tr><th scope='col'>Trait</th>"
        f"<th scope='col'>Level ({levels})</th><th scope='col'>Score</th><th scope='col'></th>"
        "<th scope='col'>Decision</th><th scope='col'>Probability of presence</th>"
        "<th scope='col'>Uncertainty (bits)</th></tr></thead>"
    )
    return f"<table class='scores'>{head}<tbody>{''.join(rows)}</tbody></table>"


def show_problems(problems: Mapping[str, str]) -> str:
    """Return what is wrong with files as HTML, empty where nothing is."""
    lines = [Markup("<li><strong>{}</strong> {}.</li>").format(name, text) for name, text in problems.items()]
    return f"<div class='problems' role='alert'><p>Not rated:</p><ul>{''.join(lines)}</ul></div>" if lines else ""


def uncertainty(probability: float) -> float:
    """Return the entropy of a decision between presence and absence, from 0 (certain) to 1 bit (a coin).

    Example:
        >>> uncertainty(0.5), uncertainty(1.0)
        (1.0, 0.0)
    """
    return 0.0 - sum(p * math.log2(p) for p in (probability, 1 - probability) if p > 0)


def _row(row: Mapping[Hashable, object], scale: Scale) -> str:
    score, level, probability = (float(str(row[key])) for key in ("score", "level", "probability"))
    # the score of a binary head is the probability, on no scale of levels
    is_on_scale = level == level
    low, high = (scale.levels[0], scale.levels[-1]) if is_on_scale else (0.0, 1.0)
    share = min(max((score - low) / (high - low), 0.0), 1.0)
    meter = f"<div class='meter' aria-hidden='true'><div style='width:{100 * share:.0f}%'></div></div>"
    return (
        f"<tr><th scope='row'>{escape(row['trait'])}</th>"
        f"<td>{f'{level:g}' if is_on_scale else '–'}</td><td>{score:.2f}</td><td>{meter}</td>"
        f"<td>{escape(row['decision'])}</td><td>{probability:.2f}</td><td>{uncertainty(probability):.2f}</td></tr>"
    )
