"""The figures of a single trait as they stand on the page."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lalia.report.contents import Contents
from lalia.report.curves import Band, bin_probabilities, coverage_curve, precision_band, roc_band
from lalia.report.figures_agreement import plot_bland_altman
from lalia.report.figures_presence import (
    plot_calibration,
    plot_coverage,
    plot_net_benefit,
    plot_precision_recall,
    plot_roc,
)
from lalia.report.figures_run import plot_confusion, plot_scores
from lalia.report.pictures import Picture, as_estimate, make_picture
from lalia.report.tables import format_interval, format_number, name_metric

Metrics = Mapping[str, Mapping[str, Any]]
_Drawn = Iterator[tuple[str, str, Figure, str, tuple[str, ...]]]

_RATERS = "The green line is what a rater reaches against the others."


def draw_trait(contents: Contents, number: int, trait: str) -> list[Picture]:
    """Draw the figures of a trait in the headline part, those that can be drawn.

    Args:
        contents: of the run.
        number: of the trait, from 0.
        trait: its name.
    """
    slug = re.sub("[^a-z0-9]+", "-", trait.lower()).strip("-")[:40]
    prefix = "-".join(filter(None, ("trait", str(number + 1), slug)))
    metrics = contents.metrics_of("model", "recording", trait)
    raters = contents.metrics_of("raters", "recording", trait) if "raters" in contents.sources else {}
    pictures = []
    for draw in (_draw_scores, _draw_presence, _draw_benefit, _draw_levels, _draw_agreement, _draw_abstention):
        for name, title, figure, how, numbers in draw(contents, trait, metrics, raters):
            said = "; ".join(_say(one, metrics[one]) for one in numbers if one in metrics)
            alternative = f"{title}: {trait}. {said + '. ' if said else ''}{how}"
            pictures.append(make_picture(figure, f"{prefix}-{name}", title, how, alternative))
    return pictures


def _draw_scores(contents: Contents, trait: str, metrics: Metrics, raters: Metrics) -> _Drawn:
    rows = contents.rated(trait)
    answer, label = (
        ("probability", "probability of presence") if contents.is_binary else ("score", "score of the model")
    )
    scored = rows[rows[answer].notna()]
    if not len(scored):
        return
    how = (
        "A dot is a recording; the box holds the middle half of them, the orange line is their median. "
        "Boxes that rise from left to right without overlapping are good."
    )
    if not contents.is_binary:
        how += " On the dashed line scores equal ratings."
    levels = None if contents.is_binary else contents.scale.levels
    index = contents.scale.level_index(scored["rating"])
    figure = plot_scores(index, scored[answer], contents.level_names, label=label, levels=levels)
    yield "scores", "Ratings against scores", figure, how, ("spearman", "pearson", "mae")


def _draw_presence(contents: Contents, trait: str, metrics: Metrics, raters: Metrics) -> _Drawn:
    """Draw what every threshold would do, and whether the probabilities are true."""
    rows = contents.rated(trait)
    rows = rows[rows["probability"].notna()]
    present = np.asarray(contents.scale.is_present(rows["rating"]) == 1)
    if not 0 < present.sum() < len(present):
        return
    given = (present, rows["probability"].to_numpy(), rows["speaker"].to_numpy())
    seed = contents.settings.seed
    human = _pair(raters, "specificity", "sensitivity")
    figure = plot_roc(
        *given[:2],
        operating_point=_pair(metrics, "specificity", "sensitivity"),
        band=roc_band(*given, seed=seed),
        raters=human,
    )
    band = "The orange dot is the threshold in use; 95 % of the curves of drawn speakers lie in the band."
    how = "The closer the line comes to the upper left corner, the better; the dashed line is guessing."
    named = ("auc", "sensitivity", "specificity")
    yield "roc", "ROC curve", figure, _join(how, band, None if human is None else _RATERS), named
    human_precision = raters.get("average_precision", {}).get("value")
    figure = plot_precision_recall(
        *given[:2],
        operating_point=_pair(metrics, "sensitivity", "ppv"),
        band=precision_band(*given, seed=seed),
        raters=human_precision,
    )
    how = (
        "How pure the list is of recordings that are called present, the more of those with the trait it holds. "
        "The dashed line is guessing."
    )
    line = None if human_precision is None else "The green line is the average precision of a rater against the others."
    yield "precision", "Precision and recall", figure, _join(how, band, line), ("average_precision", "ppv")
    figure = plot_calibration(bin_probabilities(*given, seed=seed), given[1], threshold=contents.threshold(trait))
    how = (
        "Recordings in groups of like probability: on the dashed line the trait is as frequent as the model says, "
        "below it the model says too much. Bars are 95 % intervals over speakers, the ticks below single recordings, "
        "the orange line is the threshold in use."
    )
    yield "calibration", "Calibration", figure, how, ("calibration_intercept", "calibration_slope", "brier")


def _draw_benefit(contents: Contents, trait: str, metrics: Metrics, raters: Metrics) -> _Drawn:
    """Draw the decision curve, where metrics.json has it."""
    curve = contents.metrics.get(contents.part, {}).get("decision_curve", {}).get(trait) or {}
    found = {float(at): each for at, each in curve.items() if each["model"]["value"] is not None}
    if not found:
        return
    at = np.array(sorted(found))
    model = [found[each]["model"] for each in at]
    low, high = (np.array([one.get(end) for one in model], dtype=np.float64) for end in ("low", "high"))
    everybody = [found[each]["all"]["value"] for each in at]
    figure = plot_net_benefit(at, [one["value"] for one in model], everybody, band=Band(at, low, high))
    how = (
        "What acting on the model would bring, in hits per recording less false alarms at the price that the threshold "
        "sets. Acting on nobody brings 0; a model below the dashed line is worse than acting on everybody. The shade "
        "is the 95 % interval. Read it where you would act."
    )
    yield "benefit", "Net benefit", figure, how, ()


def _draw_levels(contents: Contents, trait: str, metrics: Metrics, raters: Metrics) -> _Drawn:
    confusion = contents.confusion(trait)
    if confusion is not None:
        how = (
            "Each row is a rating, each column an answer of the model, each number a count of recordings. "
            "Agreement lies on the diagonal; darker is a larger share of the row."
        )
        yield "levels", "Confusion of levels", plot_confusion(*confusion), how, ("qwk", "exact_agreement", "within_one")


def _draw_agreement(contents: Contents, trait: str, metrics: Metrics, raters: Metrics) -> _Drawn:
    rows = contents.rated(trait)
    rows = rows[rows["score"].notna()]
    bias, lower, upper = (as_estimate(metrics.get(name)) for name in ("bias", "lower_limit", "upper_limit"))
    if contents.is_binary or not len(rows) or bias.value is None:
        return
    human = _pair(raters, "lower_limit", "upper_limit")
    figure = plot_bland_altman(rows["rating"], rows["score"], bias=bias, limits=(lower, upper), raters=human)
    how = (
        "How far the score is above (or below) the rating. The orange line is the mean difference, between the dashed "
        "lines lie 95 % of the differences, the shades are their intervals. A slope means that high ratings come out "
        "too low, or the reverse."
    )
    line = None if human is None else "The dotted green lines are the limits of a rater against the others."
    yield "agreement", "Agreement (Bland-Altman)", figure, _join(how, line), ("bias", "lower_limit", "upper_limit")


def _draw_abstention(contents: Contents, trait: str, metrics: Metrics, raters: Metrics) -> _Drawn:
    """Draw how risk grows with coverage, where the settings ask the model to abstain."""
    found = contents.metrics.get(contents.part, {}).get("abstention", {}).get(trait)
    rows, threshold = contents.rated(trait), contents.threshold(trait)
    rows = rows[rows["probability"].notna()]
    if found is None or threshold is None or not len(rows):
        return
    probability = rows["probability"].to_numpy()
    is_wrong = (np.asarray(contents.scale.is_present(rows["rating"])) == 1) != (probability >= threshold)
    speakers = rows["speaker"].to_numpy()
    coverage, risk, band = coverage_curve(is_wrong, probability, threshold, speakers, seed=contents.settings.seed)
    figure = plot_coverage(coverage, risk, band=band, operating_point=_pair(found, "coverage", "risk"))
    how = (
        "How many decisions are wrong, the more recordings are decided, the surest first. A line that rises means that "
        "the model knows when it does not know. The orange dot is the rule in use; 95 % of the curves of drawn "
        "speakers lie in the band."
    )
    yield "coverage", "Coverage and risk", figure, how, ()


def _pair(metrics: Metrics, first: str, second: str) -> tuple[float, float] | None:
    """Return the values of two metrics where both are defined."""
    one, other = (metrics.get(name, {}).get("value") for name in (first, second))
    return None if one is None or other is None else (one, other)


def _say(name: str, metric: Mapping[str, Any]) -> str:
    if metric["value"] is None:
        return f"{name_metric(name)} undefined"
    between = format_interval(metric)
    return f"{name_metric(name)} {format_number(metric['value'])}{f' ({between})' if between else ''}"


def _join(*sentences: str | None) -> str:
    return " ".join(filter(None, sentences))
