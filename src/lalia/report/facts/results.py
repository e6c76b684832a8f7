"""What a run knows of its results: performance, intervals, groups, failures."""

from collections.abc import Iterator, Sequence
from typing import Any

from lalia.report.contents import Contents
from lalia.report.facts.fact import Fact, FactOf, count_speakers, has_test, join
from lalia.report.tables import HEADLINE, UNITS, format_interval, format_number, name_metric, name_source
from lalia.settings import ColumnSplit, FileSplit

_METRICS = "metrics.json"
_DIAGNOSTIC = ("auc", "sensitivity", "specificity", "balanced_accuracy")


def measures(contents: Contents) -> Fact:
    """Which measures and plots there are, and what they stand beside."""
    names = _names(contents)
    if not names:
        return Fact("there is no measure of performance", "failed", _METRICS)
    beside = [name_source(source) for source in contents.sources if source != "model"]
    said = [
        f"{', '.join(name_metric(name) for name in names)}, per recording and per speaker",
        f"beside the model: {', '.join(beside) or 'nothing'}",
        "plots: training curves, scores by rating, ROC and precision-recall curves, calibration, agreement, levels",
    ]
    return Fact("; ".join(said), "known", _METRICS)


def complete_measures(contents: Contents) -> Fact:
    """Whether there is discrimination, calibration and net benefit, and all of it is defined."""
    names = _names(contents)
    kinds = {
        "discrimination": [name for name in names if name == "auc"],
        "calibration": [name for name in names if "calibration" in name],
        "net benefit": [name for name in names if "net_benefit" in name],
    }
    lacking = [kind for kind, found in kinds.items() if not found]
    said = [f"{kind}: {', '.join(map(name_metric, found)) or 'not measured'}" for kind, found in kinds.items()]
    problems = _undefined(contents, [name for found in kinds.values() for name in found])
    if problems or {"discrimination", "calibration"} & set(lacking):
        return Fact("; ".join([*problems, *said]), "failed", _METRICS)
    return Fact("; ".join(said), "part" if lacking else "known", _METRICS)


def performance(contents: Contents) -> Fact:
    """The headline numbers, per recording and per speaker."""
    shown = [f"per {unit}, mean of the traits: {_show(contents, unit, None, HEADLINE)}" for unit in UNITS]
    problems = _problems(contents, HEADLINE)
    return Fact("; ".join([*problems, f"{contents.part} part", *shown]), "failed" if problems else "known", _METRICS)


def performance_with_groups(contents: Contents) -> Fact:
    """The same, with that of groups of speakers."""
    found, by_group = performance(contents), _show_groups(contents)
    state = "part" if found.state == "known" and by_group is None else found.state
    said = f"{found.value}; by group: {by_group or 'not looked at'}"
    return Fact(said, state, f"{_METRICS}{', audit/subgroups.json' if by_group else ''}")


def diagnostic(contents: Contents) -> Fact:
    """How well presence is told from absence, per trait."""
    shown = [f"{trait}: {_show(contents, 'recording', trait, _DIAGNOSTIC)}" for trait in contents.traits]
    problems = _problems(contents, _DIAGNOSTIC)
    said = "; ".join([*problems, f"{contents.part} part", join(shown)])
    return Fact(said, "failed" if problems else "known", _METRICS)


def uncertainty(contents: Contents) -> Fact:
    """Which intervals there are."""
    values = [metric for _, metric in _all_metrics(contents, _names(contents)) if metric["value"] is not None]
    n = sum(metric.get("low") is not None for metric in values)
    if not n:
        return Fact("no number has an interval", "failed", _METRICS)
    said = "95 % intervals from speakers drawn again with replacement (percentiles)"
    chance = _beyond_chance(contents) or "no test of significance"
    return Fact(f"{said}; {n} of {len(values)} values have one; {chance}", "known", _METRICS)


def _beyond_chance(contents: Contents) -> str | None:
    """Say in how many traits the model ranks speakers better than dealing out the ratings anew does."""
    tree = contents.metrics.get(contents.part, {}).get("chance") or {}
    said = []
    for name in ("auc", "spearman"):
        p = [found[name]["p"] for found in tree.values() if (found.get(name) or {}).get("p") is not None]
        if p:
            said.append(f"{name_metric(name)} of {sum(one <= 0.05 for one in p)} of {len(p)} traits")
    return f"beyond chance (p of 0.05 or less, ratings dealt out to speakers anew): {', '.join(said)}" if said else None


def internal(contents: Contents) -> Fact:
    """The evaluation on unheard speakers of the same data."""
    if not has_test(contents):
        return Fact(f"there is no test part; {_flattered(contents)}", "failed", _METRICS)
    shown = _show(contents, "recording", None, HEADLINE)
    where = f"{len(contents.folds)} folds" if contents.folds else "test part"
    said = f"{where}, {count_speakers(contents, 'test')} unheard speakers: {shown}"
    times = contents.manifest.get("test_evaluations")
    if times is None:
        return Fact(said, "known", _METRICS)
    how_often = "once" if times == 1 else f"{times} times: its numbers are too good if settings were chosen by them"
    return Fact(f"{said}; evaluated {how_often}", "known", f"{_METRICS}, manifest.json")


def apparent(contents: Contents) -> Fact:
    """Whether more than the apparent performance is known."""
    if not has_test(contents):
        return Fact(f"no: {_flattered(contents)}", "failed", _METRICS)
    if contents.folds:
        said = "yes: every recording is scored by a model that neither learned from its speaker nor was chosen by it"
        return Fact(said, "known", _METRICS)
    return Fact("yes: a test part that neither trained the model nor chose epoch and thresholds", "known", _METRICS)


