"""A sweep in its folder: trials proposed, run, ranked on their validation part; the winner as a rater."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lalia.config import load_config
from lalia.csv_files import write_csv
from lalia.errors import ConfigError, RunError
from lalia.files import write_json
from lalia.measures.metrics import Metric
from lalia.prepare import Scans
from lalia.progress import NotesOnce, Progress
from lalia.run import evaluate_run
from lalia.run_at_url import opened_run
from lalia.run_folder import read_manifest
from lalia.settings import RunSettings
from lalia.settings.sweep import SweepSettings
from lalia.sweep.in_ray import run_in_ray
from lalia.sweep.leaderboard import best_trial, find_metric, rank_settings, score_trial
from lalia.sweep.names import Names
from lalia.sweep.page import write_page
from lalia.sweep.place import SweepPlace, locate_sweep, opened_sweep
from lalia.sweep.plan import Plan, plan_trials
from lalia.sweep.result import SweepResult
from lalia.sweep.search import Values, open_search
from lalia.sweep.trials import Outcome, run_trial, settings_of

SWEEP_FILE = "sweep.json"


def run_sweep(
    settings: SweepSettings, folder: str | Path, *, ray: str | None = None, progress: Progress | None = None
) -> SweepResult:
    """Train the trials of a sweep and rank them; those that are finished are not trained again.

    Writes ``sweep.csv`` (a row per trial), ``leaderboard.csv`` (a row per settings, seeds and folds together),
    ``report.html``, and the winner's rater as ``model/``, so that ``lalia predict`` takes the folder. The numbers are
    of the validation part; nothing of the test part is looked at, see ``evaluate_winner``.

    Args:
        settings: of the sweep.
        folder: of its files, or its URL; the runs are in ``trials/``.
        ray: the address of a Ray cluster to run on; None runs one trial after another here.
        progress: is told what happens.

    Raises:
        LaliaError: if a user has to mend something; a trial that fails is told in the result instead.
        Stopped: on Ctrl-C or SIGTERM, with the state of the trial under way saved.
        StorageError: if the URL cannot be read or written.
    """
    with opened_sweep(folder) as place:
        return _run(settings, place, ray, NotesOnce(progress or Progress()))


def _run(settings: SweepSettings, place: SweepPlace, ray: str | None, progress: Progress) -> SweepResult:
    base = load_config(settings.base)
    metric = find_metric(settings.metric)
    scale = base.data.scale.build()
    search, scans = open_search(settings), Scans()
    outcomes: list[Outcome] = []
    scores: list[float] = []
    for batch in search.batches():
        possible, impossible = _sort_out(base, batch, place)
        outcomes_of: dict[str, Outcome] = {_key(each.varied): each for each in impossible}
        plan = plan_trials(possible, progress, scans)
        for outcome in _run_batch(base, plan, place, settings, ray, progress, scans):
            outcomes_of[_key(outcome.varied)] = outcome
        for values in batch:
            outcome = outcomes_of[_key(values)]
            score = score_trial(outcome, scale, metric) if outcome.is_done else float("nan")
            search.tell(values, score)
            outcomes.append(outcome)
            scores.append(score)
            _write_trials(place, outcomes, scores, metric)
    standings = rank_settings(outcomes, scale, metric, seed=base.seed)
    result = SweepResult(place.folder, tuple(outcomes), tuple(standings), tuple(scores))
    _write_result(result, place, settings, metric)
    return result


def plan_sweep(settings: SweepSettings, folder: str | Path, progress: Progress | None = None) -> Plan:
    """Return what a sweep would do, without training anything; of a Bayesian search, its first batch.

    Args:
        settings: of the sweep.
        folder: where it would be, or its URL.
        progress: is told what happens.
    """
    base = load_config(settings.base)
    batch = next(open_search(settings).batches())
    possible, impossible = _sort_out(base, batch, locate_sweep(folder))
    if impossible:
        raise ConfigError(f"{len(impossible)} of {len(batch)} trials cannot be run: {impossible[0].error}")
    return plan_trials(possible, progress or Progress(), Scans())


def evaluate_winner(folder: str | Path, progress: Progress | None = None) -> Path:
    """Score the test part with the winner of a finished sweep, and return the folder of its run.

    Its report counts how often this was done.

    Raises:
        RunError: if the sweep has not finished.
        StorageError: if the URL cannot be read or written.
    """
    place = locate_sweep(folder)
    place.open_mirror()
    try:
        winner = json.loads((place.folder / SWEEP_FILE).read_text(encoding="utf-8"))["winner"]
    except (OSError, ValueError, KeyError) as cause:
        raise RunError(f"'{folder}' is not the folder of a finished sweep: it has no {SWEEP_FILE}.") from cause
    if winner is None:
        raise RunError(f"No trial of the sweep '{folder}' was trained to its end.")
    with opened_run(place.address(str(winner["run"]))) as run:
        manifest = read_manifest(run)
        # all folds were tested, as always
        return run if "folds" in manifest or manifest.get("test_evaluations") else evaluate_run(run, progress)


def _key(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)


def _sort_out(
    base: RunSettings, batch: Sequence[Values], place: SweepPlace
) -> tuple[list[tuple[Values, RunSettings]], list[Outcome]]:
    """Part a batch into trials with their settings, and those whose settings make no sense together."""
    possible, impossible = [], []
    for values in batch:
        try:
            possible.append((values, settings_of(base, values, place.trials)))
        except ConfigError as error:
            impossible.append(Outcome(values, None, str(error)))
    return possible, impossible


def _run_batch(
    base: RunSettings,
    plan: Plan,
    place: SweepPlace,
    settings: SweepSettings,
    ray: str | None,
    progress: Progress,
    scans: Scans,
) -> list[Outcome]:
    if not plan.trials:
        return []
    progress.say(f"{len(plan.trials)} trials, {len(plan.passes)} distinct passes through a frozen encoder")
    if ray is not None:
        return run_in_ray(ray, base, plan, place, settings.ray, progress)
    found = []
    names = Names(trial.varied for trial in plan.trials)
    for number, trial in enumerate(plan.trials, start=1):
        progress.say(f"Trial {number} of {len(plan.trials)}: {names.say(trial.varied)}")
        found.append(run_trial(base, trial.varied, place.trials, progress=progress, scans=scans))
        if found[-1].error:
            progress.say(f"It failed: {found[-1].error}")
    return found


def _write_trials(place: SweepPlace, outcomes: Sequence[Outcome], scores: Sequence[float], metric: Metric) -> None:
    """Write sweep.csv anew: what is known so far."""
    rows: list[dict[str, Any]] = []
    for number, (outcome, score) in enumerate(zip(outcomes, scores, strict=True), start=1):
        manifest = {} if outcome.folder is None else read_manifest(outcome.folder)
        rows.append(
            {
                "trial": number,
                **{key: _as_value(value) for key, value in outcome.varied.items()},
                metric.name: score,
                "state": "done" if outcome.is_done else "failed",
                "best_epoch": manifest.get("best_epoch"),
                "trainable_parameters": manifest.get("adaptation", {}).get("trainable_parameters"),
                "seconds": manifest.get("seconds"),
                "computed_recordings": manifest.get("computed_recordings"),
                "run": "" if outcome.folder is None else place.name(outcome.folder),
                "error": outcome.error,
            }
        )
    write_csv(pd.DataFrame(rows), place.folder / "sweep.csv")


def _as_value(value: Any) -> Any:
    """Return the value of a setting as a cell: a number is one, all else stands there as JSON."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else json.dumps(value)


