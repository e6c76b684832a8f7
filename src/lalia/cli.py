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
from typing import Annotated, NoReturn

import typer

from lalia.errors import LaliaError, RunError, Stopped, printable
from lalia.shown import (
    gigabytes,
    say,
    show_audit,
    show_differences,
    show_forecast,
    show_prepared,
    show_probe,
    show_result,
    show_subgroups,
)
from lalia.signals import STOP_SIGNALS


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


class Pooled(StrEnum):
    """What ``lalia embed`` takes over the frames."""

    MEAN = "mean"
    MAX = "max"
    STD = "std"


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
AudioPlaces = Annotated[
    list[str], typer.Argument(help="Audio files, folders, or tables with a column of paths; or URLs.", metavar="AUDIO")
]
PathColumn = Annotated[str | None, typer.Option(help="The column of paths in a table.")]
AudioLimits = Annotated[
    list[str] | None, typer.Option(help="A limit of audio.limits, such as max_seconds=20000.", metavar="KEY=VALUE")
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
    show_result(folder)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A folder with a metadata table.")] = Path(),
    overwrite: Annotated[bool, typer.Option(help="Replace an existing run.yaml.")] = False,
) -> None:
    """Write a first run.yaml for the metadata table of a folder, to be read and mended."""
    from lalia.starter import write_starter

    target = write_starter(folder, overwrite=overwrite)
    say(f"Wrote {target}: read it, then run: lalia check {target}")


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
    show_prepared(prepared)
    show_forecast(prepared, settings)
    say("Ready to train.")


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
        say(f"Note: {warning}", to_stderr=True)
    for part, rows in parts.parts.groupby("part"):
        say(f"{part}: {len(rows)} recordings of {rows['speaker'].nunique()} speakers")
    say(f"Wrote {out} (sha256 {parts.sha256})")


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
        show_result(folder)
        if is_url(settings.runs):
            say(f"Uploaded to {join_url(settings.runs, folder.name)}")


@app.command()
def evaluate(run: RunFolder) -> None:
    """Score the recordings of a run again with its saved rater; write its numbers and report anew."""
    from lalia.run import evaluate_run
    from lalia.terminal import show_progress

    with show_progress() as progress:
        folder = evaluate_run(run, progress)
    show_result(folder)


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
                say(f"Wrote {explain_run(place, progress)}")
        say(f"Wrote {write_report(folder)}")
        if "folds" in manifest:
            return  # each fold has a rater, and so a card
        card = refresh_card(folder)
    say("The model card was changed by hand and stays." if card is None else f"Wrote {card}")


