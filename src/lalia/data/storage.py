"""Where files lie: from a place that a user names to a local path."""

from pathlib import Path

from lalia.errors import DataError


def local_path(place: str | Path) -> Path:
    """Return the absolute local path of a place.

    Raises:
        DataError: if the place is a URL.

    Example:
        >>> local_path("/data/metadata.csv").name
        'metadata.csv'
    """
    if "://" in str(place):
        raise DataError(
            f"'{place}' is a URL, and only local files are read. Copy it here and give the path of the copy."
        )
    return Path(place).expanduser().absolute()
