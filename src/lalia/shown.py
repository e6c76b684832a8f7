"""What commands show of their results: tables and lines. Nothing heavy is imported before it is needed."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lalia.errors import printable

if TYPE_CHECKING:
    import pandas as pd

    from lalia.evaluation.audit.result import Audit
    from lalia.evaluation.probe import ProbeResult
    from lalia.prepare import Prepared
    from lalia.settings import RunSettings


def say(line: str, *, to_stderr: bool = False) -> None:
    """Print a line in which names move no cursor and begin no other line."""
    typer.echo(printable(line), err=to_stderr)


def show_differences(table: "pd.DataFrame") -> None:
    """Show what comparing runs found, of presence and severity, by recording."""
    from lalia.run_compare import SHOWN_METRICS
    from lalia.terminal import show_table

    for (first, second), rows in table[table["unit"] == "recording"].groupby(["first_run", "second_run"], sort=False):
        shown = [
            (
                row["trait"],
                row["metric"],
                *(_number(row[key], ".2f") for key in ("first", "second")),
                "{}\n{} to {}".format(*(_number(row[key], "+.2f") for key in ("difference", "low", "high"))),
                *(_number(row[key], ".3f") for key in ("p", "p_holm")),
            )
            for row in rows[rows["metric"].isin(SHOWN_METRICS)].to_dict("records")
        ]
        columns = ["", "metric", "first", "second", "difference (95 %)", "p", "p, all traits"]
        show_table(f"{second} compared with {first}, by recording", columns, shown)


def _number(value: float, form: str) -> str:
    return "-" if value != value else format(value, form)


def show_audit(result: "Audit") -> None:
    """Show what an audit of data found: its tables, notes and findings."""
    from lalia.errors import list_some
    from lalia.terminal import show_table

    quality = result.to_json()["quality"]
    rows = [
        (name, *("-" if value[key] is None else f"{value[key]:.4g}" for key in ("low", "median", "high")))
        for name, value in quality.items()
    ]
    show_table("Recordings", ["", "5 % below", "median", "5 % above"], rows)
    traits = list(result.identity)
    confounds = [
        (name, *(_in_words(tree[trait]["auc"].to_json()) for trait in traits))
        for name, tree in result.confounds.items()
    ]
    show_table("AUC of what is no speech, with 95 % intervals", ["", *traits], confounds)
    identity = [
        (trait, found) if isinstance(found, str) else (trait, *map(_in_words, found.to_json().values()))
        for trait, found in result.identity.items()
    ]
    columns = ["", "by recording", "by speaker", "difference", "shuffled speakers"]
    show_table(f"AUC where recordings or speakers are split, from {result.vectors}", columns, identity)
    curve = [
        (size, *(_in_words(tree["macro"][metric].to_json()) for metric in ("auc", "spearman")))
        for size, tree in result.curve.items()
    ]
    show_table(
        f"Learning from so many speakers, mean over traits, from {result.vectors}", ["", "auc", "spearman"], curve
    )
    if len(result.like_voices):
        alike = [tuple(row) for row in result.like_voices.round(2).itertuples(index=False)]
        show_table("Voices most alike: listen to them", ["", "and", "similarity", "more alike than own"], alike)
    for note in result.notes:
        say(f"Note: {note}")
    for finding in result.findings:
        shown = f" {list_some(finding.recordings)}" if finding.check == "quality" and finding.recordings else ""
        say(f"- {finding.sentence}{shown}")
    say(f"{len(result.findings)} findings." if result.findings else "Nothing was found.")


def show_subgroups(found: "pd.DataFrame") -> None:
    """Show how a run does in each group of speakers."""
    from lalia.evaluation.audit.subgroups import SUBGROUP_METRICS
    from lalia.terminal import show_table

    keys = ("value", "low", "high")
    part = "test" if "test" in set(found["part"]) else found["part"].iloc[0]
    rows = []
    for (attribute, group), of_group in found[found["part"] == part].groupby(["attribute", "group"], sort=False):
        means = of_group[of_group["trait"] == "macro"].set_index("metric")
        if means.empty:
            rows.append((f"{attribute}: {group}", "-", *[""] * len(SUBGROUP_METRICS)))
            continue
        known = {
            name: {key: None if value != value else value for key, value in zip(keys, values, strict=True)}
            for name, values in zip(means.index, means[list(keys)].astype(float).to_numpy().tolist(), strict=True)
        }
        numbers = [_in_words(known[name]) for name in SUBGROUP_METRICS]
        rows.append((f"{attribute}: {group}", str(int(means["speakers"].iloc[0])), *numbers))
    columns = ["", "speakers", *(name.replace("_", " ") for name in SUBGROUP_METRICS)]
    show_table(f"Groups of speakers, mean over traits, {part} part, by recording", columns, rows)
    say("A dash: a group of too few speakers is not shown (audit.min_speakers).")


def show_probe(result: "ProbeResult") -> None:
    """Show what each depth of an encoder knows, and of each trait."""
    from lalia.run_probe import summarize
    from lalia.terminal import show_table

    rows = summarize(result)
    columns = [name.replace("_", " ") for name in rows[0][1]]
    show_table(
        f"Mean over traits with 95 % intervals, {result.recordings} recordings of {result.speakers} speakers",
        ["depth", *columns],
        [(depth, *(_in_words(metric) for metric in metrics.values())) for depth, metrics in rows],
    )
    names = ("last", "best", "weighted")
    traits = [
        (
            trait,
            ", ".join(map(str, sorted(set(depths["presence"])))),
            *(_in_words(result.estimates[name][trait]["auc"].to_json()) for name in names),
        )
        for trait, depths in result.best.items()
    ]
    show_table("AUC per trait", ["trait", "depths chosen", *names], traits)


def show_forecast(prepared: "Prepared", settings: "RunSettings") -> None:
    """Show how much the cache will take."""
    from lalia.training.cache import cache_folder
    from lalia.training.reader import forecast

    # an epoch takes one view of each recording
    views = min(settings.augment.views or 0, settings.train.epochs) if settings.augment.apply else 0
    read = prepared.read
    augmented = read.part("train", rated=True)
    needed = forecast(prepared.rater, read.table, settings.cache, augmented=augmented, views=views)
    if needed is None:
        say("Cache: nothing is kept, because the whole encoder trains or cache.max_gb is 0.")
        return
    size_bytes = round(needed.size_bytes * len(prepared.table.recordings) / len(read.table.recordings))
    about = "" if read is prepared else "about "
    say(
        f"Cache: {needed.title} take {about}{gigabytes(size_bytes)} of {settings.cache.max_gb:g} GB"
        f" in {cache_folder(settings.cache.dir)}."
    )
    if size_bytes > settings.cache.max_gb * 1e9:
        say("Note: they do not fit, so a part would be computed again each time. Raise cache.max_gb.")


def gigabytes(size: int) -> str:
    """Write bytes as GB, few as MB."""
    return f"{size / 1e9:.2f} GB" if size >= 1e7 else f"{size / 1e6:.2f} MB"


def show_prepared(prepared: "Prepared") -> None:
    """Show what a run begins with: recordings, ratings, model, warnings."""
    from lalia.prepare import describe_flow
    from lalia.terminal import show_table

    flow = describe_flow(prepared)
    rows = [("in the table", flow["recordings_in"], flow["speakers_in"])]
    rows += [(f"dropped: {step['reason']}", len(step["recordings"]), step["speakers"]) for step in flow["dropped"]]
    rows += [("kept", flow["kept"]["recordings"], flow["kept"]["speakers"])]
    rows += [(part, counts["recordings"], counts["speakers"]) for part, counts in flow["parts"].items()]
    show_table("Recordings", ["", "recordings", "speakers"], rows)

    levels = [f"{level:g}" for level in prepared.table.scale.levels]
    ratings = [
        (trait, part, *(counts["ratings"][trait][level] for level in levels))
        for trait in prepared.table.traits
        for part, counts in flow["parts"].items()
    ]
    show_table("Ratings per level", ["trait", "part", *levels], ratings)
    excluded = flow["excluded_ratings"]
    if excluded:
        reasons = {(row["trait"], row["reason"]) for row in excluded}
        count = {key: sum((row["trait"], row["reason"]) == key for row in excluded) for key in sorted(reasons)}
        show_table("Ratings not taken as they are", ["trait", "reason", "ratings"], [(*k, n) for k, n in count.items()])

    show_table("Model", ["module", "trains", "frozen"], prepared.rater.parameter_table())
    depth, last = prepared.rater.encoder.first_changing_depth, prepared.rater.encoder.n_blocks
    say(f"Encoder: {f'changes from depth {depth} of {last} on' if depth <= last else 'nothing in it trains'}.")
    if prepared.rater.kept_traits:
        say(f"Heads taken over from the saved rater: {', '.join(sorted(prepared.rater.kept_traits))}.")
    for warning in prepared.warnings:
        say(f"Note: {warning}")


def show_result(folder: Path) -> None:
    """Show the means over traits of a finished run beside its baselines."""
    import json

    from lalia.terminal import show_table

    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    part = "test" if "test" in metrics else next(iter(metrics))
    trees = {"model": metrics[part], **metrics[part].get("baselines", {})}
    names = ("auc", "balanced_accuracy", "spearman", "pearson", "mae", "qwk")
    rows = [
        (name, *(_in_words(tree["recording"]["macro"].get(metric)) for metric in names)) for name, tree in trees.items()
    ]
    columns = [name.replace("_", " ") for name in names]
    show_table(f"Mean over traits with 95 % intervals, {part} part, by recording", ["", *columns], rows)
    say(f"Report: {folder / 'report.html'}")


def _in_words(metric: dict[str, float | None] | None) -> str:
    if metric is None or metric["value"] is None:
        return "-"
    if metric.get("low") is None:
        return f"{metric['value']:.2f}"
    return f"{metric['value']:.2f}\n{metric['low']:.2f} to {metric['high']:.2f}"
