"""What a run's folder holds, read for the report, without any model."""

import hashlib
import io
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lalia.config import load_config
from lalia.csv_files import read_csv
from lalia.errors import RunError
from lalia.scale import Scale
from lalia.settings import BinaryHead, RunSettings

# the first that has recordings is the one that the report is about
_PART_ORDER = ("test", "validation", "train")
_QUOTED = re.compile(r"'([^']+)'")
_NUMBERS = ("rating", "score", "level", "probability")


@dataclass(frozen=True)
class Contents:
    """The files of a run.

    Attributes:
        settings: config.yaml.
        manifest: manifest.json.
        metrics: metrics.json.
        history: history.csv, a row per epoch, no row where nothing was trained.
        predictions: predictions.csv; a row per recording, part and trait.
        split: split.csv, no row where the file is missing.
        groups: the rows of audit/subgroups.json, none where the run was not audited.
        audit: audit/audit.json, empty where the data were not audited into the run's folder.
        compared: compare/compare.json, empty where the run was not compared into its folder.
    """

    settings: RunSettings
    manifest: dict[str, Any]
    metrics: dict[str, Any]
    history: pd.DataFrame
    predictions: pd.DataFrame
    split: pd.DataFrame
    groups: list[dict[str, Any]]
    audit: dict[str, Any] = field(default_factory=dict)
    compared: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def scale(self) -> Scale:
        """The rating scale."""
        return self.settings.data.scale.build()

    @cached_property
    def level_names(self) -> list[str]:
        """The levels of the scale as text."""
        return [f"{level:g}" for level in self.scale.levels]

    @property
    def is_binary(self) -> bool:
        """Whether the scores are probabilities of presence rather than values of the scale."""
        return isinstance(self.settings.model.head, BinaryHead)

    @cached_property
    def traits(self) -> list[str]:
        """The traits in the order of the settings, or else of the predictions."""
        return list(dict.fromkeys([*self.settings.data.traits, *self.predictions["trait"]]))

    @cached_property
    def part(self) -> str:
        """The part whose numbers are the headline: test, or else validation, or else train."""
        scored = set(self.predictions["part"])
        return next((part for part in _PART_ORDER if part in scored and part in self.metrics), "test")

    @property
    def folds(self) -> list[dict[str, Any]]:
        """What the manifest tells of each fold of a run of all folds; none of another run."""
        return list(self.manifest.get("folds") or [])

    @property
    def sources(self) -> list[str]:
        """What ratings are compared with: the model, the baselines, the raters among themselves."""
        tree = self.metrics.get(self.part, {})
        baselines = sorted(tree.get("baselines") or {}, key=lambda name: (name != "duration", name))
        return ["model", *baselines, *(["raters"] if tree.get("raters") else [])]

    def metrics_of(self, source: str, unit: str, trait: str | None) -> dict[str, dict[str, Any]]:
        """Return the metrics by name, of a trait or the mean of all (None); empty where there are none."""
        tree = self.metrics.get(self.part, {})
        if source == "raters":
            tree = tree.get("raters") or {}
        elif source != "model":
            tree = tree["baselines"][source]
        branch = tree.get(unit) or {}
        found = branch.get("macro") if trait is None else (branch.get("traits") or {}).get(trait)
        return {name: metric for name, metric in (found or {}).items() if _is_metric(metric)}

    def rated(self, trait: str) -> pd.DataFrame:
        """Return the predictions of a trait in the headline part where there is a rating."""
        rows = self.predictions
        return rows[(rows["part"] == self.part) & (rows["trait"] == trait) & rows["rating"].notna()]

    def threshold(self, trait: str) -> float | None:
        """Return the probability from which on the trait is called present."""
        value = self.manifest.get("thresholds", {}).get(trait, {}).get("value")
        return None if value is None else float(value)

    def is_present(self, trait: str) -> NDArray[np.bool_]:
        """Return for each rated recording whether the raters found the trait."""
        return np.asarray(self.scale.is_present(self.rated(trait)["rating"]) == 1)

    def confusion(self, trait: str) -> tuple[NDArray[np.int64], list[str]] | None:
        """Count what the raters said (rows) and what the model says (columns), with the names of the levels.

        A binary head says absent or present; None where there are no answers.
        """
        rows, scale = self.rated(trait), self.scale
        if self.is_binary:
            threshold = self.threshold(trait)
            if threshold is None or not len(rows):
                return None
            said = self.is_present(trait).astype(np.int64)
            answered = (rows["probability"].to_numpy() >= threshold).astype(np.int64)
            names = ["absent", "present"]
        else:
            rows = rows[rows["level"].notna()]
            if not len(rows):
                return None
            said, answered = scale.level_index(rows["rating"]), scale.level_index(rows["level"])
            names = self.level_names
        counts = np.zeros((len(names), len(names)), dtype=np.int64)
        np.add.at(counts, (said, answered), 1)
        return counts, names

    def disagreements(self, most: int) -> pd.DataFrame:
        """Return the rated recordings of the headline part where model and raters are farthest apart.

        Columns recording, name (id or hash, as the settings say), trait, rating, answer (score or probability) and
        difference.
        """
        rows = self.predictions[(self.predictions["part"] == self.part)]
        answer = "probability" if self.is_binary else "score"
        rows = rows[rows["rating"].notna() & rows[answer].notna()]
        truth = self.scale.is_present(rows["rating"]) if self.is_binary else rows["rating"]
        shown = pd.DataFrame(
            {
                "recording": rows["recording"],
                "name": [self.name(recording) for recording in rows["recording"]],
                "trait": rows["trait"],
                "rating": rows["rating"],
                "answer": rows[answer],
                "difference": rows[answer] - truth,
            }
        )
        shown = shown.sort_values("difference", key=lambda values: -values.abs(), kind="stable")
        return shown.head(most).reset_index(drop=True)

    def name(self, recording: str) -> str:
        """Return how a recording is shown: by a hash unless the settings ask for ids."""
        return recording if self.settings.report.show_ids else hash_id(recording)

    def warnings(self) -> list[str]:
        """Return what a reader should know of the data; what names files is cut short unless ids are shown."""
        notes = self.manifest["flow"].get("notes", [])
        warnings = dict.fromkeys([*notes, *self.manifest.get("warnings", [])])
        if self.settings.report.show_ids:
            return list(warnings)
        # a note on files lists their names, which are ids, in brackets at its end
        return [self.hide_ids(text.partition(" (")[0] if text in notes else text) for text in warnings]

    def hide_ids(self, text: str) -> str:
        """Replace the ids that stand in quotes in a message, unless ids are shown."""
        if self.settings.report.show_ids:
            return text
        dropped = [step["recordings"] for step in self.manifest["flow"].get("dropped", [])]
        known = {*self.predictions["recording"], *self.predictions["speaker"]}.union(*dropped)
        return _QUOTED.sub(lambda found: f"'{hash_id(found[1])}'" if found[1] in known else found[0], text)


