"""One trial of a sweep: a run, and what it reached on its validation part."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lalia.config import with_values
from lalia.cross_validation import cross_validate
from lalia.errors import LaliaError, Stopped
from lalia.evaluation.ensemble import find_members
from lalia.evaluation.predictions import read_predictions
from lalia.prepare import Scans
from lalia.progress import Progress
from lalia.run import train
from lalia.run_folder import read_manifest
from lalia.settings import RunSettings, is_cross_validation


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        varied: its settings by key path.
        folder: of its run; None where it failed before there was one.
        error: why it failed; empty where it did not.
        seconds: that it took, all attempts together; 0 where it was finished before.
        computed: recordings that went through a frozen part.
    """

    varied: Mapping[str, Any]
    folder: Path | None
    error: str = ""
    seconds: float = 0.0
    computed: int = 0
    _known: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_done(self) -> bool:
        """Whether it was trained to its end."""
        return self.folder is not None and not self.error

    def validation(self) -> pd.DataFrame:
        """Return what it says of its validation part, as in predictions.csv, with the threshold of each row.

        With all folds, these are the validation parts of all of them.
        """
        if "validation" not in self._known:
            assert self.folder is not None
            tables = []
            for member in find_members(self.folder):
                rows = read_predictions(member)
                found = read_manifest(member)["thresholds"]
                thresholds = {trait: float(each["value"]) for trait, each in found.items()}
                rows = rows[rows["part"] == "validation"]
                tables.append(rows.assign(threshold=rows["trait"].map(thresholds).astype(np.float64)))
            self._known["validation"] = pd.concat(tables, ignore_index=True)
        table: pd.DataFrame = self._known["validation"]
        return table


def settings_of(base: RunSettings, values: Mapping[str, Any], runs: str) -> RunSettings:
    """Return the settings of a trial, whose run lies in ``runs``.

    Raises:
        ConfigError: if these settings cannot be run.
    """
    changed = with_values(base, values)
    return changed.model_copy(update={"runs": runs})


def run_trial(
    base: RunSettings,
    values: Mapping[str, Any],
    runs: str,
    *,
    progress: Progress | None = None,
    scans: Scans | None = None,
) -> Outcome:
    """Train a trial, go on with it where it was stopped, or find it finished; its test part is not looked at.

    With all folds of a run, each fold is tested as always, and what is told here is of the validation parts alone.

    Args:
        base: settings of the base run.
        values: what of it is changed.
        runs: the folder of the trials, or its URL.
        progress: is told what happens.
        scans: keeps the decoded recordings for the next trial.
    """
    begun = time.perf_counter()
    place: Path | None = None
    try:
        settings = settings_of(base, values, runs)
        if is_cross_validation(settings):
            place = cross_validate(settings, resume="same", progress=progress)
        else:
            place = train(settings, resume="same", progress=progress, scans=scans, scores_test=False)
    except Stopped:
        raise
    except LaliaError as error:
        return Outcome(dict(values), place, str(error), round(time.perf_counter() - begun, 1))
    members = [read_manifest(member) for member in find_members(place)]
    computed = sum(int(manifest.get("computed_recordings", 0)) for manifest in members)
    return Outcome(dict(values), place, "", round(time.perf_counter() - begun, 1), computed)


def describe(values: Mapping[str, Any]) -> str:
    """Return a trial's settings in words."""
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in values.items()) or "the base run"
