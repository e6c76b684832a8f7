"""The figures of a run as they stand on the page: SVG, a title, and a sentence that says how to read it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from lalia.report import figures
from lalia.report.contents import Contents
from lalia.report.figures import Comparison, Estimate
from lalia.report.svg import to_svg
from lalia.report.tables import MEAN, format_interval, format_number, name_metric

# what the axis of the dot plot spans at least, and where guessing stands
_AXES = {"auc": ((0.4, 1.0), 0.5), "spearman": ((-0.1, 1.0), 0.0)}


class Picture(NamedTuple):
    """A figure on the page."""

    svg: Markup
    title: str
    how: str


def draw_headline(contents: Contents, unit: str) -> list[Picture]:
    """Draw the model beside the duration baseline and the raters, a picture per metric that has a value."""
    pictures = []
    for metric, (limits, chance) in _AXES.items():
        rows = []
        for trait in (None, *contents.traits):
            found = {source: contents.metrics_of(source, unit, trait).get(metric) for source in contents.sources}
            estimates = [_estimate(found.get(source)) for source in ("model", "duration", "raters")]
            rows.append(Comparison(MEAN if trait is None else trait, *estimates))
        drawn = [value for row in rows for value in (*row.model, row.duration.value, row.raters.value)]
        values = [value for value in drawn if value is not None]
        if not values:
            continue
        lowest = min(limits[0], np.floor(min(values) * 10) / 10)
        title = f"{name_metric(metric)} per trait, per {unit}"
        figure = figures.plot_headline(rows, label=name_metric(metric), limits=(lowest, limits[1]), chance=chance)
        how = (
            "Farther to the right is better; the dashed line is guessing. The blue bar is the interval of the model: "
            "where it reaches an orange diamond, the model may know no more than how long the recording is."
        )
        alternative = f"{title}. " + "; ".join(_say(row) for row in rows)
        pictures.append(_picture(figure, f"headline-{unit}-{metric}", title, how, alternative))
    return pictures


def draw_training(contents: Contents) -> list[Picture]:
    """Draw the losses, the validation metric and the learning rates over the epochs; nothing without an epoch."""
    history, best = contents.history, contents.manifest.get("best_epoch")
    if not len(history):
        return []
    pictures = []
    losses = _columns(contents, {"train_loss": "training", "validation_loss": "validation"})
    if losses:
        how = (
            "Both lines should fall. Where validation rises while training falls, the model learns its training "
            "recordings by heart; the dashed line is the epoch that was kept."
        )
        figure = figures.plot_history(history, losses, label="loss", best_epoch=best)
        pictures.append(_picture(figure, "loss", "Loss", how))
    metric = _validation_metric(contents)
    if metric:
        name = name_metric(metric.removeprefix("validation_"))
        how = f"{name} on the validation part after each epoch, the mean of all traits; the dashed line was kept."
        figure = figures.plot_history(history, {metric: name}, label=name, best_epoch=best)
        pictures.append(_picture(figure, "validation", f"{name} in validation", how))
    rates = _columns(contents, {"learning_rate": "head", "encoder_learning_rate": "encoder"})
    rates = {column: name for column, name in rates.items() if (history[column] > 0).any()}
    if rates:
        how = "How large the steps of the training were at the end of each epoch; a rate of 0 is not drawn."
        figure = figures.plot_history(history, rates, label="learning rate", logarithmic=True)
        pictures.append(_picture(figure, "rates", "Learning rates", how))
    return pictures


def draw_trait(contents: Contents, number: int, trait: str) -> list[Picture]:
    """Draw scores at each rating, the ROC curve and the confusion of levels, those that can be drawn."""
    prefix = f"trait-{number}"
    rows = contents.rated(trait)
    pictures = []
    answer, name = ("probability", "probability of presence") if contents.is_binary else ("score", "score of the model")
    scored = rows[rows[answer].notna()]
    if len(scored):
        figure = figures.plot_scores(
            contents.scale.level_index(scored["rating"]), scored[answer], contents.level_names, label=name
        )
        how = (
            "A dot is a recording; the box holds the middle half of them, the orange line is their median. "
            "Boxes that rise from left to right without overlapping are good."
        )
        pictures.append(
            _picture(
                figure, f"{prefix}-scores", "Ratings against scores", how, f"Ratings against scores: {trait}. {how}"
            )
        )
    ranked = rows[rows["probability"].notna()]
    present = contents.scale.is_present(ranked["rating"]) == 1
    if 0 < present.sum() < len(present):
        figure = figures.plot_roc(present, ranked["probability"], operating_point=_operating_point(contents, trait))
        how = (
            "The closer the line comes to the upper left corner, the better; the dashed line is guessing. "
            "The orange dot is the threshold in use."
        )
        pictures.append(_picture(figure, f"{prefix}-roc", "ROC curve", how, f"ROC curve: {trait}. {how}"))
    confusion = contents.confusion(trait)
    if confusion is not None:
        figure = figures.plot_confusion(*confusion)
        how = (
            "Each row is a rating, each column an answer of the model, each number a count of recordings. "
            "Agreement lies on the diagonal; darker is a larger share of the row."
        )
        pictures.append(
            _picture(figure, f"{prefix}-levels", "Confusion of levels", how, f"Confusion of levels: {trait}. {how}")
        )
    return pictures


def draw_layer_mix(contents: Contents) -> list[Picture]:
    """Draw the weights of the layer mix; nothing where there is none."""
    weights = contents.manifest.get("layer_weights")
    if not weights:
        return []
    how = (
        "How much each depth of the encoder counts in the mix, 0 being the one below the first block; "
        "the dashed line is an equal share. A large weight does not prove that the depth matters most."
    )
    return [_picture(figures.plot_layer_weights(weights), "layer-mix", "Depths in the layer mix", how)]


def _picture(figure: Figure, prefix: str, title: str, how: str, alternative: str | None = None) -> Picture:
    # every character in it is escaped by the XML writer
    svg = Markup(to_svg(figure, prefix=prefix, alternative=alternative or f"{title}. {how}"))
    return Picture(svg, title, how)


def _estimate(metric: Mapping[str, Any] | None) -> Estimate:
    if metric is None:
        return Estimate(None)
    return Estimate(metric["value"], metric.get("low"), metric.get("high"))


def _say(row: Comparison) -> str:
    said = []
    names = ("model", "duration alone", "between raters")
    for name, estimate in zip(names, (row.model, row.duration, row.raters), strict=True):
        if estimate.value is not None:
            between = format_interval(estimate._asdict()) if name == "model" else ""
            said.append(f"{name} {format_number(estimate.value)}{f' ({between})' if between else ''}")
    return f"{row.label}: {', '.join(said) or 'undefined'}"


def _columns(contents: Contents, names: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of the history that are there and not empty."""
    history = contents.history
    return {
        column: name for column, name in names.items() if column in history.columns and history[column].notna().any()
    }


def _validation_metric(contents: Contents) -> str | None:
    """Return the column of the metric that chose the epoch, or else AUC, or else the first that is there."""
    early = contents.settings.train.early_stopping
    watched = [f"validation_{early.metric}"] if early and early.metric != "loss" else []
    others = [name for name in contents.history.columns if name.startswith("validation_") and name != "validation_loss"]
    found = _columns(contents, {name: name for name in (*watched, "validation_auc", *others)})
    return next(iter(found), None)


def _operating_point(contents: Contents, trait: str) -> tuple[float, float] | None:
    """Return specificity and sensitivity at the threshold in use."""
    metrics = contents.metrics_of("model", "recording", trait)
    specificity, sensitivity = (metrics.get(name, {}).get("value") for name in ("specificity", "sensitivity"))
    return None if specificity is None or sensitivity is None else (specificity, sensitivity)