def hash_id(recording: str) -> str:
    """Return the first ten hexadecimal digits of the SHA-256 of an id.

    Example:
        >>> hash_id("A017")
        'faa478e78e'
    """
    return hashlib.sha256(recording.encode()).hexdigest()[:10]


def read_contents(folder: Path) -> Contents:
    """Read a run's folder.

    Raises:
        RunError: if a file is missing or cannot be read.
        ConfigError: if the settings are not those of a run.
    """
    manifest = _read_json(folder / "manifest.json")
    return Contents(
        settings=load_config(folder / "config.yaml"),
        manifest=manifest,
        metrics=_read_json(folder / "metrics.json"),
        # each fold has a history of its own
        history=pd.DataFrame({"epoch": []}) if "folds" in manifest else _read_history(folder / "history.csv"),
        predictions=_read_predictions(folder / "predictions.csv"),
        split=_read_split(folder / "split.csv"),
        groups=read_groups(folder),
        audit=_read_optional(folder / "audit" / "audit.json"),
        compared=_read_optional(folder / "compare" / "compare.json"),
    )


def read_groups(folder: Path) -> list[dict[str, Any]]:
    """Return the performance of each group of speakers, as an audit of the run wrote it; nothing without one.

    Raises:
        RunError: if the file cannot be read.
    """
    rows: list[dict[str, Any]] = _read_optional(folder / "audit" / "subgroups.json").get("groups", [])
    return rows


def _is_metric(value: object) -> bool:
    return isinstance(value, dict) and "value" in value


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as cause:
        raise RunError(
            f"'{path.parent}' has no {path.name}, so there is nothing to report. Train the run first: lalia train"
        ) from cause


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(_read_text(path))
    except ValueError as cause:
        raise RunError(f"'{path}' is not valid JSON: {cause}. Write it again with: lalia evaluate") from cause
    return values


def _read_optional(path: Path) -> dict[str, Any]:
    return _read_json(path) if path.is_file() else {}


def _read_history(path: Path) -> pd.DataFrame:
    text = _read_text(path)
    return pd.read_csv(io.StringIO(text)) if text.strip() else pd.DataFrame({"epoch": []})


def _read_split(path: Path) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame({"recording": [], "speaker": [], "part": []}, dtype=str)
    return read_csv(path)


def _read_predictions(path: Path) -> pd.DataFrame:
    table = read_csv(_read_text(path).encode())
    return table.assign(**{column: pd.to_numeric(table[column]) for column in _NUMBERS})
