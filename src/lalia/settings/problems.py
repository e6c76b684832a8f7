"""What is wrong with settings, in the user's words instead of pydantic's."""

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from lalia.errors import nearest_choice, printable


def describe_problems(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
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
            attempts.setdefault((place, _shown(value)), []).append(say_plainly(found["msg"]))
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


def say_plainly(message: str) -> str:
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
