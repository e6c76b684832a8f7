"""Where files lie: from a place that a user names to a local path."""

from pathlib import Path

from lalia.errors import DataError


def local_path(place: str | Path) -> Path:
    """Return the absolute local path of a place.

    Raises:
        DataError: if the place is a URL, or no path.

    Example:
        >>> local_path("/data/metadata.csv").name
        'metadata.csv'
    """
    if "://" in str(place):
        raise DataError(
            f"'{place}' is a URL, and only local files are read. Copy it here and give the path of the copy."
        )
    try:
        path = Path(place).expanduser().absolute()
        path.lstat()
    except OSError:
        return path
    except (ValueError, RuntimeError) as cause:  # NUL, or a user that is not there
        raise DataError(f"{str(place)!r:.200} is no path: {cause}.") from cause
    return path
