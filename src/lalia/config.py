"""Reading the settings of a run: load, override, check, save.

Settings come from YAML and from ``key.path=value`` overrides. Every problem is reported at once, with its key path.
What is left out follows from ``model.start_from`` or ``model.head_from``, and else from the defaults.
Paths in a file are relative to that file, paths in an override and the folder of the runs to the working directory;
all are kept absolute.
"""

import copy
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from lalia.errors import ConfigError, list_some, suggest
from lalia.files import write_text
from lalia.inherited import inherit_settings
from lalia.limits import Limits
from lalia.places import is_url, redact, why_no_place
from lalia.settings import RunSettings
from lalia.settings.data import LimitSettings
from lalia.settings.problems import describe_problems, say_plainly
from lalia.settings.sweep import SweepSettings
from lalia.strict_yaml import parse_yaml

SomeSettings = TypeVar("SomeSettings", bound=BaseModel)

_MOST_COMBINATIONS = 1000

# settings that name a place, relative to the file that they stand in
_PATH_KEYS = (
    ("data", "metadata"),
    ("data", "audio_dir"),
    ("split", "path"),
    ("model", "download_dir"),
    ("model", "start_from"),
    ("model", "head_from"),
    ("cache", "dir"),
)

# those that may be URLs; what lalia writes to as well, not all stores take
_URL_KEYS = {
    "data.metadata": ("s3", "gs", "hf", "memory"),
    "data.audio_dir": ("s3", "gs", "hf", "memory"),
    "runs": ("s3", "gs", "memory"),
    "cache.dir": ("s3", "gs", "memory"),
}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunSettings:
    """Read the settings of a run from YAML and apply overrides.

    Args:
        path: a YAML file; a run's own ``config.yaml`` gives the same run.
        overrides: ``key.path=value``, the value in YAML. Changing a ``kind``, or the architecture of a random
            encoder, drops the old variant's keys.

    Raises:
        ConfigError: lists every problem with its key path.
    """
    path = Path(path)
    values = _read_yaml(path, "name: my-run")
    _resolve_paths(values, path.absolute().parent)
    for override in overrides:
        _apply_override(values, override)
    inherit_settings(values)
    if isinstance(values.setdefault("runs", "runs"), str):
        values["runs"] = _locate("runs", values["runs"], Path.cwd())
    settings = _validate(values, path.name, RunSettings)
    for chosen in combinations(settings.choose.grid):
        with_values(settings, chosen)
    return settings


def load_sweep(path: str | Path) -> SweepSettings:
    """Read the settings of a sweep from YAML.

    Args:
        path: a YAML file; the base run, and whatever else names a place, is relative to it.

    Raises:
        ConfigError: lists every problem with its key path.
    """
    path = Path(path)
    values = _read_yaml(path, "base: run.yaml")
    folder = path.absolute().parent
    if isinstance(values.get("base"), str):
        values["base"] = _absolute(values["base"], folder)
    if isinstance(values.get("grid"), dict):
        values["grid"] = _resolve_grid(values["grid"], folder)
    if isinstance(values.get("trials"), list):
        values["trials"] = [
            {str(key): _resolve_value(str(key).split("."), value, folder) for key, value in each.items()}
            if isinstance(each, dict)
            else each
            for each in values["trials"]
        ]
    return _validate(values, path.name, SweepSettings)


def with_values(settings: RunSettings, values: Mapping[str, Any]) -> RunSettings:
    """Return settings with other values, given by their key paths, such as ``{"model.layers": 6}``.

    Raises:
        ConfigError: lists every problem with its key path.
    """
    changed = settings.model_dump(mode="json")
    for key_path, value in values.items():
        _merge(changed, _nest(key_path.split("."), copy.deepcopy(value)))
    said = ", ".join(f"{key_path}={value}" for key_path, value in values.items())
    return _validate(changed, f"a run with {said}", RunSettings)


def combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return every combination of the values of a grid, the last key changing fastest; one that is empty without any.

    Raises:
        ConfigError: if a key has no value, or there are more combinations than anybody would want to train.

    Example:
        >>> combinations({"seed": [1, 2], "model.layers": ["last"]})
        [{'seed': 1, 'model.layers': 'last'}, {'seed': 2, 'model.layers': 'last'}]
    """
    empty = [key for key, values in grid.items() if not values]
    if empty:
        raise ConfigError(f"A grid needs values to choose from, and {list_some(empty)} has none.")
    count = math.prod(len(values) for values in grid.values())
    if count > _MOST_COMBINATIONS:
        raise ConfigError(f"The grid has {count:,} combinations; {_MOST_COMBINATIONS:,} are the most.")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def read_limits(texts: Sequence[str]) -> Limits:
    """Read limits of audio files, each as ``key=value``, such as ``max_seconds=20000``; the others are the defaults.

    Raises:
        ConfigError: says what is wrong with them.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in LimitSettings.model_fields:
            raise ConfigError(
                f"'{text}' is no limit.{suggest(key, LimitSettings.model_fields)} Write key=value with one of"
                f" {', '.join(LimitSettings.model_fields)}."
            )
        values[key] = _parse_yaml(value, f"the limit '{text}'")
    try:
        return LimitSettings.model_validate(values).build()
    except ValidationError as cause:
        first = cause.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"The limit {place} cannot be used: {say_plainly(first['msg'])}, got {first['input']!r}."
        ) from cause


