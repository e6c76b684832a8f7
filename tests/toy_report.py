"""The folder of a small made-up run, as ``lalia train`` leaves it, and what a page of it holds."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd

from lalia.config import save_config
from lalia.settings import RunSettings

EVIL = "</script><script>alert(1)</script>'\"&$x_1$"
METRICS = ("auc", "spearman", "pearson", "mae", "qwk", "balanced_accuracy", "sensitivity", "specificity")


def metric(value: float | None, **more: Any) -> dict[str, Any]:
    around = {"low": None, "high": None} if value is None else {"low": value - 0.0511, "high": value + 0.0533}
    return {"value": value, **around, "n": 8, **more}


def tree(traits: list[str], start: float) -> dict[str, Any]:
    def metrics(offset: float) -> dict[str, Any]:
        return {name: metric(start + offset + number / 73) for number, name in enumerate(METRICS)}

    return {
        unit: {
            "traits": {
                trait: metrics(place / 31 + shift) | {"counts": {"rated": 8}} for place, trait in enumerate(traits)
            },
            "macro": metrics(0.007 + shift),
        }
        for unit, shift in (("recording", 0.0), ("speaker", 0.013))
    }


def predictions(traits: list[str], parts: tuple[str, ...]) -> pd.DataFrame:
    rows = [
        (
            f"{part}-00{number}",
            f"speaker{part}{number % 4}",
            part,
            trait,
            1 + number % 4,
            1.4 + number % 3,
            1 + number % 3,
        )
        for part in parts
        for number in range(8)
        for trait in traits
    ]
    table = pd.DataFrame(rows, columns=["recording", "speaker", "part", "trait", "rating", "score", "level"])
    return table.assign(probability=(table["score"] - 1) / 3)


def make_run(
    folder: Path,
    traits: tuple[str, ...] = ("hoarse_harsh", "slow_rate"),
    parts: tuple[str, ...] = ("train", "validation", "test"),
    **settings: Any,
) -> Path:
    """Write the folder of a run as ``lalia train`` leaves it."""
    folder.mkdir()
    names = list(traits)
    settings["report"] = {"figures": []} | settings.get("report", {})
    data = {"metadata": "/home/anna/metadata.csv", "traits": traits, "exclude": ["train-secret"]}
    save_config(
        RunSettings.model_validate({"data": data, "model": {"encoder": "random:wavlm"}} | settings),
        folder / "config.yaml",
    )
    numbers = {
        part: tree(names, 0.3)
        | {"baselines": {"majority": tree(names, 0.1), "duration": tree(names, 0.2)}, "raters": tree(names, 0.4)}
        for part in parts
    }
    (folder / "metrics.json").write_text(json.dumps(numbers))
    (folder / "manifest.json").write_text(json.dumps(make_manifest(names, parts)))
    predictions(names, parts).to_csv(folder / "predictions.csv", index=False)
    history = {"epoch": [1, 2], "train_loss": [1.0, 0.5], "validation_loss": [1.1, 0.9], "validation_auc": [0.6, 0.8]}
    pd.DataFrame(history | {"learning_rate": [1e-3, 0.0], "is_best": [False, True]}).to_csv(
        folder / "history.csv", index=False
    )
    return folder


def make_manifest(traits: list[str], parts: tuple[str, ...]) -> dict[str, Any]:
    levels = {trait: {"1": 2, "2": 2, "3": 2, "4": 1} for trait in traits}
    return {
        "lalia": "0.1.0",
        "name": "run",
        "created": "2025-01-02T03:04:05+00:00",
        "seed": 42,
        "hashes": {"settings": "aa11", "data": "bb22", "split": "cc33"},
        "versions": {"python": "3.11.9", "torch": "2.13.0"},
        "machine": {"system": "Linux", "cores": 2},
        "flow": {
            "recordings_in": 27,
            "speakers_in": 13,
            "dropped": [{"reason": "too short", "recordings": ["train-short", "train-tiny"], "speakers": 1}],
            "excluded_ratings": [
                {"recording": "train-001", "trait": traits[0], "rater": "", "value": "-1", "reason": "missing code"},
                {"recording": "train-002", "trait": traits[0], "rater": "", "value": "-1", "reason": "missing code"},
            ],
            "notes": ["recordings in the folder that no row names: 1 (nobody-knows.wav)"],
            "kept": {"recordings": 24, "speakers": 12},
            "parts": {part: {"recordings": 8, "speakers": 4, "ratings": levels} for part in parts},
        },
        "encoder": {"name": "random:wavlm", "revision": None},
        "adaptation": {"kind": "full", "first_changing_depth": 0, "trainable_parameters": 900, "parameters": 1000},
        "best_epoch": 2,
        "stopped": "all epochs were trained",
        "warnings": [f"trait '{traits[0]}', level 4: only 2 speakers"],
        "seconds": 90.0,
        "layer_weights": [0.2, 0.3, 0.5],
        "thresholds": {trait: {"value": 0.37, "reason": None} for trait in traits},
    }


def change_json(path: Path, change: Any) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


class Page(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "wbr":
            self.text = self.text.rstrip()
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data + " "
