"""The user's cache folder: where it is, and what lalia keeps in it."""

import os
import shutil
import sys
from pathlib import Path


def user_cache(name: str) -> Path:
    """Return lalia's folder of a name within the user's cache folder: ``$XDG_CACHE_HOME``, or the platform's own."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if Path(given).is_absolute():  # the specification has relative ones ignored
        base = Path(given)
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path.home() / ".cache"
    return base / "lalia" / name


def measure_cache(name: str) -> tuple[int, int]:
    """Return how many files lie in a folder of the cache and how many bytes they have."""
    sizes = [file.stat().st_size for file in user_cache(name).rglob("*") if file.is_file()]
    return len(sizes), sum(sizes)


def clear_cache(name: str) -> None:
    """Delete a folder of the cache."""
    shutil.rmtree(user_cache(name), ignore_errors=True)
