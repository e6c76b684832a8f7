"""Going on with a run: which one, and what has changed since it began."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lalia.config import identity_json, load_config
from lalia.csv_files import read_csv, write_csv
from lalia.data.splits import read_split
from lalia.errors import LaliaError, RunError, list_some
from lalia.prepare import Prepared
from lalia.run_folder import package_versions, read_manifest
from lalia.run_lock import is_locked
from lalia.settings import RunSettings

DATA_FILE = "data.csv"


@dataclass(frozen=True)
class Change:
    """Something that is not as it was when a run began.

    Attributes:
        what: a setting's key, ``data``, ``split``, ``encoder.<property>`` or ``versions.<package>``.
        before: its value then, in words.
        now: its value now.
    """

    what: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.what}: {self.before} -> {self.now}"


def find_run(folder: Path, settings: RunSettings, prepared: Prepared, encoder: dict[str, Any]) -> Path:
    """Return the folder of the run to go on with: the one of these settings and data, or one that is like it.

    Args:
        folder: where the run of these settings and data is, if there is one.
        settings: of the run.
        prepared: what they come to.
        encoder: as it would stand in the manifest.

    Raises:
        RunError: if there are several unfinished runs of this name and none is of these settings and data.
    """
    if (folder / "manifest.json").exists():
        return folder
    found = [
        path
        for path in sorted(folder.parent.glob(f"{settings.name}-*"))
        if re.fullmatch("[0-9a-f]{8}", path.name.removeprefix(f"{settings.name}-"))
        and (path / "manifest.json").exists()
        and not read_manifest(path).get("finished")
        and not is_locked(path)
    ]
    changes = {path: find_changes(path, settings, prepared, encoder) for path in found}
    same = [path for path in found if not changes[path]]
    if same or len(found) == 1:
        return (same or found)[0]
    if found:
        said = "; ".join(f"{path.name}: {_in_words(changes[path])}" for path in found)
        raise RunError(
            f"No run has these settings and data, and {len(found)} of this name are unfinished ({said}). "
            "Give the settings of the one to go on with, or leave --resume out to begin a new one."
        )
    return folder


def find_changes(folder: Path, settings: RunSettings, prepared: Prepared, encoder: dict[str, Any]) -> list[Change]:
    """Return what differs from a run's manifest, settings and split; none where it has not begun.

    Args:
        folder: of the run.
        settings: as they are now.
        prepared: what they come to.
        encoder: as it would stand in the manifest.
    """
    manifest = read_manifest(folder)
    if not manifest:
        return []
    changes = _changed_settings(folder, settings)
    hashes = manifest.get("hashes", {})
    if hashes.get("data") != prepared.data_hash:
        changes.append(Change("data", *_describe_data(folder, prepared)))
    if hashes.get("split") != prepared.split.sha256:
        changes.append(Change("split", *_describe_split(folder, prepared)))
    changes += _compare("encoder", manifest.get("encoder", {}), encoder)
    changes += _compare("versions", manifest.get("versions", {}), package_versions())
    return changes


def accept_changes(folder: Path, changes: list[Change], *, allow_change: bool) -> list[dict[str, str]]:
    """Return all changes that a run's manifest must name, those that were allowed before too.

    Raises:
        RunError: lists the changes, if they are not allowed.
    """
    if changes and not allow_change:
        raise RunError(
            f"The run '{folder.name}' began otherwise ({_in_words(changes)}). Undo that; or go on all the same with "
            "--allow-change, which is noted in the manifest and the model card; or leave --resume out, for a new run."
        )
    noted: list[dict[str, str]] = read_manifest(folder).get("changes", [])
    return [*noted, *(asdict(change) for change in changes)]


def _in_words(changes: list[Change]) -> str:
    return "; ".join(map(str, changes)) or "no difference"


def _changed_settings(folder: Path, settings: RunSettings) -> list[Change]:
    try:
        before = load_config(folder / "config.yaml")
    except LaliaError as cause:
        return [Change("settings", f"config.yaml cannot be read ({cause})", "those given")]
    if identity_json(before) == identity_json(settings):
        return []
    return _compare("", *(_flatten(json.loads(identity_json(each))) for each in (before, settings)))


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _compare(group: str, before: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    prefix = f"{group}." if group else ""
    return [
        Change(f"{prefix}{key}", _value(before, key), _value(now, key))
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]


def _value(values: dict[str, Any], key: str) -> str:
    value = values.get(key)
    return "none" if value is None else str(value)


def _parts_before(folder: Path) -> dict[str, str]:
    try:
        parts = read_split(folder / "split.csv").parts
    except LaliaError:
        return {}
    return dict(zip(parts["recording"], parts["part"], strict=True))


def _parts_now(prepared: Prepared) -> dict[str, str]:
    names = list(prepared.table.recordings["recording"])
    return dict(zip(names, map(str, prepared.split.part_of(names)), strict=True))


def write_data_hashes(folder: Path, prepared: Prepared) -> None:
    """Write ``data.csv``: the hashes of each recording's audio and of what the table says of it."""
    write_csv(_data_hashes(prepared), folder / DATA_FILE)


def _data_hashes(prepared: Prepared) -> pd.DataFrame:
    recordings = prepared.table.recordings[["recording", "sha256"]]
    return recordings.assign(row=recordings["recording"].map(prepared.table.row_hashes()))


def _describe_data(folder: Path, prepared: Prepared) -> tuple[str, str]:
    now = _data_hashes(prepared).set_index("recording")
    try:
        before = read_csv(folder / DATA_FILE).set_index("recording")
    except (OSError, ValueError, KeyError):
        return "other data", f"{len(now)} recordings"
    both = before.index.intersection(now.index)
    differing = {
        "without": before.index.difference(now.index),
        "with": now.index.difference(before.index),
        "other audio of": both[before.loc[both, "sha256"] != now.loc[both, "sha256"]],
        "other words on": both[before.loc[both, "row"] != now.loc[both, "row"]],
    }
    said = [f"{what} {list_some(sorted(names))}" for what, names in differing.items() if len(names)]
    return f"{len(before)} recordings", ", ".join([f"{len(now)} recordings", *said])


def _describe_split(folder: Path, prepared: Prepared) -> tuple[str, str]:
    before, now = _parts_before(folder), _parts_now(prepared)
    moved = [name for name in sorted(before.keys() & now.keys()) if before[name] != now[name]]
    if not moved:
        return "as in split.csv", "of other recordings"
    return (
        f"{list_some([f'{name} in {before[name]}' for name in moved])}",
        f"{list_some([f'{name} in {now[name]}' for name in moved])}",
    )
