"""The figures of a run as they stand on the page: each with a title and a sentence that says how to read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from lalia.report import figures
from lalia.report.contents import Contents
from lalia.report.figures import Comparison, Estimate
from lalia.report.figures_agreement import plot_groups, plot_levels
from lalia.report.svg import embed_svg, render_svg
from lalia.report.tables import MEAN, format_interval, format_number, name_metric

# what the axis of the dot plot spans at least, and where guessing stands
_AXES = {"auc": ((0.4, 1.0), 0.5), "spearman": ((-0.1, 1.0), 0.0)}


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure on the page and in files.

    Attributes:
        name: of the files, and what the ids in the page begin with.
        figure: as matplotlib has it.
        title: of the figure.
        how: a sentence that says how to read it.
        alternative: the text for those who do not see it.
    """

    name: str
    figure: Figure
    title: str
    how: str
    alternative: str

    @cached_property
    def document(self) -> str:
        """The figure as an SVG document of its own."""
        return render_svg(self.figure, salt=self.name)

    @cached_property
    def svg(self) -> Markup:
        """The figure as an element of the page."""
        # every character in it is escaped by the XML writer
        return Markup(embed_svg(self.document, prefix=self.name, alternative=self.alternative))


def draw_headline(contents: Contents, unit: str) -> list[Picture]:
    """Draw the model beside the duration baseline and the raters, a picture per metric that has a value."""
    pictures = []
    for metric, (limits, chance) in _AXES.items():
        rows = []
        for trait in (None, *contents.traits):
            found = {source: contents.metrics_of(source, unit, trait).get(metric) for source in contents.sources}
            estimates = [as_estimate(found.get(source)) for source in ("model", "duration", "raters", "demographics")]
            rows.append(Comparison(MEAN if trait is None else trait, *estimates))
        drawn = [value for row in rows for value in (*row.model, *(other.value for other in row[2:]))]
        values = [value for value in drawn if value is not None]
        if not values:
            continue
        lowest = min(limits[0], np.floor(min(values) * 10) / 10)
        title = f"{name_metric(metric)} per trait, per {unit}"
        figure = figures.plot_headline(rows, label=name_metric(metric), limits=(lowest, limits[1]), chance=chance)
        how = (
            "Farther to the right is better; the dashed line is guessing. The blue bar is the interval of the model: "
            "where it reaches an orange diamond, the model may know no more than how long the recording is, at a "
            "purple triangle no more than the covariates. The green line is what a rater reaches."
        )
        alternative = f"{title}. " + "; ".join(_say(row) for row in rows)
        pictures.append(make_picture(figure, f"headline-{unit}-{metric}", title, how, alternative))
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
        pictures.append(make_picture(figure, "loss", "Loss", how))
    metric = _validation_metric(contents)
    if metric:
        name = name_metric(metric.removeprefix("validation_"))
        how = f"{name} on the validation part after each epoch, the mean of all traits; the dashed line was kept."
        figure = figures.plot_history(history, {metric: name}, label=name, best_epoch=best)
        pictures.append(make_picture(figure, "validation", f"{name} in validation", how))
    rates = _columns(contents, {"learning_rate": "head", "encoder_learning_rate": "encoder"})
    rates = {column: name for column, name in rates.items() if (history[column] > 0).any()}
    if rates:
        how = "How large the steps of the training were at the end of each epoch; a rate of 0 is not drawn."
        figure = figures.plot_history(history, rates, label="learning rate", logarithmic=True)
        pictures.append(make_picture(figure, "rates", "Learning rates", how))
    return pictures


def draw_levels(contents: Contents) -> list[Picture]:
    """Draw how many recordings of each part are at each level of each trait."""
    counts = {}
    for trait in contents.traits:
        for part, counted in contents.manifest["flow"]["parts"].items():
            by_level = {float(level): count for level, count in counted["ratings"].get(trait, {}).items()}
            if by_level:
                counts[f"{trait}, {part}"] = [by_level.get(level, 0) for level in contents.scale.levels]
    if not counts:
        return []
    how = "A bar is a trait in a part; the darker a piece, the higher the level. Each part should have every shade."
    figure = plot_levels(counts, contents.level_names)
    said = "; ".join(f"{name}: {', '.join(map(str, row))}" for name, row in counts.items())
    title = "Ratings per level and part"
    return [make_picture(figure, "levels", title, how, f"{title}. Levels {', '.join(contents.level_names)}. {said}")]


def draw_groups(contents: Contents) -> list[Picture]:
    """Draw the metric of the headline in each group of speakers that is shown; nothing where there is none."""
    pictures = []
    for metric, (limits, _) in _AXES.items():
        rows = [
            (f"{row['attribute']}: {row['group']} ({row['speakers']:g} speakers)", as_estimate(row))
            for row in contents.groups
            if row["part"] == contents.part and row.get("trait") == "macro" and row.get("metric") == metric
        ]
        values = [value for _, estimate in rows for value in estimate if value is not None]
        if not values:
            continue
        whole = contents.metrics_of("model", "recording", None).get(metric, {}).get("value")
        lowest = min(limits[0], np.floor(min(values) * 10) / 10)
        name = name_metric(metric)
        figure = plot_groups(rows, label=name, whole=whole, limits=(lowest, limits[1]))
        how = "The dashed line is the whole part. Groups differ by chance too, most where a bar is long."
        said = "; ".join(f"{label} {format_number(one.value)}" for label, one in rows if one.value is not None)
        pictures.append(make_picture(figure, f"groups-{metric}", f"{name} by group", how, f"{name} by group. {said}"))
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
    return [make_picture(figures.plot_layer_weights(weights), "layer-mix", "Depths in the layer mix", how)]


def make_picture(figure: Figure, name: str, title: str, how: str, alternative: str | None = None) -> Picture:
    """Return a picture whose text for those who do not see it is its title and how to read it, or what is given."""
    return Picture(name, figure, title, how, alternative or f"{title}. {how}")


def as_estimate(metric: Mapping[str, Any] | None) -> Estimate:
    """Return a metric of metrics.json as figures take it."""
    if metric is None:
        return Estimate(None)
    return Estimate(metric["value"], metric.get("low"), metric.get("high"))


def _say(row: Comparison) -> str:
    said = []
    names = ("model", "duration alone", "between raters", "covariates alone")
    for name, estimate in zip(names, row[1:], strict=True):
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
