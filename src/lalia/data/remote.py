"""Files in object stores, through fsspec: listed, described, read and written, each tried again where that may help.

Nothing else of lalia knows fsspec. Credentials come from where each store's own library looks for them, and no word
of such a library gets into an error: it might hold what signs a request.
"""

import asyncio
import errno
import logging
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from lalia.errors import StorageError
from lalia.places import redact, why_no_place

T = TypeVar("T")

ATTEMPTS: Final = 6
FIRST_WAIT_SECONDS = 0.3
"""Before something is tried again; twice as much each time, and up to a half more at random."""
CONNECTIONS: Final = 32
"""At the same time: objects are small, and an answer takes long."""

# retries of the libraries themselves would multiply with ours
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "s3": {
        "config_kwargs": {
            "retries": {"total_max_attempts": 1},
            "connect_timeout": 10,
            "read_timeout": 60,
            "max_pool_connections": 2 * CONNECTIONS,
        }
    }
}
_LIBRARIES = ("fsspec", "s3fs", "aiobotocore", "botocore", "aiohttp", "gcsfs", "google", "requests", "urllib3")
_LIBRARIES_OF_HF = ("huggingface_hub", "httpx", "httpx2", "httpcore", "httpcore2")
_WITHOUT_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "DefaultCredentialsError",
    "LocalTokenNotFound",
)
_MD5 = re.compile("[0-9a-f]{32}")

logger = logging.getLogger(__name__)


class NotThere(StorageError):
    """There is no object of that name."""


@dataclass(frozen=True)
class ObjectInfo:
    """An object as its store describes it.

    Attributes:
        size: in bytes.
        version: another one whenever the content is another.
        digests: of its content by the name of the algorithm: md5, sha256, or git's sha1; what the store tells.
    """

    size: int
    version: str
    digests: tuple[tuple[str, str], ...] = ()


def list_objects(url: str, *, recursive: bool = True) -> dict[str, ObjectInfo]:
    """Describe all objects below a folder by one listing, by their paths inside it; none where there is no folder.

    Args:
        url: of the folder.
        recursive: also those of its subfolders.

    Raises:
        StorageError: if the store refuses, or does not answer.
    """
    files, path = _open(url)

    def work() -> dict[str, ObjectInfo]:
        try:
            found = files.find(path, detail=True) if recursive else {e["name"]: e for e in files.ls(path, detail=True)}
        except FileNotFoundError:
            return {}
        prefix = f"{path.strip('/')}/"
        entries = {str(name).strip("/"): entry for name, entry in found.items() if entry["type"] == "file"}
        return {
            name.removeprefix(prefix): _describe(url, entry)
            for name, entry in entries.items()
            if name.startswith(prefix) and name != prefix
        }

    return _try(work, "list", url)


def list_folders(url: str) -> list[str]:
    """Return the names of the folders in a folder, sorted; none where there is no such folder.

    Raises:
        StorageError: as ``list_objects``.
    """
    files, path = _open(url)

    def work() -> list[str]:
        try:
            found = files.ls(path, detail=True)
        except FileNotFoundError:
            return []
        return sorted(str(e["name"]).rstrip("/").rpartition("/")[2] for e in found if e["type"] == "directory")

    return _try(work, "list", url)


def describe_object(url: str) -> ObjectInfo:
    """Describe one object.

    Raises:
        NotThere: if there is none.
        StorageError: as ``list_objects``.
    """
    files, path = _open(url)

    def work() -> ObjectInfo:
        entry = files.info(path, refresh=True)
        if entry["type"] != "file":
            raise FileNotFoundError(path)
        return _describe(url, entry)

    return _try(work, "look at", url)


def download(url: str, target: Path) -> None:
    """Write an object's content into a local file, from its beginning at each attempt; nothing is checked.

    Raises:
        NotThere: if there is none.
        StorageError: as ``list_objects``.
    """
    files, path = _open(url)
    _try(lambda: files.get_file(path, str(target)), "read", url)


def upload(source: Path, url: str) -> ObjectInfo:
    """Write a local file's content into an object, and return what the store says that it has then.

    Raises:
        StorageError: as ``list_objects``.
    """
    files, path = _open(url)

    def work() -> ObjectInfo:
        files.put_file(str(source), path)
        return _describe(url, files.info(path, refresh=True))

    return _try(work, "write", url)


def delete(url: str) -> None:
    """Delete an object, if it is there.

    Raises:
        StorageError: as ``list_objects``.
    """
    files, path = _open(url)

    def work() -> None:
        try:
            files.rm_file(path)
        except FileNotFoundError:
            return

    _try(work, "delete", url)


