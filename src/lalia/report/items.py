"""The lists of items that reviewers work through: TRIPOD+AI, CLAIM, PROBAST+AI, each item in our own words."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

_FILES = ("tripod_ai", "claim", "probast_ai_development", "probast_ai_evaluation")


@dataclass(frozen=True)
class Item:
    """An item of a list.

    Attributes:
        number: as the list has it, such as "3a".
        domain: the section of the list.
        asks: what it asks for, in our words.
        fact: the name of what a run knows of it; None where only people can answer.
    """

    number: str
    domain: str
    asks: str
    fact: str | None


@dataclass(frozen=True)
class ItemList:
    """A list of items.

    Attributes:
        name: by which answers refer to it.
        source: the publication.
        items: in the order of the list.
    """

    name: str
    source: str
    items: tuple[Item, ...]

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)


@cache
def load_lists() -> tuple[ItemList, ...]:
    """Return the lists in the order of a report."""
    folder = resources.files("lalia.report") / "checklists"
    return tuple(_read((folder / f"{name}.yaml").read_text(encoding="utf-8")) for name in _FILES)


def _read(text: str) -> ItemList:
    # all scalars as text: item 1.1 is no number
    values = yaml.load(text, Loader=yaml.BaseLoader)
    items = tuple(Item(number, domain, asks, *(fact or [None])) for number, domain, asks, *fact in values["items"])
    return ItemList(values["name"], values["source"], items)
