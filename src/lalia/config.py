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
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from lalia.errors import ConfigError, list_some, nearest_choice, printable, suggest
from lalia.files import write_text
from lalia.inherited import inherit_settings
from lalia.limits import Limits
from lalia.places import is_url, redact, why_no_place
from lalia.settings import RunSettings
from lalia.settings.data import LimitSettings
from lalia.settings.sweep import SweepSettings

SomeSettings = TypeVar("SomeSettings", bound=BaseModel)

# what no settings have, and what would take long to read
_MAX_BYTES = 4_000_000
_MAX_EVENTS = 100_000
_MAX_NESTING = 50


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # its parser in C, where it has one
    """YAML 1.1 as people write it: ``1e-3`` is a number, a key stands once."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (dict, list)):
                raise yaml.constructor.ConstructorError(None, None, "a key must be text or a number", node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' stands twice", key_node.start_mark)
            seen.add(key)
        made: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return made


_MOST_COMBINATIONS = 1000

_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)

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
            f"The limit {place} cannot be used: {_plain(first['msg'])}, got {first['input']!r}."
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
        _look_through(text)
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as cause:
        raise ConfigError(f"{where} is not valid YAML: {' '.join(str(cause).split())}") from cause


def _look_through(text: str) -> None:
    """Refuse aliases and what is large or deep beyond any settings, before anything is made of it."""
    if len(text) > _MAX_BYTES:
        raise ValueError(f"it has {len(text) / 1e6:.1f} MB, settings have at most {_MAX_BYTES / 1e6:g}")
    depth = 0
    event: Any
    for count, event in enumerate(yaml.parse(text, Loader=_Loader), start=1):
        mark: Any = event.start_mark
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed", mark)
        if count > _MAX_EVENTS or depth > _MAX_NESTING:
            reason = "too much for settings" if count > _MAX_EVENTS else "nested too deeply for settings"
            raise yaml.constructor.ConstructorError(None, None, reason, mark)


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
        problems = list(dict.fromkeys(_problems(cause, model)))
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise ConfigError(f"{where} has {count}: " + "; ".join(problems) + ".")


def _problems(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """Say each error in the user's words; where a setting has several types, the attempts become one problem."""
    attempts: dict[tuple[str, str], list[str]] = {}
    doubtful: dict[str, object] = {}
    told: set[str] = set()
    for found in error.errors():
        place, fields = _place(found["loc"], model)
        value, kind, context = found["input"], found["type"], found.get("ctx", {})
        if (kind == "string_type" and isinstance(value, dict)) or (kind == "model_type" and isinstance(value, str)):
            doubtful[place] = value
            continue  # the other type of this setting, where it has one, has the better complaint
        told.add(place)
        if kind == "extra_forbidden":
            folder, _, key = place.rpartition(".")
            nearest = nearest_choice(key, fields)
            hint = f" (did you mean {folder + '.' if folder else ''}{nearest}?)" if nearest else ""
            yield f"{place} is not a setting{hint}"
        elif kind == "missing":
            yield f"{place} is missing"
        elif kind == "union_tag_invalid":
            yield f"{place}.kind must be one of {context['expected_tags']}, got '{context['tag']}'"
        elif kind == "union_tag_not_found":
            yield f"{place}.kind is missing"
        elif kind == "value_error":
            said = str(context["error"]).removesuffix(".")
            yield f"{place}: {said}" if place else said
        else:
            attempts.setdefault((place, _shown(value)), []).append(_plain(found["msg"]))
    for (place, shown), messages in attempts.items():
        yield f"{place} must be {' or '.join(dict.fromkeys(messages))}, got {shown}"
    for place, value in doubtful.items():
        if not any(f"{each}.".startswith(f"{place}.") for each in told):
            expected = "text" if isinstance(value, dict) else "a group of settings"
            yield f"{place} must be {expected}, got {_shown(value)}"


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number with very many digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(message: str) -> str:
    """Say pydantic's expectations as people do."""
    message = re.sub(r", unable to parse.*", "", message[:1].lower() + message[1:])
    for theirs, ours in (
        ("greater than or equal to", "at least"),
        ("less than or equal to", "at most"),
        ("greater than", "more than"),
    ):
        message = message.replace(theirs, ours)
    message = re.sub(r"a valid dictionary or instance of \w+", "a group of settings", message)
    return message.removeprefix("input should be ")


# how pydantic names the alternatives of a union in an error's location
_TYPE_NAME = re.compile(r"^(str|int|float|bool|(constrained|literal|function|lax|tuple)[-\[].*|.*\[key\])$")


def _place(location: tuple[int | str, ...], model: type[BaseModel]) -> tuple[str, list[str]]:
    """Return the key path of an error without pydantic's names of variants, and the keys known at its last step."""
    keys: list[str] = []
    models: list[type[BaseModel]] = [model]
    for step in location:
        fields = {name: field for model in models for name, field in model.model_fields.items()}
        if isinstance(step, str) and step in fields:
            keys.append(step)
            models = list(_models_in(fields[step].annotation))
            continue
        variants = [
            m for m in models if step in (m.__name__, m.model_fields.get("kind") and m.model_fields["kind"].default)
        ]
        if variants:
            models = variants
        elif not _TYPE_NAME.match(str(step)):
            keys.append(printable(str(step)))  # a position in a list, or a key that no setting has
    last = {name for model in models for name in model.model_fields}
    return ".".join(keys), sorted(last)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _models_in(part)
