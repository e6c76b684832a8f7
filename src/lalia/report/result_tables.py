"""The tables of what stands around a result: chance, reliability, tasks, groups, confounds, abstention, other runs."""

from typing import Any

from lalia.report.contents import Contents
from lalia.report.tables import (
    HEADLINE,
    MEAN,
    Cell,
    Group,
    Row,
    Table,
    format_interval,
    format_number,
    format_p,
    name_metric,
    name_source,
    read_cell,
    read_cells,
)

_CHANCE = ("auc", "spearman")
_RELIABILITY = {
    "krippendorff_alpha": "Krippendorff's alpha",
    "pairwise_qwk": "quadratic kappa of pairs",
    "icc_a1": "ICC of one rater",
    "icc_ak": "ICC of their mean",
    "intra_rater_qwk": "kappa of a rater's repeats",
    "intra_rater_icc": "ICC of a rater's repeats",
}
_SPECTRUM = "acoustic"
_GROUP_METRICS = ("auc", "balanced_accuracy", "spearman", "mae")
_RISKS = {"coverage": "decided", "risk": "wrong among them", "risk_without": "wrong if all were decided"}


def build_chance(contents: Contents) -> Table:
    """Return the metrics of speakers beside what dealing the ratings out at random gives, a row per trait."""
    tree = contents.metrics.get(contents.part, {}).get("chance") or {}
    notes: list[str] = []
    rows = []
    for trait in contents.traits:
        cells: list[Cell] = []
        for metric in _CHANCE:
            found = tree.get(trait, {}).get(metric)
            if found is not None and found.get("value") is not None:
                by_chance = f"{format_number(found['low'])} to {format_number(found['high'])}"
                cells += [Cell(format_number(found["value"])), Cell(by_chance), Cell(format_p(found.get("p")))]
            else:
                cells += [read_cell(found, notes), Cell(), Cell()]
        if trait in tree:
            rows.append(Row(trait, cells))
    columns = [text for metric in _CHANCE for text in (name_metric(metric), f"{name_metric(metric)} by chance", "p")]
    return Table(columns, _one_group(rows), notes)


def build_over_folds(contents: Contents) -> Table:
    """Return the mean of each headline metric over folds, its standard deviation and range: a group per trait."""
    tree = (contents.metrics.get(contents.part, {}).get("over_folds") or {}).get("recording") or {}
    notes: list[str] = []
    groups = []
    for trait in (None, *contents.traits):
        found = tree.get("macro") if trait is None else tree.get("traits", {}).get(trait)
        if found:
            metrics = [found.get(name) or {} for name in HEADLINE]
            rows = [
                Row("mean over folds", read_cells(found, HEADLINE, notes)),
                Row("standard deviation", [Cell(_format_known(each.get("sd"))) for each in metrics]),
                Row("lowest to highest", [Cell(format_interval(each, "lowest", "highest")) for each in metrics]),
            ]
            groups.append(Group(MEAN if trait is None else trait, rows))
    return Table([name_metric(name) for name in HEADLINE], groups, notes)


def build_folds(contents: Contents) -> Table:
    """Return what each fold came to: whom it was tested on, its best epoch, what was chosen in it, its numbers."""
    trees = contents.metrics.get(contents.part, {}).get("folds") or {}
    notes: list[str] = []
    rows = []
    for fold in contents.folds:
        macro = trees.get(str(fold["fold"]), {}).get("recording", {}).get("macro") or {}
        tested = contents.predictions[contents.predictions["fold"].astype(int) == fold["fold"]]
        counts = [Cell(str(tested[name].nunique())) for name in ("recording", "speaker")]
        chosen = ", ".join(f"{key}: {value}" for key, value in fold["chosen"].items())
        found = [Cell("–" if fold["best_epoch"] is None else str(fold["best_epoch"])), Cell(chosen)]
        rows.append(Row(f"fold {fold['fold']}", [*counts, *found, *read_cells(macro, HEADLINE, notes)]))
    columns = ["recordings", "speakers", "best epoch", "chosen", *map(name_metric, HEADLINE)]
    if not any(fold["chosen"] for fold in contents.folds):
        columns.remove("chosen")
        rows = [Row(row.label, [*row.cells[:3], *row.cells[4:]]) for row in rows]
    return Table(columns, _one_group(rows), notes)


def build_reliability(contents: Contents) -> Table:
    """Return how well the raters agree, a row per trait."""
    tree = contents.metrics.get(contents.part, {}).get("reliability") or {}
    notes: list[str] = []
    names = [name for name in _RELIABILITY if any(name in found for found in tree.values())]
    rows = [Row(trait, read_cells(tree[trait], names, notes)) for trait in contents.traits if trait in tree]
    return Table([_RELIABILITY[name] for name in names], _one_group(rows), notes)


def build_thresholds(contents: Contents, trait: str) -> Table:
    """Return how true the probability of reaching each level is: a row per level of the scale but the first."""
    tree = contents.metrics.get(contents.part, {}).get("recording", {}).get("thresholds") or {}
    notes: list[str] = []
    found = {level: each["traits"][trait] for level, each in tree.items() if trait in each.get("traits", {})}
    names = list(dict.fromkeys(name for metrics in found.values() for name in metrics if name != "counts"))
    rows = [Row(f"{level} or above", read_cells(metrics, names, notes)) for level, metrics in found.items()]
    return Table([name_metric(name) for name in names], _one_group(rows), notes)


