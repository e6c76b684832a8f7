"""Write docs/settings.md from the types in src/lalia/settings/: python docs/make_settings.py."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from lalia.settings import RunSettings

HEAD = """# Settings

One YAML file holds the settings of a run; `lalia init` writes a first one. Any of them can be overridden on the command
line as `key.path=value`, the value in YAML. Unknown keys are refused and the nearest one is named. Where a setting has
variants, `kind` chooses one, and `pooling: mean` is short for `pooling: {kind: mean}`.

Paths in a file are relative to that file; paths in an override, and `runs`, to the working directory.
This page is written from the types by `python docs/make_settings.py`.
"""


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the settings types within an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from models_in(part)


def shown(default: Any) -> str:
    """Return a default as it would stand in YAML."""
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, BaseModel):
        kind = getattr(default, "kind", None)
        return f"`{kind}`" if kind else "see below"
    if isinstance(default, (tuple, list)):
        return f"`{json.dumps(list(default))}`"
    return f"`{json.dumps(default)}`"


def describe(model: type[BaseModel], place: str, done: set[tuple[type[BaseModel], str]]) -> Iterator[str]:
    """Yield the lines of a settings type and of those within it; what several variants hold stands there once."""
    nested: list[tuple[type[BaseModel], str]] = []
    kind = model.model_fields.get("kind")
    title = f"{place}: {{kind: {kind.default}}}" if kind else place
    yield f"\n## `{title or 'run.yaml'}`\n\n{model.__doc__}\n\n| key | default | |\n|---|---|---|"
    for name, field in model.model_fields.items():
        if name == "kind":
            continue
        inner = list(models_in(field.annotation))
        nested += [(each, f"{place}.{name}".lstrip(".")) for each in inner]
        default = {} if field.default_factory else field.default
        words = field.description or " / ".join((each.__doc__ or "").strip() for each in inner[:1])
        yield f"| `{name}` | {shown(default)} | {' '.join(words.split())} |"
    for each, where in nested:
        if (each, where) not in done:
            done.add((each, where))
            yield from describe(each, where, done)


def render() -> str:
    """Return the whole page."""
    return HEAD + "\n".join(describe(RunSettings, "", set())) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("settings.md")).write_text(
        render(), encoding="utf-8"
    )
