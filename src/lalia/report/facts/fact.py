"""What a run knows of an item: known, in part, bad, or not in the run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from lalia.errors import list_some
from lalia.report.contents import Contents

State = Literal["known", "part", "failed", "absent"]


@dataclass(frozen=True)
class Fact:
    """What a run knows of an item.

    Attributes:
        value: in words.
        state: ``known`` answers the item; ``part`` leaves something for people to say; ``failed`` is known to be bad;
            ``absent`` is not in the run, but may be elsewhere.
        source: the files of the run that say so.
    """

    value: str
    state: State
    source: str


FactOf = Callable[[Contents], Fact]


def has_test(contents: Contents) -> bool:
    """Return whether the numbers of the run are those of a test part."""
    return "test" in contents.metrics and "test" in set(contents.predictions["part"])


def has_part(contents: Contents, part: str) -> bool:
    """Return whether a part has recordings."""
    counts = contents.manifest["flow"]["parts"].get(part, {})
    return bool(counts.get("recordings"))


def count_speakers(contents: Contents, part: str) -> int:
    """Return how many speakers of a part have a rated recording."""
    rows = contents.predictions
    return int(rows.loc[(rows["part"] == part) & rows["rating"].notna(), "speaker"].nunique())


def name_encoder(contents: Contents) -> str:
    """Return the name of the encoder, not that of a folder, which may bear a person's name."""
    encoder: dict[str, Any] = contents.manifest["encoder"]
    known = encoder.get("revision") or str(encoder["name"]).startswith("random:")
    revision = f", revision {encoder['revision']}" if encoder.get("revision") else ""
    digest = f", SHA-256 {encoder['weights_sha256']}" if encoder.get("weights_sha256") else ""
    return f"{encoder['name'] if known else 'an encoder from a local folder'}{revision}{digest}"


def count_parts(contents: Contents) -> str:
    """Say how many recordings and speakers each part has."""
    if contents.folds:
        kept = contents.manifest["flow"]["kept"]
        return f"{kept['recordings']} recordings of {kept['speakers']} speakers, each in the test part of one fold"
    parts = contents.manifest["flow"]["parts"].items()
    return "; ".join(
        f"{name} {found['recordings']} recordings of {found['speakers']} speakers" for name, found in parts
    )


def join(sentences: Iterable[str], most: int = 12) -> str:
    """Join parts of a sentence, counting those beyond the most."""
    return list_some(list(sentences), most=most)
