"""The settings that a run takes over from the saved rater that it starts from, where they are not given."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# a saved rater, or the folder of its run
_PLACES = ("config.json", "model/config.json")


def inherit_settings(values: dict[str, Any]) -> None:
    """Fill in what settings leave out from ``model.start_from`` or ``model.head_from``, so that they agree with it.

    A whole rater gives the layers, pooling, head, rating scale, trimming and windows, a head its pooling, head and
    scale. What is given stays as it is. A folder that cannot be read gives nothing: building the rater says why.

    Args:
        values: the settings as read, before they are checked; changed in place.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> saved = {"layers": 3, "pooling": {"kind": "attention", "hidden": 8}, "head": {"kind": "binary"}}
        >>> _ = Path(folder, "config.json").write_text(json.dumps(saved))
        >>> values = {"model": {"start_from": folder, "head": {"dropout": 0.5}}}
        >>> inherit_settings(values)
        >>> values["model"]["layers"], values["model"]["pooling"]["hidden"], values["model"]["head"]
        (3, 8, {'kind': 'binary', 'dropout': 0.5})
    """
    model = values.get("model")
    if not isinstance(model, dict):
        return
    for key in ("start_from", "head_from"):
        saved = _read_saved(model.get(key))
        for part in ("pooling", "head"):
            _fill_variant(model, part, _name_groups(saved, saved.get(part)))
        _fill(_within(values, "data", "scale"), saved.get("scale"), ("levels", "present_from"))
        if key == "start_from":
            _fill(model, saved, ("layers",))
            audio, preprocessing = _within(values, "audio"), saved.get("preprocessing")
            _fill(audio, preprocessing, ("trim_db",))
            if not {"window_seconds", "hop_seconds"} & set(audio):
                _fill(audio, preprocessing, ("window_seconds", "hop_seconds"))


def _read_saved(place: object) -> dict[str, Any]:
    for name in _PLACES if isinstance(place, str) else ():
        try:
            saved = json.loads((Path(str(place)) / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return saved if isinstance(saved, dict) else {}
    return {}


def _name_groups(saved: Mapping[str, Any], part: Any) -> Any:
    """Return a part of the saved config with the traits of groups by their names: a saved head knows their places."""
    groups = part.get("groups") if isinstance(part, Mapping) else None
    if not groups:
        return part
    return {**part, "groups": {name: [saved["traits"][place] for place in places] for name, places in groups.items()}}


def _within(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return the mapping under a key path, made where there is none; one of its own where something else is."""
    for key in keys:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            return {}
        values = inner
    return values


def _fill(into: dict[str, Any], saved: object, keys: tuple[str, ...]) -> None:
    for key in keys:
        if isinstance(saved, Mapping) and key in saved:
            into.setdefault(key, saved[key])


def _fill_variant(model: dict[str, Any], part: str, saved: object) -> None:
    """Fill in the keys of a variant, unless another kind is given."""
    given = model.get(part, {})
    given = {"kind": given} if isinstance(given, str) else given
    if isinstance(saved, Mapping) and isinstance(given, dict) and given.get("kind", saved["kind"]) == saved["kind"]:
        model[part] = {**saved, **given}
