"""YAML as people write it and strangers may: only plain values are made, and nothing large, deep or said twice."""

import re
from typing import Any

import yaml

# what no file of settings or answers has, and what would take long to read
_MAX_BYTES = 4_000_000
_MAX_EVENTS = 100_000
_MAX_NESTING = 50


class _EachKeyOnce:
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        loader: Any = self
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = loader.construct_object(key_node, deep=True)
            if isinstance(key, (dict, list)):
                raise yaml.constructor.ConstructorError(None, None, "a key must be text or a number", node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' stands twice", key_node.start_mark)
            seen.add(key)
        made: dict[Any, Any] = super().construct_mapping(node, deep=deep)  # type: ignore[misc]
        return made


# the parser in C, where there is one
class _Loader(_EachKeyOnce, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.1, but ``1e-3`` is a number."""


class _TextLoader(_EachKeyOnce, getattr(yaml, "CBaseLoader", yaml.BaseLoader)):  # type: ignore[misc]
    """All scalars are text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def parse_yaml(text: str, *, as_text: bool = False) -> Any:
    """Return what a YAML text holds: mappings, lists and scalars.

    Args:
        text: of one document.
        as_text: leave all scalars as text: ``1.10`` is not 1.1, and ``no`` is no truth value.

    Raises:
        ValueError: says in one line why it is refused.

    Example:
        >>> parse_yaml("a: [1e-3, no]"), parse_yaml("a: [1e-3, no]", as_text=True)
        ({'a': [0.001, False]}, {'a': ['1e-3', 'no']})
    """
    loader: Any = _TextLoader if as_text else _Loader
    try:
        _look_through(text, loader)
        return yaml.load(text, Loader=loader)
    except (yaml.YAMLError, RecursionError, ValueError) as cause:
        raise ValueError(" ".join(str(cause).split())) from cause


def _look_through(text: str, loader: Any) -> None:
    """Refuse aliases and what is large or deep beyond any settings, before anything is made of it."""
    if len(text) > _MAX_BYTES:
        raise ValueError(f"it has {len(text) / 1e6:.1f} MB, settings have at most {_MAX_BYTES / 1e6:g}")
    depth = 0
    event: Any
    for count, event in enumerate(yaml.parse(text, Loader=loader), start=1):
        mark: Any = event.start_mark
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed", mark)
        if count > _MAX_EVENTS or depth > _MAX_NESTING:
            reason = "too much for settings" if count > _MAX_EVENTS else "nested too deeply for settings"
            raise yaml.constructor.ConstructorError(None, None, reason, mark)
