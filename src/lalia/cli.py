"""The command line: each command calls one public function and shows what it returns.

Exit codes: 0 done, 2 the user can mend it, 1 a bug of lalia, 130 and 143 stopped by Ctrl-C and SIGTERM.
Nothing heavy is imported before a command needs it.
"""

import logging
import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from lalia.errors import LaliaError, RunError, Stopped, printable
from lalia.signals import STOP_SIGNALS

if TYPE_CHECKING:
    import pandas as pd

    from lalia.evaluation.audit.result import Audit
    from lalia.evaluation.probe import ProbeResult
    from lalia.prepare import Prepared
    from lalia.settings import RunSettings


class CacheAction(StrEnum):
    """What ``lalia cache`` does."""

    SHOW = "show"
    CLEAR = "clear"


class OutputFormat(StrEnum):
    """What ``lalia predict`` writes."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    AUDFORMAT = "audformat"


app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Fine-tune speech foundation models to rate perceptual traits of clinical speech.",
)

COPIES = {
    "audio": "recordings copied or cut out of data sets",
    "scans": "files of what was measured of recordings",
}
"""Folders of the user's cache beside the activations, and what is in them."""

Config = Annotated[Path, typer.Argument(help="The settings of the run, a YAML file.", metavar="RUN.yaml")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Settings to change, such as train.epochs=5.", metavar="[KEY=VALUE]...")
]
RunFolder = Annotated[str, typer.Argument(help="The folder of a finished run, or its URL.", metavar="RUN")]


class _Printable(logging.Formatter):
    """Log lines in which names move no cursor; what lalia says is one line, whatever it names."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message) if record.name.startswith("lalia") else record.message
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what happens inside.")] = False,
) -> None:
    shown = logging.StreamHandler()
    shown.setFormatter(_Printable("%(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[shown])


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the corpus and the run go.")] = Path("lalia-demo"),
    seed: Annotated[int, typer.Option(help="The seed of the corpus.")] = 0,
) -> None:
    """Make a small corpus of synthetic speech, train a rater on it, and write its report."""
    from lalia.config import load_config
    from lalia.data.synth import write_corpus
    from lalia.run import train as train_run
    from lalia.terminal import show_progress

    with show_progress() as progress:
        progress.say(f"Synthesising speech in {out}")
        write_corpus(out, seed=seed)
        settings = load_config(out / "run.yaml", [f"runs={out / 'runs'}"])
        folder = train_run(settings, overwrite=True, progress=progress)
    _show_result(folder)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A folder with a metadata table.")] = Path(),
    overwrite: Annotated[bool, typer.Option(help="Replace an existing run.yaml.")] = False,
) -> None:
    """Write a first run.yaml for the metadata table of a folder, to be read and mended."""
    from lalia.starter import write_starter

    target = write_starter(folder, overwrite=overwrite)
    _say(f"Wrote {target}: read it, then run: lalia check {target}")


@app.command()
def check(
    config: Config,
    overrides: Overrides = None,
    read_all: Annotated[
        bool, typer.Option("--all", help="Read the audio of all recordings, also where there are more than 10,000.")
    ] = False,
) -> None:
    """Train nothing; show what would be kept, dropped, split and trained."""
    from lalia.config import load_config
    from lalia.prepare import READ_AT_MOST, prepare
    from lalia.terminal import show_progress

    settings = load_config(config, overrides or [])
    with show_progress() as progress:
        prepared = prepare(settings, progress, most_read=None if read_all else READ_AT_MOST)
    _show_prepared(prepared)
    _show_forecast(prepared, settings)
    _say("Ready to train.")


@app.command()
def split(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("split.csv"),
) -> None:
    """Write the parts of a run's recordings to a file, for use with split: {kind: file, path: split.csv}."""
    from lalia.config import load_config
    from lalia.data.splits import write_split
    from lalia.prepare import split_recordings

    parts = split_recordings(load_config(config, overrides or []))
    write_split(parts, out)
    for warning in parts.warnings:
        _say(f"Note: {warning}", to_stderr=True)
    for part, rows in parts.parts.groupby("part"):
        _say(f"{part}: {len(rows)} recordings of {rows['speaker'].nunique()} speakers")
    _say(f"Wrote {out} (sha256 {parts.sha256})")


