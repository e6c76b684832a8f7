"""The tables of the report: metrics as cells with their interval, and why a value is undefined as numbered notes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lalia.measures.metrics import ALL_METRICS
from lalia.report.contents import Contents

HEADLINE = ("auc", "spearman", "pearson", "mae", "qwk", "balanced_accuracy")
UNITS = ("recording", "speaker")
MEAN = "mean of all traits"
_TITLES = {metric.name: metric.title for metric in ALL_METRICS}
_SOURCES = {
    "model": "model",
    "duration": "duration alone",
    "majority": "most frequent answer",
    "mean": "mean answer",
    "demographics": "covariates alone",
    "acoustic": "average spectrum",
    "raters": "between raters",
}


class Cell(NamedTuple):
    """A value as shown: with its interval, or a dash with the number of the note that says why; else empty."""

    value: str = ""
    interval: str = ""
    note: int = 0


class Row(NamedTuple):
    """A row: its heading and its cells."""

    label: str
    cells: list[Cell]


class Group(NamedTuple):
    """Rows that belong together."""

    label: str
    rows: list[Row]


class Table(NamedTuple):
    """A table: column headings, groups of rows, and the notes that cells refer to, from 1."""

    columns: list[str]
    groups: list[Group]
    notes: list[str]


def build_headline(contents: Contents, unit: str) -> Table:
    """Return the headline metrics: a group per trait, the mean of all first; a row per source."""
    notes: list[str] = []
    groups = []
    for trait in (None, *contents.traits):
        rows = []
        for source in contents.sources:
            metrics = contents.metrics_of(source, unit, trait)
            if metrics:
                rows.append(Row(name_source(source), read_cells(metrics, HEADLINE, notes)))
        if rows:
            groups.append(Group(MEAN if trait is None else trait, rows))
    return Table([name_metric(metric) for metric in HEADLINE], groups, notes)


def build_trait(contents: Contents, trait: str) -> Table:
    """Return all metrics of a trait: a group per unit, a row per metric, a column per source.

    Beside the model stands its BCa interval where it has one.
    """
    notes: list[str] = []
    groups = []
    sources = contents.sources
    has_bca = any(
        "bca_low" in metric for unit in UNITS for metric in contents.metrics_of("model", unit, trait).values()
    )
    for unit in UNITS:
        found = {source: contents.metrics_of(source, unit, trait) for source in sources}
        names = _in_order({name for metrics in found.values() for name in metrics})
        rows = []
        for name in names:
            cells = [read_cell(metrics.get(name), notes) for metrics in found.values()]
            if has_bca:
                cells.insert(1, Cell(format_interval(found["model"].get(name, {}), "bca_low", "bca_high")))
            n = next((metrics[name].get("n") for metrics in found.values() if name in metrics), None)
            rows.append(Row(name_metric(name), [*cells, Cell("" if n is None else str(n))]))
        if rows:
            groups.append(Group(f"per {unit}", rows))
    columns = [name_source(source) for source in sources]
    if has_bca:
        columns.insert(1, "model, BCa interval")
    return Table([*columns, "n"], groups, notes)


def build_levels(contents: Contents) -> Table:
    """Return how many recordings of each part stand at each level, and how many have no rating."""
    groups = []
    for part, counted in contents.manifest["flow"]["parts"].items():
        rows = []
        for trait in contents.traits:
            by_level = {float(level): count for level, count in counted["ratings"].get(trait, {}).items()}
            counts = [by_level.get(level, 0) for level in contents.scale.levels]
            rows.append(Row(trait, [Cell(str(count)) for count in (*counts, counted["recordings"] - sum(counts))]))
        if counted["recordings"]:
            groups.append(Group(part, rows))
    return Table([*contents.level_names, "not rated"], groups, [])


def name_metric(name: str) -> str:
    """Return the title of a metric."""
    return _TITLES.get(name, name.replace("_", " "))


def name_source(source: str) -> str:
    """Return what a row of metrics is about."""
    return _SOURCES.get(source, source.replace("_", " "))


def format_number(value: float) -> str:
    """Write a number with two decimals and a true minus sign.

    Example:
        >>> format_number(-0.123), format_number(-0.001)
        ('−0.12', '0.00')
    """
    return f"{value:z.2f}".replace("-", "−")


def format_interval(metric: Mapping[str, Any], lower: str = "low", upper: str = "high") -> str:
    """Write the interval of a metric, nothing where it has none."""
    low, high = metric.get(lower), metric.get(upper)
    return "" if low is None or high is None else f"{format_number(low)} to {format_number(high)}"


def format_p(p: float | None) -> str:
    """Write a p-value with three decimals.

    Example:
        >>> format_p(0.0444), format_p(0.0001), format_p(None)
        ('0.044', '< 0.001', '–')
    """
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def read_cells(metrics: Mapping[str, Mapping[str, Any]], names: Sequence[str], notes: list[str]) -> list[Cell]:
    """Return a cell per metric; see ``read_cell``."""
    return [read_cell(metrics.get(name), notes) for name in names]


def read_cell(metric: Mapping[str, Any] | None, notes: list[str]) -> Cell:
    """Return a metric as a cell; why it is undefined becomes a note."""
    if metric is None:
        return Cell()
    if metric.get("value") is not None:
        return Cell(format_number(metric["value"]), format_interval(metric))
    reason = metric.get("reason") or "undefined"
    if reason not in notes:
        notes.append(reason)
    return Cell("–", note=notes.index(reason) + 1)


def _in_order(names: set[str]) -> list[str]:
    known = [name for name in _TITLES if name in names]
    return known + sorted(names - set(known))