def _write_result(result: SweepResult, place: SweepPlace, settings: SweepSettings, metric: Metric) -> None:
    rows = [
        {
            "place": number,
            **{key: _as_value(value) for key, value in one.varied.items()},
            metric.name: one.mean,
            "low": one.low,
            "high": one.high,
            "trials": len(one.outcomes),
            "sd": float(np.std(one.scores, ddof=1)) if len(one.scores) > 1 else float("nan"),
        }
        for number, one in enumerate(result.standings, start=1)
    ]
    write_csv(pd.DataFrame(rows), result.folder / "leaderboard.csv")
    winner = None
    if result.standings:
        best = best_trial(result.standings[0], metric)
        assert best.folder is not None
        winner = {"values": dict(best.varied), "run": place.name(best.folder)}
        _copy_winner(best.folder, result.folder)
    write_json(
        result.folder / SWEEP_FILE,
        {
            "settings": settings.model_dump(mode="json"),
            "winner": winner,
            "trials": len(result.outcomes),
            "failed": len(result.failed),
        },
    )
    write_page(result, metric)


def _copy_winner(run: Path, folder: Path) -> None:
    """Put the winner's rater into the folder of the sweep; of all folds, the run's manifest says which they are."""
    for name in ("model", "config.yaml"):
        source, target = run / name, folder / name
        if target.is_dir():
            shutil.rmtree(target)
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.is_file():
            shutil.copyfile(source, target)