@app.command()
def train(
    config: Config,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete the same run first.")] = False,
    allow_change: Annotated[
        bool, typer.Option("--allow-change", help="Resume also where settings, data or versions have changed.")
    ] = False,
) -> None:
    """Do everything up to the report: check, split, train, evaluate."""
    from lalia.config import load_config
    from lalia.cross_validation import cross_validate
    from lalia.places import is_url, join_url
    from lalia.run import train as train_run
    from lalia.settings import is_cross_validation
    from lalia.terminal import is_first_process, show_progress

    settings = load_config(config, overrides or [])
    train_all = cross_validate if is_cross_validation(settings) else train_run
    with show_progress() as progress:
        folder = train_all(settings, resume=resume, overwrite=overwrite, allow_change=allow_change, progress=progress)
    if is_first_process():
        _show_result(folder)
        if is_url(settings.runs):
            _say(f"Uploaded to {join_url(settings.runs, folder.name)}")


@app.command()
def evaluate(run: RunFolder) -> None:
    """Score the recordings of a run again with its saved rater; write its numbers and report anew."""
    from lalia.run import evaluate_run
    from lalia.terminal import show_progress

    with show_progress() as progress:
        folder = evaluate_run(run, progress)
    _show_result(folder)


@app.command()
def report(
    run: RunFolder,
    explain: Annotated[
        bool, typer.Option("--explain", help="First find out what the rater has learned; this runs it again and again.")
    ] = False,
) -> None:
    """Write the report of a run, its checklist and its model card anew from the files in its folder."""
    from lalia.report.card import refresh_card
    from lalia.report.page import write_report
    from lalia.run_at_url import opened_run
    from lalia.run_explain import explain_run
    from lalia.run_folder import read_run
    from lalia.terminal import show_progress

    with opened_run(run) as place:
        folder, _, manifest = read_run(place)
        if explain:
            with show_progress() as progress:
                _say(f"Wrote {explain_run(place, progress)}")
        _say(f"Wrote {write_report(folder)}")
        if "folds" in manifest:
            return  # each fold has a rater, and so a card
        card = refresh_card(folder)
    _say("The model card was changed by hand and stays." if card is None else f"Wrote {card}")