def save_config(settings: RunSettings, path: str | Path) -> None:
    """Write the settings as resolved, so that ``load_config`` gives them back."""
    write_text(path, yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def identity_json(settings: RunSettings) -> str:
    """Return the settings that change what a run computes, as canonical JSON: no name, place, report, audit."""
    values = settings.model_dump(mode="json")
    for key in ("name", "runs", "report", "probe", "audit"):
        values.pop(key)
    for key in ("dir", "max_gb"):
        values["cache"].pop(key)
    for key in ("metadata", "format", "audio_dir"):
        values["data"].pop(key)
    # limits only refuse recordings, and those that are left count by their content
    values["audio"].pop("limits")
    # what a run goes on from counts by its weights, in the name of the run's folder
    for key in ("download_dir", "keep_download", "start_from", "head_from"):
        values["model"].pop(key)
    values["split"].pop("path", None)
    if not values["split"].get("inner"):
        values.pop("choose")
    for key in ("workers", "gradient_checkpointing", "trackers"):
        values["train"].pop(key)
    values["model"].pop("save_encoder")
    return json.dumps(values, sort_keys=True, allow_nan=False)


def shareable(settings: RunSettings) -> dict[str, Any]:
    """Return the settings without what tells of people and places: no path, no address, no id of a recording."""
    values = settings.model_dump(mode="json")
    values.pop("runs")
    values["data"].pop("exclude")
    values["cache"].pop("dir")
    return {key: _without_places(value) for key, value in values.items()}


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_places(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_places(each) for each in value]
    is_place = isinstance(value, str) and (
        "://" in value or PurePosixPath(value).is_absolute() or bool(PureWindowsPath(value).anchor)
    )
    return "(a place)" if is_place else value


def _read_yaml(path: Path, example: str) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as cause:
        raise ConfigError(f"Cannot read the settings '{path}': {cause.strerror or cause}.") from cause
    except UnicodeDecodeError as cause:
        raise ConfigError(f"{path.name} is not UTF-8 text. Save it as UTF-8.") from cause
    values = _parse_yaml(text, path.name)
    if not isinstance(values, dict):
        raise ConfigError(f"{path.name} must hold settings such as '{example}', got {type(values).__name__}.")
    return values


def _parse_yaml(text: str, where: str) -> Any:
    try:
        return parse_yaml(text)
    except ValueError as cause:
        raise ConfigError(f"{where} is not valid YAML: {cause}") from cause


def _resolve_paths(values: dict[str, Any], folder: Path) -> None:
    """Make the paths of a mapping of settings absolute, those it names."""
    for keys in _PATH_KEYS:
        holder: Any = values
        for key in keys[:-1]:
            holder = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and isinstance(holder.get(keys[-1]), str):
            holder[keys[-1]] = _locate(".".join(keys), holder[keys[-1]], folder)
    model = values.get("model")
    encoder = model.get("encoder") if isinstance(model, dict) else None
    # an encoder is a folder only where that folder is: anything else is an id of the hub
    if isinstance(encoder, str) and Path(place := _absolute(encoder, folder)).is_dir():
        values["model"]["encoder"] = place
    choose = values.get("choose")
    if isinstance(choose, dict) and isinstance(choose.get("grid"), dict):
        choose["grid"] = _resolve_grid(choose["grid"], folder)


def _resolve_grid(grid: Mapping[Any, Any], folder: Path) -> dict[Any, Any]:
    return {
        key_path: [_resolve_value(str(key_path).split("."), value, folder) for value in choices]
        if isinstance(choices, list)
        else choices
        for key_path, choices in grid.items()
    }


def _resolve_value(keys: Sequence[str], value: Any, folder: Path) -> Any:
    nested = _nest(keys, value)
    _resolve_paths(nested, folder)
    for key in keys:
        nested = nested[key]
    return nested


def _locate(key: str, place: str, folder: Path) -> str:
    """Return the absolute path of a setting, or its URL where it may have one."""
    if not is_url(place):
        return _absolute(place, folder)
    problem = why_no_place(place)
    if not problem and place.partition("://")[0] not in _URL_KEYS.get(key, ()):
        problem = "is a URL, and this setting takes none of its kind: give a local path"
    if problem:
        raise ConfigError(f"{key}: '{redact(place)}' {problem}.")
    return place


def _absolute(place: str, folder: Path) -> str:
    if is_url(place):
        return place
    try:
        return str((folder / Path(place).expanduser()).absolute().resolve())
    except (ValueError, RuntimeError, OSError) as cause:  # NUL, a user that is not there, links in a circle
        raise ConfigError(f"{place!r:.200} is no path: {cause}.") from cause


def _apply_override(values: dict[str, Any], override: str) -> None:
    key_path, equals, text = override.partition("=")
    keys = key_path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"Cannot read the override '{override}'. Write key.path=value, such as train.epochs=5.")
    value = _parse_yaml(text, f"the override '{override}'") if text.strip() else None
    nested = _nest(keys, value)
    _resolve_paths(nested, Path.cwd())
    _merge(values, nested)


def _nest(keys: Sequence[str], value: Any) -> dict[str, Any]:
    nested: dict[str, Any] = {keys[-1]: value}
    for key in reversed(keys[:-1]):
        nested = {key: nested}
    return nested


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    # what names a variant: with another one, the old one's keys go
    for name in ("kind", "random"):
        if name in new and into.get(name, new[name]) != new[name]:
            into.clear()
    for key, value in new.items():
        old = into.get(key)
        if (
            isinstance(value, dict)
            and isinstance(old, str)
            and key in ("adapt", "pooling", "head", "split", "optimizer")
        ):
            old = into[key] = {"kind": old}
        if isinstance(value, dict) and isinstance(old, list) and key == "augment":
            old = into[key] = {"apply": old}
        if isinstance(value, dict) and isinstance(old, dict):
            _merge(old, value)
        else:
            into[key] = value


def _validate(values: dict[str, Any], where: str, model: type[SomeSettings]) -> SomeSettings:
    try:
        return model.model_validate(values)
    except ValidationError as cause:
        problems = list(dict.fromkeys(describe_problems(cause, model)))
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise ConfigError(f"{where} has {count}: " + "; ".join(problems) + ".")
