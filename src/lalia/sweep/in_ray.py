"""Trials on a Ray cluster: begun again where a process or a machine is lost, each frozen pass once per node."""

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lalia.errors import ConfigError, RunError
from lalia.progress import Progress
from lalia.settings import RunSettings
from lalia.settings.sweep import RaySettings
from lalia.sweep.place import SweepPlace
from lalia.sweep.plan import Plan, PlannedTrial
from lalia.sweep.trials import Outcome, describe, run_trial

# between two looks at what is done, so that a signal is heard
_WAIT_SECONDS = 1.0


def run_in_ray(
    address: str, base: RunSettings, plan: Plan, place: SweepPlace, asked: RaySettings, progress: Progress
) -> list[Outcome]:
    """Run the trials of a plan on an existing cluster, and return their outcomes in the plan's order.

    Every machine must see the recordings, the folder of the sweep and what the settings name, under the same paths or
    URLs. A
    trial whose process or machine is lost begins again, elsewhere if need be, from its last checkpoint. Where there
    are as many frozen passes as machines or more, the trials of a pass go to one machine as long as it lives; with
    fewer, every machine fills its own cache. Of several trials on a machine that want the same pass, one computes it
    and the others wait, see ``ActivationStore.filling``.

    Args:
        address: of the cluster; ``auto`` for the one that this machine belongs to.
        base: settings of the base run.
        plan: the trials, those of a pass together.
        place: of the sweep.
        asked: cores, GPUs and retries of a trial.
        progress: is told of each trial that ends.

    Raises:
        ConfigError: if Ray is not installed.
        RunError: if there is no cluster, or a trial is lost more often than it may be begun again.
    """
    ray = _import_ray()
    is_ours = not ray.is_initialized()
    if is_ours:
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, ValueError, RuntimeError) as cause:
            raise RunError(f"No Ray cluster at '{address}': {cause}. Start one with: ray start --head") from cause
    try:
        return _run_all(ray, base, plan, place, asked, progress)
    finally:
        if is_ours:
            ray.shutdown()


def _run_all(
    ray: Any, base: RunSettings, plan: Plan, place: SweepPlace, asked: RaySettings, progress: Progress
) -> list[Outcome]:
    remote = ray.remote(max_retries=asked.retries, num_cpus=asked.cpus, num_gpus=asked.gpus)(_run_there)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    node_of = deal_passes(plan, nodes)
    running = {
        remote.options(**_affinity(ray, node_of.get(trial.pass_key or ""))).remote(
            base.model_dump(mode="json"), trial.varied, place.trials
        ): number
        for number, trial in order_trials(plan.trials)
    }
    outcomes: dict[int, Outcome] = {}
    progress.start("trials", len(running))
    try:
        while len(outcomes) < len(plan.trials):
            waiting = [task for task, number in running.items() if number not in outcomes]
            done, _ = ray.wait(waiting, num_returns=1, timeout=_WAIT_SECONDS)
            for task in done:
                number = running[task]
                outcomes[number] = _collect(ray, task, plan.trials[number], place)
                progress.advance(describe(plan.trials[number].varied))
    except BaseException:
        for task in running:
            ray.cancel(task, force=False)
        raise
    return [outcomes[number] for number in range(len(plan.trials))]


def order_trials(trials: Sequence[PlannedTrial]) -> list[tuple[int, PlannedTrial]]:
    """Return trials with their numbers, the first of each frozen pass before all others: they fill, the others find.

    Example:
        >>> trials = [PlannedTrial({}, key, 0.0) for key in ("a", "a", "b", None)]
        >>> [number for number, _ in order_trials(trials)]
        [0, 2, 3, 1]
    """
    first: set[str] = set()
    leads: list[tuple[int, PlannedTrial]] = []
    follows: list[tuple[int, PlannedTrial]] = []
    for number, trial in enumerate(trials):
        leads_pass = trial.pass_key is None or trial.pass_key not in first
        (leads if leads_pass else follows).append((number, trial))
        first.add(trial.pass_key or "")
    return [*leads, *follows]


def deal_passes(plan: Plan, nodes: Sequence[str]) -> dict[str, str]:
    """Return the node that each frozen pass is best computed on; none where there are fewer passes than nodes."""
    if len(nodes) < 2 or len(plan.passes) < len(nodes):
        return {}
    load = dict.fromkeys(nodes, 0.0)
    place = {}
    cost = {
        one.key: one.seconds + sum(1.0 + trial.seconds for trial in plan.trials if trial.pass_key == one.key)
        for one in plan.passes
    }
    for key in sorted(cost, key=lambda key: -cost[key]):
        node = min(load, key=lambda node: load[node])
        place[key] = node
        load[node] += cost[key]
    return place


def _affinity(ray: Any, node: str | None) -> dict[str, Any]:
    if node is None:
        return {}
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node_id=node, soft=True)
    return {"scheduling_strategy": strategy}


def _collect(ray: Any, task: Any, trial: PlannedTrial, place: SweepPlace) -> Outcome:
    try:
        found = ray.get(task)
    except ray.exceptions.RayTaskError:
        raise  # a bug: with its traceback
    except ray.exceptions.RayError as cause:
        raise RunError(
            f"The trial {describe(trial.varied)} was lost ({type(cause).__name__}) more often than ray.retries allows. "
            "What is done stays: start the sweep again to go on."
        ) from cause
    run = None if found["run"] is None else place.find(place.name(Path(found["run"])))
    return Outcome(trial.varied, run, found["error"], found["seconds"], found["computed"])


def _run_there(base: dict[str, Any], values: dict[str, Any], runs: str) -> dict[str, Any]:
    """Run a trial in a process of the cluster; what is returned is plain."""
    settings = RunSettings.model_validate(base)
    found = run_trial(settings, values, runs)
    return {
        "run": None if found.folder is None else found.folder.name,
        "error": found.error,
        "seconds": found.seconds,
        "computed": found.computed,
        "machine": socket.gethostname(),
    }


def _import_ray() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as cause:
        raise ConfigError("--ray needs Ray: pip install 'lalia[ray]'") from cause
    return ray


RunBatch = Callable[[Plan], list[Outcome]]
"""Runs the trials of a plan, in whichever way."""
