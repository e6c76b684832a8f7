"""What to call the settings of trials: as short as tells them apart."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

# the key of a group of settings that says what it is
_NAMING = ("kind", "random", "path")
# words that need their key
_MEANINGLESS = {"auto", "false", "none", "null", "true"}


class Names:
    """Calls each value of the trials' settings by what sets it apart from the others under its key.

    Args:
        varied: the settings of all trials.

    Example:
        >>> lora, more = {"kind": "lora", "rank": 4, "alpha": 8}, {"kind": "lora", "rank": 8, "alpha": 8}
        >>> trials = [{"model.adapt": each, "seed": 1} for each in (lora, more, "frozen")]
        >>> [Names(trials).say(trial) for trial in trials]
        ['adapt lora (rank 4), seed 1', 'adapt lora (rank 8), seed 1', 'adapt frozen, seed 1']
    """

    def __init__(self, varied: Iterable[Mapping[str, Any]]) -> None:
        values: dict[str, dict[str, Any]] = {}
        for trial in varied:
            for key, value in trial.items():
                values.setdefault(key, {})[_to_json(value)] = value
        self._keys = _shorten_keys(values)
        self._values = {key: _tell_apart(known) for key, known in values.items()}

    def say(self, values: Mapping[str, Any]) -> str:
        """Return a trial's settings in words."""
        return ", ".join(f"{self._keys[key]} {self.say_value(key, value)}" for key, value in values.items()) or (
            "the base run"
        )

    def say_briefly(self, values: Mapping[str, Any]) -> str:
        """Return a trial's settings in words, without the keys of those values that are words of one key alone."""
        return (
            ", ".join(
                called if self._is_plain(key, called) else f"{self._keys[key]} {called}"
                for key, value in values.items()
                for called in (self.say_value(key, value),)
            )
            or "the base run"
        )

    def _is_plain(self, key: str, called: str) -> bool:
        elsewhere = (of for other, known in self._values.items() if other != key for of in known.values())
        return called[:1].isalpha() and called not in _MEANINGLESS and called not in elsewhere

    def say_key(self, key: str) -> str:
        """Return the last part of a key path, or as much of it as tells it from the others."""
        return self._keys[key]

    def say_value(self, key: str, value: Any) -> str:
        """Return what a value under a key is called; one that no trial has is that of the base run."""
        return self._values[key].get(_to_json(value), "as in the base run")


def _to_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _shorten_keys(keys: Iterable[str]) -> dict[str, str]:
    """Leave out what needs not be said: a kind is called by what it is a kind of."""
    parts = {key: key.removesuffix(".kind").split(".") for key in keys}
    counted = Counter(part[-1] for part in parts.values())
    return {key: part[-1] if counted[part[-1]] == 1 else key for key, part in parts.items()}


def _tell_apart(values: Mapping[str, Any]) -> dict[str, str]:
    alike: dict[str, list[Any]] = {}
    for value in values.values():
        alike.setdefault(_name(value), []).append(value)
    called = {text: _describe(value, alike[_name(value)]) for text, value in values.items()}
    counted = Counter(called.values())
    return {text: said if counted[said] == 1 else text for text, said in called.items()}


def _name(value: Any) -> str:
    """Return what a value is called where nothing else is called the same."""
    if isinstance(value, Mapping):
        return str(next((value[key] for key in _NAMING if key in value), ""))
    return value if isinstance(value, str) else json.dumps(value)


def _describe(value: Any, alike: list[Any]) -> str:
    name = _name(value)
    if (len(alike) == 1 and name) or not isinstance(value, Mapping):
        return name
    others = [each if isinstance(each, Mapping) else {} for each in alike if each != value]
    differing = [
        f"{key} {_name(each) or json.dumps(each)}"
        for key, each in value.items()
        if key not in _NAMING and (not others or any(other.get(key) != each for other in others))
    ]
    return f"{name} ({', '.join(differing)})".strip() if differing else name