def _open(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and its path there."""
    scheme, _, rest = url.partition("://")
    # the name of an object may hold anything: what a user gives is checked by locate
    problem = why_no_place(f"{scheme}://{rest.partition('/')[0]}/any")
    if problem:
        raise StorageError(f"'{redact(url)}' {problem}.")
    try:
        files = _try(lambda: _make_file_system(scheme), "use", url)
    except ImportError as cause:
        raise StorageError(f"To use '{url}', install what reads it: pip install 'lalia[cloud]'") from cause
    return files, str(files._strip_protocol(url))


def _make_file_system(scheme: str) -> Any:
    # gcsfs would ask by another protocol what kind of bucket it is, and wait a minute where that is blocked
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    # after a fork fsspec makes another one: it looks at the number of the process
    import fsspec

    files = fsspec.filesystem(scheme, use_listings_cache=False, **_OPTIONS.get(scheme, {}))
    if scheme == "s3":
        files.retries = 1
    _quieten()
    return files


@cache
def _quieten() -> None:
    """Leave it to our errors to tell what went wrong: gcsfs writes tracebacks into the log."""
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)


def _describe(url: str, entry: dict[str, Any]) -> ObjectInfo:
    size = int(entry.get("size") or 0)
    if url.startswith("s3:"):
        tag = str(entry["ETag"]).strip('"')
        # of an upload in parts it is no md5, and has a dash
        return ObjectInfo(size, tag, (("md5", tag),) if _MD5.fullmatch(tag) else ())
    if url.startswith("gs:"):
        import base64

        digest = base64.b64decode(entry.get("md5Hash") or "").hex()
        version = digest or str(entry.get("generation") or entry.get("etag") or entry.get("updated"))
        return ObjectInfo(size, version, (("md5", digest),) if digest else ())
    if url.startswith("hf:"):
        lfs = entry.get("lfs")
        if lfs:
            return ObjectInfo(size, str(lfs["sha256"]), (("sha256", str(lfs["sha256"])),))
        version = str(entry.get("blob_id") or entry.get("xet_hash") or entry.get("mtime"))
        return ObjectInfo(size, version, (("git", version),) if entry.get("blob_id") else ())
    return ObjectInfo(size, f"{entry.get('created')} {size}")


def _try(work: Callable[[], T], verb: str, url: str) -> T:
    """Return what some work comes to, tried again where the store or the way to it may recover."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return work()
        except ImportError:
            raise
        except FileNotFoundError as cause:
            raise NotThere(f"There is nothing at '{url}'.") from cause
        except Exception as error:
            # a store's libraries raise errors of many kinds; those of our own code pass
            if not _is_of_a_store(error):
                raise
            reason, may_recover = _explain(error)
            if not may_recover or attempt == ATTEMPTS:
                tried = f", also at the {attempt}th attempt" if may_recover else ""
                raise StorageError(f"Cannot {verb} '{url}': {reason}{tried}.{_advice(reason, url)}") from error
            logger.info("Cannot %s '%s': %s. Trying again.", verb, url, reason)
            time.sleep(FIRST_WAIT_SECONDS * 2 ** (attempt - 1) * (1 + random.random() / 2))
    raise AssertionError("the last attempt returns or raises")


def _is_of_a_store(error: Exception) -> bool:
    if isinstance(error, (OSError, EOFError, asyncio.TimeoutError)):
        return True
    libraries = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return not libraries.isdisjoint((*_LIBRARIES, *_LIBRARIES_OF_HF))


def _explain(error: BaseException) -> tuple[str, bool]:
    """Say in our own words what went wrong, and whether that may be otherwise the next time."""
    chain = [error]
    while (before := chain[-1].__cause__) is not None:
        chain.append(before)
    names = {type(each).__name__ for each in chain}
    if not names.isdisjoint(_WITHOUT_CREDENTIALS):
        return "no credentials are known", False
    status = next((status for each in chain if (status := _status_of(each))), 0)
    if status in (401, 403) or isinstance(error, PermissionError) or str(error).startswith("Forbidden"):
        return "access is denied", False
    if status == 404:
        return "there is no such bucket or repository", False
    if status >= 500 or status in (408, 429):
        return f"the store is busy or out of order (status {status})", True
    if status >= 400:
        return f"the store refuses the request (status {status})", False
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full", False
    if isinstance(error, ValueError):
        return f"it is no place of such a store ({type(error).__name__})", False
    return f"the connection failed ({type(error).__name__})", True


def _status_of(error: BaseException) -> int:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        # aiohttp gives a broken connection a code of 400 that no store has sent
        own = getattr(error, "code", None) if type(error).__module__.startswith("gcsfs") else None
        found = getattr(response, "status_code", None) or getattr(error, "status", None) or own
    return int(found) if str(found).isdecimal() else 0


def _advice(reason: str, url: str) -> str:
    if reason in ("no credentials are known", "access is denied"):
        names = {
            "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            "gs": "GOOGLE_APPLICATION_CREDENTIALS",
            "hf": "HF_TOKEN",
        }
        return f" Look at {names.get(url.partition('://')[0], 'its credentials')} in the environment."
    return ""