def build_tasks(contents: Contents) -> Table:
    """Return the headline metrics of the recordings of each speech task: a group per trait, the mean first."""
    tasks = contents.metrics.get(contents.part, {}).get("tasks") or {}
    notes: list[str] = []
    groups = []
    for trait in (None, *contents.traits):
        rows = []
        for task, tree in tasks.items():
            branch = tree.get("recording") or {}
            metrics = branch.get("macro") if trait is None else (branch.get("traits") or {}).get(trait)
            if metrics:
                rows.append(Row(task, read_cells(metrics, HEADLINE, notes)))
        if rows:
            groups.append(Group(MEAN if trait is None else trait, rows))
    return Table([name_metric(metric) for metric in HEADLINE], groups, notes)


def build_groups(contents: Contents) -> Table:
    """Return the mean of the traits in each group of speakers: a group of rows per attribute."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in contents.groups:
        if row["part"] == contents.part:
            group = found.setdefault(str(row["attribute"]), {}).setdefault(str(row["group"]), {})
            if row.get("trait") == "macro":
                group[row["metric"]] = row
            elif not row.get("trait"):
                group["reason"] = row.get("reason") or "not shown"
    notes: list[str] = []
    groups = []
    for attribute, of_attribute in found.items():
        rows = []
        for name, metrics in of_attribute.items():
            if "reason" in metrics:
                hidden = read_cell({"value": None, "reason": metrics["reason"]}, notes)
                rows.append(Row(name, [hidden, *[Cell()] * (len(_GROUP_METRICS) + 1)]))
            elif metrics:
                first = next(iter(metrics.values()))
                counts = [Cell(f"{first['speakers']:g}"), Cell(f"{first['recordings']:g}")]
                rows.append(Row(name, [*counts, *read_cells(metrics, _GROUP_METRICS, notes)]))
        groups.append(Group(attribute, rows))
    return Table(["speakers", "recordings", *map(name_metric, _GROUP_METRICS)], groups, notes)


def build_confounds(contents: Contents) -> Table:
    """Return the model beside the best that hears no speech and beside the average spectrum: a group per metric."""
    notes: list[str] = []
    groups = []
    deaf = [source for source in contents.sources if source not in ("model", "raters", _SPECTRUM)]
    for metric in _CHANCE:
        rows = []
        for trait in (None, *contents.traits):
            found = {one: contents.metrics_of(one, "recording", trait).get(metric) for one in contents.sources}
            known = {one: each for one in deaf if (each := found[one]) is not None and each["value"] is not None}
            if found["model"] is not None and known:
                best = max(known, key=lambda one: float(known[one]["value"]))
                cells = [read_cell(found["model"], notes), read_cell(known[best], notes), Cell(name_source(best))]
                spectrum = read_cell(found.get(_SPECTRUM), notes)
                rows.append(Row(MEAN if trait is None else trait, [*cells, spectrum]))
        if rows:
            groups.append(Group(name_metric(metric), rows))
    return Table(["model", "best without listening", "which", name_source(_SPECTRUM)], groups, notes)


def build_probes(contents: Contents) -> Table:
    """Return what each nuisance variable alone predicts of each trait in all data, as an audit found it."""
    notes: list[str] = []
    groups = []
    for name, tree in (contents.audit.get("confounds") or {}).items():
        rows = [
            Row(MEAN if trait == "macro" else trait, read_cells(metrics, _CHANCE, notes))
            for trait, metrics in tree.items()
        ]
        groups.append(Group("all of them together" if name == "all" else name, rows))
    return Table([name_metric(metric) for metric in _CHANCE], groups, notes)


def build_learning_curve(contents: Contents) -> Table:
    """Return what more speakers would bring, as an audit found it: a row per number of speakers."""
    notes: list[str] = []
    curve = contents.audit.get("learning_curve") or {}
    rows = [Row(f"{size} speakers", read_cells(tree.get("macro", {}), _CHANCE, notes)) for size, tree in curve.items()]
    return Table([name_metric(metric) for metric in _CHANCE], _one_group(rows), notes)


def build_abstention(contents: Contents) -> Table:
    """Return how many recordings are decided and how many of these wrongly, and between which probabilities not."""
    tree = contents.metrics.get(contents.part, {}).get("abstention") or {}
    notes: list[str] = []
    rows = []
    rules = contents.manifest.get("decisions") or {}
    for trait in contents.traits:
        if trait in tree:
            rule = (rules.get(trait, {}).get("abstention") or {}).get("value")
            limits = [Cell(format_number(rule[key]) if rule else "") for key in ("absent_to", "present_from")]
            rows.append(Row(trait, [*read_cells(tree[trait], tuple(_RISKS), notes), *limits]))
    return Table([*_RISKS.values(), "absent up to", "present from"], _one_group(rows), notes)


def build_compared(contents: Contents) -> Table:
    """Return how other runs differ from the first one: a group per pair and unit, a row per trait and metric."""
    notes: list[str] = []
    groups: dict[str, list[Row]] = {}
    for row in contents.compared.get("differences") or []:
        name = f"{row['second_run']} compared with {row['first_run']}, per {row['unit']}"
        trait = MEAN if row["trait"] == "macro" else row["trait"]
        values = [{"value": row.get(key), "reason": "undefined in one of the runs"} for key in ("first", "second")]
        difference = {"value": row.get("difference"), "low": row.get("low"), "high": row.get("high")}
        difference["reason"] = "undefined in one of the runs"
        cells = [read_cell(metric, notes) for metric in (*values, difference)]
        cells += [Cell(format_p(row.get(key))) for key in ("p", "p_holm")]
        groups.setdefault(name, []).append(Row(f"{trait}, {name_metric(row['metric'])}", cells))
    columns = ["first run", "second run", "difference", "p", "p after Holm"]
    return Table(columns, [Group(name, rows) for name, rows in groups.items()], notes)


def _format_known(value: float | None) -> str:
    return "" if value is None else format_number(value)


def _one_group(rows: list[Row]) -> list[Group]:
    return [Group("", rows)] if rows else []
