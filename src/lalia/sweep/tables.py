"""A sweep on the terminal: its plan, and what it found."""

import math

from lalia.sweep.names import Names
from lalia.sweep.plan import Plan
from lalia.sweep.result import SweepResult
from lalia.terminal import show_table

_MOST_ROWS = 15


def show_plan(plan: Plan) -> None:
    """Show the trials of a plan, what they share, and what they cost."""
    names = {one.key: str(number) for number, one in enumerate(plan.passes, start=1)}
    rows = [
        (
            names[one.key],
            one.encoder,
            one.title,
            f"{one.missing} of {one.recordings}",
            _gigabytes(one.size_bytes),
            _time(one.seconds),
        )
        for one in plan.passes
    ]
    columns = ["", "encoder", "what is kept", "to compute", "takes", "about"]
    show_table(f"{len(plan.passes)} distinct passes through a frozen encoder", columns, rows)
    said = Names(one.varied for one in plan.trials)
    trials = [(said.say(one.varied), names.get(one.pass_key or "", "-"), _time(one.seconds)) for one in plan.trials]
    trials.append((f"all, one after another here, on {_time(plan.audio_seconds)} of audio", "", _time(plan.seconds)))
    show_table(f"{len(plan.trials)} trials, and passes", ["settings", "pass", "about"], trials)


def show_standings(result: SweepResult, metric: str) -> None:
    """Show the best settings of a sweep, by their validation parts."""
    names = Names(outcome.varied for outcome in result.outcomes)
    rows = [
        (
            str(place),
            names.say(one.varied),
            _number(one.mean),
            f"{_number(one.low)} to {_number(one.high)}",
            str(len(one.outcomes)),
        )
        for place, one in enumerate(result.standings[:_MOST_ROWS], start=1)
    ]
    columns = ["", "settings", metric.replace("_", " "), "95 % interval", "trials"]
    show_table("Mean over traits, validation part, by recording", columns, rows)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e7 else f"{size / 1e6:.2f} MB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
