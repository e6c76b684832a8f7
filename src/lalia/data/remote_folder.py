"""A folder of another tool that is at a URL, here for as long as it is read: its tables, under their own names."""

import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath

from lalia.data.copies import fetching_ahead, open_copies
from lalia.data.remote import ObjectInfo, list_objects
from lalia.data.safe_paths import why_unsafe
from lalia.errors import StorageError, TableError, list_some
from lalia.places import join_url, name_of

# a file without an extension is one of Kaldi's; audio, weights and pictures are left where they are
_EXTENSIONS = ("", ".arrow", ".csv", ".json", ".jsonl", ".parquet", ".scp", ".txt", ".tsv", ".yaml")


def list_tables(url: str) -> dict[str, ObjectInfo]:
    """Describe the files of a folder at a URL that may be tables, by their paths in it.

    Raises:
        StorageError: if it cannot be listed.
    """
    return {name: info for name, info in list_objects(url).items() if _is_read(PurePosixPath(name))}


def _is_read(path: PurePosixPath) -> bool:
    return path.suffix.lower() in _EXTENSIONS and not any(part.startswith(".") for part in path.parts)


def fetch_folder(url: str) -> Path:
    """Return a folder with the files of one at a URL that may be tables, as links to their local copies.

    It lies alone in a new folder, which whoever asked for it deletes.

    Raises:
        TableError: if there are none.
        StorageError: if it cannot be read, or a name in it leads elsewhere.
    """
    listed = list_tables(url)
    if not listed:
        raise TableError(f"There is no table at '{url}', and no folder with one.")
    unsafe = [f"'{name}' {why}" for name in listed if (why := why_unsafe(name, "path"))]
    if unsafe:
        raise StorageError(f"'{url}' names files that do not lie in it: {list_some(unsafe)}.")
    copies = open_copies()
    copies.note({join_url(url, name): info for name, info in listed.items()})
    # beside the copies, where they can be linked
    parent = Path(tempfile.mkdtemp(prefix=".folder-", dir=copies.folder))
    try:
        with fetching_ahead(copies, [join_url(url, name) for name in listed]):
            for name in listed:
                target = parent / name_of(url) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(copies.fetch(join_url(url, name)), target)
    except BaseException:
        shutil.rmtree(parent, ignore_errors=True)
        raise
    return parent / name_of(url)


def _link(copy: Path, target: Path) -> None:
    try:
        os.link(copy, target)
    except OSError:  # a file system without links
        shutil.copyfile(copy, target)