@app.command()
def predict(
    run: Annotated[str, typer.Argument(help="The folder of a run, or of a saved rater; or its URL.", metavar="RUN")],
    audio: AudioPlaces,
    out: Annotated[Path, typer.Option(help="The file to write, or for audformat the folder.")] = Path(
        "predictions.csv"
    ),
    form: Annotated[
        OutputFormat | None, typer.Option("--format", help="Of the output; else by its extension, csv for any other.")
    ] = None,
    column: PathColumn = None,
    limit: AudioLimits = None,
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
        say(f"Not rated: {recording!r}: {problem}", to_stderr=True)
    say(f"Wrote {out}: {len(recordings) - len(problems)} recordings")


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
        say(f"Wrote {write_shared(folder, out, repository)}: this would go to {repository}")
    else:
        say(f"Uploaded to {push_rater(folder, repository, private=private)}")


@app.command()
def embed(
    encoder: Annotated[str, typer.Argument(help="An id of the hub, a folder, or that of a run.", metavar="ENCODER")],
    audio: AudioPlaces,
    depths: Annotated[str, typer.Option(help="Such as 9,12: 0 is the stem, last the encoder's own output.")] = "last",
    pool: Annotated[Pooled, typer.Option(help="Over the frames of a recording.")] = Pooled.MEAN,
    out: Annotated[Path, typer.Option(help="The file to write: parquet, jsonl or csv.")] = Path("embeddings.parquet"),
    column: PathColumn = None,
    revision: Annotated[str | None, typer.Option(help="The branch, tag or commit of an id.")] = None,
    limit: AudioLimits = None,
) -> None:
    """Write what an encoder makes of recordings: a row per recording and depth with the pooled vector."""
    import torch

    from lalia.config import read_limits
    from lalia.data.inputs import find_recordings
    from lalia.model.encoders.load import load_encoder
    from lalia.run_embed import embed_files, read_depths
    from lalia.settings import CacheSettings
    from lalia.terminal import show_progress
    from lalia.training.cache import open_store

    limits = read_limits(limit or [])
    recordings = find_recordings(audio, path_column=column)
    model = load_encoder(encoder, revision=revision).to("cuda" if torch.cuda.is_available() else "cpu")
    with show_progress() as progress:
        problems = embed_files(
            model,
            recordings,
            out,
            depths=read_depths(depths),
            statistic=pool.value,
            store=open_store(CacheSettings()),
            limits=limits,
            progress=progress,
        )
    for recording, problem in problems.items():
        say(f"Left out: {recording!r}: {problem}", to_stderr=True)
    say(f"Wrote {out}: {len(recordings) - len(problems)} recordings")


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
    show_probe(result)
    say(f"Wrote {probe_folder(settings, out)}: probe.csv, probe.json, probe.svg")


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
            show_subgroups(audit_run(folder, overrides or []))
        say(f"Wrote {folder / 'audit'}: subgroups.csv, subgroups.json")
        return

    settings = load_config(config, overrides or [])
    with show_progress() as progress:
        result = run_audit(settings, out, progress)
    show_audit(result)
    say(f"Wrote {audit_folder(settings, out)}: audit.json, {', '.join(f'{name}.csv' for name in result.tables)}")


@app.command()
def sweep(
    grid: Annotated[Path, typer.Argument(help="The settings of the sweep, a YAML file.", metavar="GRID.yaml")],
    out: Annotated[
        str | None, typer.Option(help="The folder to write, or its URL; sweeps/<name of the file> if not given.")
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
    from lalia.sweep.place import locate_sweep
    from lalia.sweep.sweep import evaluate_winner, plan_sweep, run_sweep
    from lalia.sweep.tables import show_plan, show_standings
    from lalia.terminal import show_progress

    settings = load_sweep(grid)
    folder = out or str(Path("sweeps") / grid.stem)
    if dry_run:
        with show_progress() as progress:
            plan = plan_sweep(settings, folder, progress)
        show_plan(plan)
        return
    with show_progress() as progress:
        result = run_sweep(settings, folder, ray=ray, progress=progress)
        tested = evaluate_winner(folder, progress) if test else None
    show_standings(result, settings.metric)
    say(f"Report: {locate_sweep(folder).address('report.html')}")
    if tested is not None:
        show_result(tested)
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
    show_differences(table)
    say(f"Wrote {out}: compare.csv, compare.json, compare.svg, runs.csv")


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
        say(f"{copies_folder()}: {'deleted ' if is_clearing else ''}{count} copies, {gigabytes(size)}")
    if not place.is_dir():
        say(f"{place}: nothing is kept there.")
        return
    store = ActivationStore(place)
    if is_clearing:
        found = store.clear()
        say(f"{place}: deleted {found.entries} entries, {gigabytes(found.size_bytes)}")
        return
    found = store.summary()
    say(f"{place}: {found.entries} entries, {gigabytes(found.size_bytes)}")
    if found.oldest_use is not None:
        say(f"The first to go was last used on {datetime.fromtimestamp(found.oldest_use):%Y-%m-%d %H:%M}.")


def _show_or_clear_copies(action: CacheAction) -> None:
    from lalia.data.user_cache import clear_cache, measure_cache, user_cache

    for name, what in COPIES.items():
        files, size = measure_cache(name)
        if files and action is CacheAction.CLEAR:
            clear_cache(name)
        if files:
            verb = "deleted " if action is CacheAction.CLEAR else ""
            say(f"{user_cache(name)}: {verb}{files} {what}, {gigabytes(size)}")


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


def _leave(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    sys.exit(code)
