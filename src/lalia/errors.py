"""The errors that lalia raises on purpose.

    LaliaError
    ├── ConfigError (ValueError)          settings that cannot be run
    ├── DataError (ValueError)
    │   ├── TableError                    the metadata table or its ratings
    │   ├── AudioError                    a recording that cannot be used
    │   └── SplitError                    parts that cannot be made or no longer fit the data
    ├── ModelError (ValueError)
    │   ├── EncoderError                  an encoder that cannot be found, loaded or used as asked
    │   ├── EmptyRecordingError           only padding reached the pooling
    │   └── RaterError                    a saved rater that cannot be read
    ├── TrainingError (RuntimeError)      training that cannot go on
    ├── StorageError (OSError)            files at a URL that cannot be read or written
    ├── RunError (OSError)                a run folder that cannot be used as asked
    ├── VersionError (ImportError)        a library that is too old
    ├── CacheError (OSError)              a cache folder that cannot be used
    └── Stopped                           a signal stopped the run, its state is saved

Each message says where and what was found, what is expected, and what to do.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class LaliaError(Exception):
    """Base of all errors that a user can mend; names in its message cannot move a terminal's cursor."""

    def __str__(self) -> str:
        return "\n".join(printable(line) for line in super().__str__().split("\n"))


class ConfigError(LaliaError, ValueError):
    """Settings that cannot be run."""


class DataError(LaliaError, ValueError):
    """Data that cannot be used as they are."""


class TableError(DataError):
    """A metadata table, or ratings in it, that cannot be used."""


class AudioError(DataError):
    """A recording that cannot be used."""


class SplitError(DataError):
    """Parts that cannot be made, or that no longer fit the data."""


class ModelError(LaliaError, ValueError):
    """A model that cannot be built or used as asked."""


class EncoderError(ModelError):
    """An encoder that cannot be found, loaded or used as asked."""


class EmptyRecordingError(ModelError):
    """A recording of which only padding reached the pooling."""


class RaterError(ModelError):
    """A saved rater that cannot be read."""


class TrainingError(LaliaError, RuntimeError):
    """Training that cannot go on."""


class StorageError(LaliaError, OSError):
    """Files at a URL that cannot be read or written."""


class RunError(LaliaError, OSError):
    """A run folder that cannot be used as asked."""


class CacheError(LaliaError, OSError):
    """A cache folder that cannot be used."""


class VersionError(LaliaError, ImportError):
    """A library that is missing or too old."""


class Stopped(LaliaError):
    """A signal stopped the run; its state is saved.

    Args:
        signal_number: the POSIX number, 2 for Ctrl-C, 15 for SIGTERM.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def printable(text: str) -> str:
    """Return a text with control characters, and what changes the direction of writing, as escapes.

    Example:
        >>> printable("a\\x1b[2Jb\\nc")
        'a\\\\x1b[2Jb\\\\nc'
    """
    return "".join(each if each.isprintable() or each == "\u00a0" else ascii(each)[1:-1] for each in text)


def nearest_choice(word: object, choices: Iterable[object]) -> str | None:
    """Return the choice that is spelled most like a word, or None if none is near."""
    nearest = get_close_matches(str(word), [str(choice) for choice in choices], n=1, cutoff=0.6)
    return nearest[0] if nearest else None


def suggest(word: object, choices: Iterable[object]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest choice, or nothing.

    Example:
        >>> suggest("epoch", ["epochs", "seed"])
        " Did you mean 'epochs'?"
        >>> suggest("zzz", ["epochs", "seed"])
        ''
    """
    nearest = nearest_choice(word, choices)
    return f" Did you mean '{nearest}'?" if nearest else ""


def list_some(items: Sequence[object], most: int = 5) -> str:
    """Join the first items with commas and count the rest.

    Example:
        >>> list_some([1, 2, 3], most=2)
        '1, 2 and 1 more'
    """
    shown = ", ".join(str(item) for item in items[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"
