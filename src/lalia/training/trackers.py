"""Experiment trackers, through Accelerate's: the rows of the history, in the run's folder and nowhere else."""

import importlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lalia.errors import ConfigError

# what keeps the packages to this machine, read when they are imported or begin a run
_STAY_HERE = {
    "mlflow": {"MLFLOW_ALLOW_FILE_STORE": "true"},
    "wandb": {"WANDB_MODE": "offline", "WANDB_SILENT": "true"},
}
# what would have a run sent elsewhere, or go on with another one
_ELSEWHERE = (
    "TRACKIO_SPACE_ID",
    "TRACKIO_SERVER_URL",
    "MLFLOW_RUN_ID",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_TRACKING_URI",
)
_SET = (*_ELSEWHERE, "TRACKIO_DIR", *(key for of_package in _STAY_HERE.values() for key in of_package))
_INSTALLS = {"mlflow": "mlflow-skinny", "trackio": "trackio gradio_client"}


def check_trackers(names: Sequence[str]) -> None:
    """Raise ``ConfigError`` with the line that installs it where the package of a tracker is missing."""
    for name in names:
        if find_spec(name) is None:
            raise ConfigError(
                f"train.trackers names {name}, which is not installed. Install it with: pip install "
                f"{_INSTALLS.get(name, name)}, "
                "or take it out."
            )


class Trackers:
    """Logs each epoch of a training, with the same values as ``history.csv``; without names it does nothing.

    A training that goes on after a stop is logged anew from its first epoch, so that nothing is there twice.

    Args:
        names: among ``tensorboard``, ``mlflow``, ``wandb`` and ``trackio``.
        folder: where each has a folder of its own; what is there is replaced.
        run: the name of the run.
        settings: shown with the run, by section and key.
    """

    def __init__(
        self,
        names: Sequence[str] = (),
        folder: Path = Path("trackers"),
        *,
        run: str = "run",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._names = tuple(names)
        self._folder = folder
        self._run = run
        self._settings = settings or {}
        self._trackers: list[Any] = []
        self._environment: dict[str, str | None] = {}

    def begin(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Start the trackers and log the epochs that are done already.

        Args:
            history: a row per finished epoch.
        """
        if not self._names:
            return
        from accelerate import PartialState

        self._environment = {key: os.environ.get(key) for key in _SET}
        PartialState()  # Accelerate's trackers ask it which process they are in
        shutil.rmtree(self._folder, ignore_errors=True)
        for name in self._names:
            place = self._folder / name
            place.mkdir(parents=True)
            tracker = _make_tracker(name, place.absolute(), self._run)
            tracker.start()
            self._trackers.append(tracker)
            tracker.store_init_configuration(_flat(self._settings))
        for row in history:
            self.log(row)

    def log(self, row: Mapping[str, Any]) -> None:
        """Log a row of the history; what is missing in it is left out, the epoch is the step."""
        values = {
            column: int(value) if isinstance(value, bool) else value
            for column, value in row.items()
            if column != "epoch" and value is not None
        }
        for tracker in self._trackers:
            tracker.log(values, step=row["epoch"])

    def finish(self) -> None:
        """Write what is not written yet, close, and leave the environment as it was."""
        try:
            while self._trackers:
                self._trackers.pop().finish()
        finally:
            self._restore_environment()

    def _restore_environment(self) -> None:
        if self._environment and "mlflow" in self._names:
            import mlflow

            # else it keeps the run's folder, whatever the environment says
            mlflow.set_tracking_uri(None)
        for key, value in self._environment.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        self._environment = {}


def _make_tracker(name: str, folder: Path, run: str) -> Any:
    for key in _ELSEWHERE:
        os.environ.pop(key, None)
    os.environ.update(_STAY_HERE.get(name, {}))
    from accelerate import tracking

    match name:
        case "tensorboard":
            return tracking.TensorBoardTracker(run, folder)
        case "mlflow":
            import mlflow

            # a store that MLflow knows already in this process would look for it
            (folder / ".trash").mkdir()
            mlflow.set_tracking_uri(folder.as_uri())
            return tracking.MLflowTracker(run, run_name=run)
        case "wandb":
            return tracking.WandBTracker(run, mode="offline", dir=str(folder))
        case _:
            os.environ["TRACKIO_DIR"] = str(folder)
            _check_trackio_folder(folder)
            return tracking.TrackioTracker(run)


def _check_trackio_folder(folder: Path) -> None:
    """Make sure that Trackio writes where it should: it takes its folder when it is imported, once in a process."""
    place = importlib.import_module("trackio.utils").TRACKIO_DIR
    if Path(place) != folder:
        raise ConfigError(
            f"train.trackers: this process has imported Trackio before, and so it would write to {place}. Train in a "
            "process of its own, as lalia train does, or take trackio out."
        )


def _flat(settings: Mapping[str, Any]) -> dict[str, str | float]:
    """Return the settings as ``section.key``; what is no number or text becomes JSON."""
    flat: dict[str, Any] = {}
    for section, values in settings.items():
        flat |= {f"{section}.{key}": v for key, v in values.items()} if isinstance(values, dict) else {section: values}
    return {
        key: value if isinstance(value, str | int | float) and not isinstance(value, bool) else json.dumps(value)
        for key, value in flat.items()
    }
