"""Writing files so that a final name never holds half a file: a temporary file or folder beside it, then a rename."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lalia.safe_text import escape_json


@contextmanager
def replacing(path: str | Path, *, waits_for_disk: bool = True) -> Iterator[Path]:
    """Give a temporary path in the same folder, and rename it to ``path`` when the block ends without an error.

    Args:
        path: the final name.
        waits_for_disk: False where a file that a power cut has damaged is noticed by whoever reads it: waiting takes
            some milliseconds for each file.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> with replacing(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("done")
        >>> [file.name for file in folder.iterdir()]
        ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if waits_for_disk:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path``, and put it in place of ``path`` when the block ends without an error.

    What it holds is on the disk before it has its final name.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    try:
        yield temporary
        for file in temporary.iterdir():
            sync(file)
        sync(temporary)
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".old"))
            path.replace(old)
            temporary.replace(path)
            shutil.rmtree(old)
        else:
            temporary.replace(path)
        sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_private(folder: str | Path) -> Path:
    """Return a folder, made where there is none, and then closed to everybody else."""
    folder = Path(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def sync(path: Path) -> None:
    """Have the system put a file, or the names in a folder, on the disk now."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text under its final name at once, lines ending in a newline alone."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, values: Mapping[str, Any]) -> None:
    """Write strict JSON (no NaN, no infinity) under its final name at once."""
    write_text(path, json_text(values))


def json_text(values: Any, *, sort_keys: bool = False) -> str:
    """Return strict JSON in lines, with letters of all scripts and with nothing that nobody sees."""
    text = json.dumps(values, indent=2, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False)
    return escape_json(text) + "\n"