def external(contents: Contents) -> Fact:
    """Whether the model was tested on data from elsewhere."""
    if isinstance(contents.settings.split, (ColumnSplit, FileSplit)) and has_test(contents):
        return Fact(
            "the test part is given, not drawn: whether it comes from elsewhere is not known", "part", "config.yaml"
        )
    return Fact("no external validation: all recordings come from one table", "absent", "config.yaml")


def robustness(contents: Contents) -> Fact:
    """Whether the result was tried otherwise."""
    return Fact("no analysis of robustness in this run: one split, one seed", "absent", "config.yaml")


def groups(contents: Contents) -> Fact:
    """Performance by group; what was done for fairness, people must say."""
    found = _show_groups(contents)
    return Fact(f"performance by group: {found or 'not looked at'}", "part", "audit/subgroups.json")


def clusters(contents: Contents) -> Fact:
    """Differences between groups of speakers."""
    found = _show_groups(contents)
    if found is None:
        return Fact("differences between centres or groups were not looked at", "part", "audit/subgroups.json")
    return Fact(f"by group: {found}", "known", "audit/subgroups.json")


def failures(contents: Contents) -> Fact:
    """Where model and raters differ most."""
    rows = contents.disagreements(1)
    if not len(rows):
        return Fact("no recording has both a rating and a score", "failed", "predictions.csv")
    largest = f"{format_number(abs(float(rows['difference'].iloc[0])))} on {rows['trait'].iloc[0]}"
    said = f"the report lists the largest differences of the {contents.part} part, up to {largest}; why is not known"
    return Fact(said, "part", "predictions.csv")


def warnings(contents: Contents) -> Fact:
    """What a run warns of."""
    said = [f"the numbers rest on {count_speakers(contents, contents.part)} speakers, {_say_trainings(contents)}"]
    return Fact("; ".join([*said, join(contents.warnings())]), "part", "manifest.json, predictions.csv")


def _say_trainings(contents: Contents) -> str:
    return f"{len(contents.folds)} folds and as many trainings" if contents.folds else "one split and one training"


def _names(contents: Contents) -> list[str]:
    """Return the metrics of the model, in the order of the file."""
    found = [contents.metrics_of("model", unit, trait) for unit in UNITS for trait in (None, *contents.traits)]
    return list(dict.fromkeys(name for metrics in found for name in metrics))


def _all_metrics(contents: Contents, names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what a metric is of and the metric: the means per recording and per speaker, each trait per recording."""
    places = [("recording", None), ("speaker", None), *(("recording", trait) for trait in contents.traits)]
    for unit, trait in places:
        for name, metric in contents.metrics_of("model", unit, trait).items():
            if name in names:
                yield f"{name_metric(name)} {f'of {trait}' if trait else f'per {unit} (mean)'}", metric


def _undefined(contents: Contents, names: Sequence[str]) -> list[str]:
    """Say which numbers are undefined and why, or that there are none."""
    found = list(_all_metrics(contents, names))
    undefined = [f"{what} ({metric.get('reason') or 'why?'})" for what, metric in found if metric["value"] is None]
    if not found:
        return ["there are no numbers"]
    return [f"undefined: {join(undefined, most=6)}"] if undefined else []


def _problems(contents: Contents, names: Sequence[str]) -> list[str]:
    """Say what is wrong with numbers: no test part, undefined, without an interval."""
    no_test = [] if has_test(contents) else [f"there is no test part: {_flattered(contents)}"]
    found = _all_metrics(contents, names)
    bare = [what for what, metric in found if metric["value"] is not None and metric.get("low") is None]
    without = [f"without an interval: {join(bare, most=6)}"] if bare else []
    return [*no_test, *_undefined(contents, names), *without]


def _flattered(contents: Contents) -> str:
    if contents.part == "validation":
        return "the numbers are those of the validation part, which chose epoch and thresholds"
    return "the numbers are those of the training part"


def _show(contents: Contents, unit: str, trait: str | None, names: Sequence[str]) -> str:
    metrics = contents.metrics_of("model", unit, trait)
    return ", ".join(_say(name, metrics[name]) for name in names if name in metrics) or "nothing"


def _say(name: str, metric: dict[str, Any]) -> str:
    if metric["value"] is None:
        return f"{name_metric(name)} undefined"
    between = format_interval(metric)
    return f"{name_metric(name)} {format_number(metric['value'])}" + (f" ({between})" if between else "")


def _show_groups(contents: Contents) -> str | None:
    """Say the performance of each group of speakers, if the run was audited; those of few people stay hidden."""
    rows = [row for row in contents.groups if row["part"] == contents.part]
    shown = [
        f"{row['attribute']} {row['group']} {_say('auc', row)} of {row['speakers']:g} speakers"
        for row in rows
        if row.get("trait") == "macro" and row.get("metric") == "auc"
    ]
    hidden = sum(row.get("trait") is None for row in rows)
    shown += [f"{hidden} of few people, not shown"] if hidden else []
    return join(shown, most=30) if rows else None


FACTS: dict[str, FactOf] = {
    one.__name__: one
    for one in (
        *(measures, complete_measures, performance, performance_with_groups, diagnostic, uncertainty, internal),
        *(apparent, external, robustness, groups, clusters, failures, warnings),
    )
}
