"""Where files lie: from a place that a user names, a path or a URL, to a file that can be opened here."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from lalia.errors import DataError, StorageError
from lalia.places import is_url, parent_url, redact, why_no_place


def locate(place: str | Path) -> str | Path:
    """Return the absolute local path of a place, or the URL as it is.

    Raises:
        DataError: if it is neither.

    Example:
        >>> locate("s3://bucket/metadata.csv")
        's3://bucket/metadata.csv'
    """
    if not is_url(place):
        return local_path(place)
    problem = why_no_place(str(place))
    if problem:
        raise DataError(f"'{redact(str(place))}' {problem}.")
    return str(place)


def local_path(place: str | Path) -> Path:
    """Return the absolute local path of a place.

    Raises:
        DataError: if the place is a URL, or no path.

    Example:
        >>> local_path("/data/metadata.csv").name
        'metadata.csv'
    """
    if is_url(place):
        raise DataError(
            f"'{redact(str(place))}' is a URL, and only a local file is read here. Give the path of a copy."
        )
    try:
        path = Path(place).expanduser().absolute()
        path.lstat()
    except OSError:
        return path
    except (ValueError, RuntimeError) as cause:  # NUL, or a user that is not there
        raise DataError(f"{str(place)!r:.200} is no path: {cause}.") from cause
    return path


def parent_of(place: str | Path) -> str | Path:
    """Return the folder of a located file."""
    return place.parent if isinstance(place, Path) else parent_url(place)


def local_file(place: str | Path, sha256: str | None = None) -> Path:
    """Return a path under which a file can be opened here: of a URL that of a local copy.

    Args:
        place: a path, which is returned as it is, or a URL.
        sha256: of the content that a URL's object must have; None takes what is there.

    Raises:
        StorageError: if it cannot be read; as ``NotThere`` if there is no such object.
    """
    if not is_url(place):
        return Path(place)
    # only now: a run on local files has no use for it
    from lalia.data.copies import open_copies

    return open_copies().fetch(str(place), sha256=sha256)


def fetching_ahead(places: Iterable[str]) -> AbstractContextManager[None]:
    """Copy those of some files that are at URLs, several at a time, while the block uses them one by one."""
    urls = [place for place in places if is_url(place)]
    if not urls:
        return nullcontext()
    from lalia.data.copies import fetching_ahead, open_copies

    return fetching_ahead(open_copies(), urls)


def why_no_object(error: StorageError) -> str | None:
    """Return the words for a recording that has no object, None where something else went wrong."""
    from lalia.data.remote import NotThere

    return "does not exist any more" if isinstance(error, NotThere) else None
