"""Runs whose folder is at a URL: trained in a local one and uploaded when they begin, after each epoch, at the end."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from lalia.data.remote import list_folders, list_objects
from lalia.errors import RunError, StorageError
from lalia.files import replacing_folder
from lalia.places import is_url, join_url, name_of, parent_url
from lalia.run_folder import runs_folder
from lalia.run_mirror import RunMirror, download_files
from lalia.settings import RunSettings

logger = logging.getLogger(__name__)

_mirrors: dict[Path, RunMirror] = {}


def find_at_url(settings: RunSettings, folder: Path, *, resume: bool | Literal["same"], overwrite: bool) -> None:
    """Bring what ``runs`` at a URL has of a run, or of those that may be gone on with, to this machine.

    Args:
        settings: of the run.
        folder: of the run on this machine.
        resume: go on with a run that was stopped; of "same", the others stay where they are.
        overwrite: begin again.

    Raises:
        RunError: if the run exists already and is neither resumed nor overwritten.
        StorageError: if the URL cannot be read.
    """
    mirror = RunMirror(join_url(settings.runs, folder.name), folder)
    if overwrite:
        mirror.take_over()
    elif resume:
        mirror.pull()
        if resume is True and not (folder / "manifest.json").exists():
            for name in list_folders(settings.runs):
                other = RunMirror(join_url(settings.runs, name), folder.with_name(name))
                if re.fullmatch(rf"{re.escape(settings.name)}-[0-9a-f]{{8}}", name) and other.is_unfinished():
                    other.pull()
    elif mirror.exists():
        raise RunError(
            f"The run '{mirror.url}' exists already. Give --resume to go on, --overwrite to begin again, "
            "or change a setting such as the seed."
        )
    else:
        mirror.forget()


@contextmanager
def mirroring(url: str, folder: Path) -> Iterator[None]:
    """Have ``upload_run`` upload a run's folder, or one in it, to a URL, and do so at the beginning of the block.

    Raises:
        StorageError: if it cannot be written.
    """
    _mirrors[folder] = RunMirror(url, folder)
    try:
        _mirrors[folder].push()
        yield
    finally:
        del _mirrors[folder]


def upload_run(folder: Path, *, is_over: bool = False) -> None:
    """Upload the run that a folder is, or lies in, if it is one at a URL.

    Args:
        folder: of the run, or of a fold of it.
        is_over: whether this is the last time; before, what fails is told in the log and tried again the next time.

    Raises:
        StorageError: if it cannot be written, at the last time.
        RunError: if another process writes to the URL.
    """
    mirror = next((_mirrors[each] for each in (folder, *folder.parents) if each in _mirrors), None)
    if mirror is None:
        return
    try:
        mirror.push()
    except StorageError as error:
        if is_over:
            raise StorageError(
                f"The run is finished and lies in '{mirror.folder}', but could not be uploaded. {error} Then train "
                "again with --resume: that uploads it and no more."
            ) from error
        logger.warning("The run is not uploaded now: %s The next time it is tried again.", error)


def fetch_run(place: str | Path) -> Path:
    """Return the local folder of a run, or of a saved rater: of a URL that of a copy, brought up to date.

    Raises:
        RunError: if there is none at the URL.
        StorageError: if it cannot be read.
    """
    if not is_url(place):
        return Path(place)
    url = str(place).rstrip("/")
    folder = runs_folder(parent_url(url)) / name_of(url)
    mirror = RunMirror(url, folder)
    mirror.pull()
    return folder if folder.is_dir() else _fetch_rater(url)


@contextmanager
def opened_run(place: str | Path) -> Iterator[Path]:
    """Give the local folder of a run; of one at a URL what the block changes is uploaded when it ends without an error.

    Raises:
        RunError: as ``fetch_run``.
        StorageError: if it cannot be read or written.
    """
    folder = fetch_run(place)
    yield folder
    if is_url(place):
        RunMirror(str(place).rstrip("/"), folder).push()


def _fetch_rater(url: str) -> Path:
    names = list(list_objects(url))
    if "config.json" not in names:
        raise RunError(f"'{url}' is not the folder of a run, nor of a saved rater.")
    with replacing_folder(runs_folder(parent_url(url)) / "raters" / name_of(url)) as temporary:
        download_files(url, dict.fromkeys(names, ""), temporary)
    return runs_folder(parent_url(url)) / "raters" / name_of(url)