@app.command()
def predict(
    run: Annotated[str, typer.Argument(help="The folder of a run, or of a saved rater; or its URL.", metavar="RUN")],
    audio: Annotated[
        list[str], typer.Argument(help="Audio files, folders, or tables with a column of paths; or URLs.")
    ],
    out: Annotated[Path, typer.Option(help="The file to write, or for audformat the folder.")] = Path(
        "predictions.csv"
    ),
    form: Annotated[
        OutputFormat | None, typer.Option("--format", help="Of the output; else by its extension, csv for any other.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="The column of paths in a table.")] = None,
    limit: Annotated[
        list[str] | None, typer.Option(help="A limit of audio.limits, such as max_seconds=20000.", metavar="KEY=VALUE")
    ] = None,
) -> None:
    """Rate new recordings: a row per recording and trait with score, level and probability of presence."""
    from lalia.config import read_limits
    from lalia.data.inputs import find_recordings
    from lalia.evaluation.predict import predict_files
    from lalia.run_at_url import fetch_run
    from lalia.terminal import show_progress

    limits = read_limits(limit or [])
    recordings = find_recordings(audio, path_column=column)
    with show_progress() as progress:
        problems = predict_files(
            fetch_run(run), recordings, out, format=form.value if form else None, limits=limits, progress=progress
        )
    for recording, problem in problems.items():
        _say(f"Not rated: {recording!r}: {problem}", to_stderr=True)
    _say(f"Wrote {out}: {len(recordings) - len(problems)} recordings")


@app.command("app")
def run_app(
    run: Annotated[str, typer.Argument(help="The folder of a run, or of a saved rater; or its URL.", metavar="RUN")],
    host: Annotated[str, typer.Option(help="Where to listen; any other address asks for a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 7860,
    token: Annotated[
        str | None, typer.Option(envvar="LALIA_APP_TOKEN", help="Rather in the environment, where no list shows it.")
    ] = None,
    max_mb: Annotated[float, typer.Option(help="The largest file that is taken.")] = 50.0,
    max_minutes: Annotated[float, typer.Option(help="The longest recording that is taken.")] = 10.0,
) -> None:
    """Open a page in the browser's reach: rate recordings, and listen where model and raters disagree."""
    from lalia.app.rating import Limits
    from lalia.app.server import serve
    from lalia.run_at_url import fetch_run
    from lalia.terminal import LineProgress

    limits = Limits(megabytes=max_mb, minutes=max_minutes)
    serve(fetch_run(run), host=host, port=port, token=token, limits=limits, progress=LineProgress())


@app.command()
def push(
    run: Annotated[str, typer.Argument(help="The folder of a run, or of a saved rater; or its URL.", metavar="RUN")],
    repository: Annotated[str, typer.Argument(help="An id such as my-lab/hoarseness.", metavar="REPOSITORY")],
    private: Annotated[bool, typer.Option("--private/--public", help="Who may see a new repository.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Upload nothing; write the folder that would go.")] = False,
    out: Annotated[Path, typer.Option(help="With --dry-run, the folder to write.")] = Path("pushed"),
) -> None:
    """Upload a rater with its model card to the Hugging Face hub: weights and settings, no ids and no audio."""
    from lalia.push import push as push_rater
    from lalia.push import write_shared
    from lalia.run_at_url import fetch_run

    folder = fetch_run(run)
    if dry_run:
        _say(f"Wrote {write_shared(folder, out, repository)}: this would go to {repository}")
    else:
        _say(f"Uploaded to {push_rater(folder, repository, private=private)}")


@app.command()
def probe(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write; <runs>/<name>-probe if not given.")] = None,
) -> None:
    """Train nothing in the encoder; show what each of its depths knows of each trait."""
    from lalia.config import load_config
    from lalia.run_probe import probe_folder, run_probe
    from lalia.terminal import show_progress

    settings = load_config(config, overrides or [])
    with show_progress() as progress:
        result = run_probe(settings, out, progress)
    _show_probe(result)
    _say(f"Wrote {probe_folder(settings, out)}: probe.csv, probe.json, probe.svg")


@app.command()
def audit(
    config: Annotated[
        str,
        typer.Argument(help="The settings of a run, or the folder or URL of a finished one.", metavar="RUN.yaml|RUN"),
    ],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write; <runs>/<name>-audit if not given.")] = None,
) -> None:
    """Train nothing; look for leaks, confounds and badly made recordings, or at a run's groups of speakers."""
    from lalia.config import load_config
    from lalia.places import is_url
    from lalia.run_at_url import opened_run
    from lalia.run_audit import audit_folder, audit_run, run_audit
    from lalia.terminal import show_progress

    if is_url(config) or Path(config).is_dir():
        with opened_run(config) as folder:
            _show_subgroups(audit_run(folder, overrides or []))
        _say(f"Wrote {folder / 'audit'}: subgroups.csv, subgroups.json")
        return

    settings = load_config(config, overrides or [])
    with show_progress() as progress:
        result = run_audit(settings, out, progress)
    _show_audit(result)
    _say(f"Wrote {audit_folder(settings, out)}: audit.json, {', '.join(f'{name}.csv' for name in result.tables)}")


@app.command()
def sweep(
    grid: Annotated[Path, typer.Argument(help="The settings of the sweep, a YAML file.", metavar="GRID.yaml")],
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; sweeps/<name of the file> if not given.")
    ] = None,
    ray: Annotated[
        str | None, typer.Option("--ray", help="Run on a Ray cluster: its address, or auto.", metavar="[ADDRESS]")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Train nothing; show the plan and what it costs.")] = False,
    test: Annotated[
        bool, typer.Option("--test", help="Score the test part with the winner, once you have done with choosing.")
    ] = False,
) -> None:
    """Train runs that differ in their settings, seeds or folds, and compare them on the validation part."""
    from lalia.config import load_sweep
    from lalia.sweep.sweep import evaluate_winner, plan_sweep, run_sweep
    from lalia.sweep.tables import show_plan, show_standings
    from lalia.terminal import show_progress

    settings = load_sweep(grid)
    folder = out or Path("sweeps") / grid.stem
    if dry_run:
        with show_progress() as progress:
            plan = plan_sweep(settings, folder, progress)
        show_plan(plan)
        return
    with show_progress() as progress:
        result = run_sweep(settings, folder, ray=ray, progress=progress)
        tested = evaluate_winner(folder, progress) if test else None
    show_standings(result, settings.metric)
    _say(f"Report: {folder / 'report.html'}")
    if tested is not None:
        _show_result(tested)
    if result.failed:
        raise RunError(f"{len(result.failed)} of {len(result.outcomes)} trials failed: {result.failed[0].error}")


@app.command()
def compare(
    runs: Annotated[
        list[str], typer.Argument(help="Folders or URLs of finished runs; each is compared with the first.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("comparison"),
    part: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    seed: Annotated[int, typer.Option(help="Of the drawn speakers and the exchanged models.")] = 0,
) -> None:
    """Compare runs on the same speakers: differences with intervals and p-values."""
    from lalia.run_at_url import fetch_run
    from lalia.run_compare import compare as compare_runs
    from lalia.terminal import show_progress

    with show_progress() as progress:
        table = compare_runs([fetch_run(run) for run in runs], out, part=part, seed=seed, progress=progress)
    _show_differences(table)
    _say(f"Wrote {out}: compare.csv, compare.json, compare.svg, runs.csv")


@app.command()
def cache(
    action: Annotated[CacheAction, typer.Argument(help="show or clear.")] = CacheAction.SHOW,
    folder: Annotated[Path | None, typer.Option("--dir", help="The folder, where cache.dir names one.")] = None,
) -> None:
    """Show or clear what is kept for the next run: activations of frozen encoders, copies of recordings."""
    from datetime import datetime

    from lalia.data.copies import copies_folder, open_copies
    from lalia.training.cache import ActivationStore, cache_folder

    if folder is None:
        _show_or_clear_copies(action)
    place = cache_folder(folder)
    is_clearing = action is CacheAction.CLEAR
    if copies_folder().is_dir() and folder is None:
        count, size = open_copies().clear() if is_clearing else open_copies().summary()
        _say(f"{copies_folder()}: {'deleted ' if is_clearing else ''}{count} copies, {_gigabytes(size)}")
    if not place.is_dir():
        _say(f"{place}: nothing is kept there.")
        return
    store = ActivationStore(place)
    if is_clearing:
        found = store.clear()
        _say(f"{place}: deleted {found.entries} entries, {_gigabytes(found.size_bytes)}")
        return
    found = store.summary()
    _say(f"{place}: {found.entries} entries, {_gigabytes(found.size_bytes)}")
    if found.oldest_use is not None:
        _say(f"The first to go was last used on {datetime.fromtimestamp(found.oldest_use):%Y-%m-%d %H:%M}.")


def _show_or_clear_copies(action: CacheAction) -> None:
    from lalia.data.user_cache import clear_cache, measure_cache, user_cache

    for name, what in COPIES.items():
        files, size = measure_cache(name)
        if files and action is CacheAction.CLEAR:
            clear_cache(name)
        if files:
            verb = "deleted " if action is CacheAction.CLEAR else ""
            _say(f"{user_cache(name)}: {verb}{files} {what}, {_gigabytes(size)}")


def _show_differences(table: "pd.DataFrame") -> None:
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


def _show_audit(result: "Audit") -> None:
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
        _say(f"Note: {note}")
    for finding in result.findings:
        shown = f" {list_some(finding.recordings)}" if finding.check == "quality" and finding.recordings else ""
        _say(f"- {finding.sentence}{shown}")
    _say(f"{len(result.findings)} findings." if result.findings else "Nothing was found.")


def _show_subgroups(found: "pd.DataFrame") -> None:
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
    _say("A dash: a group of too few speakers is not shown (audit.min_speakers).")


def _show_probe(result: "ProbeResult") -> None:
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


def _show_forecast(prepared: "Prepared", settings: "RunSettings") -> None:
    from lalia.training.cache import cache_folder
    from lalia.training.reader import forecast

    # an epoch takes one view of each recording
    views = min(settings.augment.views or 0, settings.train.epochs) if settings.augment.apply else 0
    read = prepared.read
    augmented = read.part("train", rated=True)
    needed = forecast(prepared.rater, read.table, settings.cache, augmented=augmented, views=views)
    if needed is None:
        _say("Cache: nothing is kept, because the whole encoder trains or cache.max_gb is 0.")
        return
    size_bytes = round(needed.size_bytes * len(prepared.table.recordings) / len(read.table.recordings))
    about = "" if read is prepared else "about "
    _say(
        f"Cache: {needed.title} take {about}{_gigabytes(size_bytes)} of {settings.cache.max_gb:g} GB"
        f" in {cache_folder(settings.cache.dir)}."
    )
    if size_bytes > settings.cache.max_gb * 1e9:
        _say("Note: they do not fit, so a part would be computed again each time. Raise cache.max_gb.")


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e7 else f"{size / 1e6:.2f} MB"


def _show_prepared(prepared: "Prepared") -> None:
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
    _say(f"Encoder: {f'changes from depth {depth} of {last} on' if depth <= last else 'nothing in it trains'}.")
    if prepared.rater.kept_traits:
        _say(f"Heads taken over from the saved rater: {', '.join(sorted(prepared.rater.kept_traits))}.")
    for warning in prepared.warnings:
        _say(f"Note: {warning}")


def _show_result(folder: Path) -> None:
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
    _say(f"Report: {folder / 'report.html'}")


def _in_words(metric: dict[str, float | None] | None) -> str:
    if metric is None or metric["value"] is None:
        return "-"
    if metric.get("low") is None:
        return f"{metric['value']:.2f}"
    return f"{metric['value']:.2f}\n{metric['low']:.2f} to {metric['high']:.2f}"


def main() -> NoReturn:
    """Run a command and leave with its exit code."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped("Stopped.", number)

    for number in STOP_SIGNALS:
        if number != signal.SIGINT:  # Python has an exception for it
            signal.signal(number, stop)
    # torch's threads wait by spinning; on a machine that has other work to do, that makes it six times as slow
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(args=_with_address(sys.argv[1:]))
    except Stopped as stopped:
        _leave(str(stopped), 128 + stopped.signal_number)
    except LaliaError as error:
        _leave(f"Error: {error}", 2)
    except KeyboardInterrupt:
        _leave("Stopped.", 130)
    except BrokenPipeError:
        # the reader of our output has gone: leave quietly, as other tools do
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    sys.exit(0)


def _with_address(arguments: list[str]) -> list[str]:
    """Read ``--ray`` alone as ``--ray auto``: an option whose value may be left out is not known to the library.

    Example:
        >>> _with_address(["sweep", "grid.yaml", "--ray"])
        ['sweep', 'grid.yaml', '--ray', 'auto']
        >>> _with_address(["sweep", "--ray", "10.0.0.1:6379", "grid.yaml"])
        ['sweep', '--ray', '10.0.0.1:6379', 'grid.yaml']
    """
    if "--ray" not in arguments:
        return arguments
    place = arguments.index("--ray") + 1
    value = arguments[place] if place < len(arguments) else ""
    has_address = bool(value) and not value.startswith("-") and not value.endswith((".yaml", ".yml"))
    return arguments if has_address else [*arguments[:place], "auto", *arguments[place:]]


def _say(line: str, *, to_stderr: bool = False) -> None:
    """Print a line in which names move no cursor and begin no other line."""
    typer.echo(printable(line), err=to_stderr)


def _leave(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    sys.exit(code)
