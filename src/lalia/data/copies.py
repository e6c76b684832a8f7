"""Local copies of objects, named by the hash of their content: each version of an object comes over the network once.

A copy appears complete or not at all, after its size and whatever digests the store tells have been compared; it is
compared with its name again when a process first uses it. Beside the copies lies for each URL which version was read
and what its content's hash was. Several processes may use one folder at once.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from lalia.data.remote import CONNECTIONS, ObjectInfo, describe_object, download
from lalia.data.user_cache import user_cache
from lalia.errors import StorageError
from lalia.files import write_text
from lalia.places import is_url

BUDGET_VARIABLE: Final = "LALIA_COPIES_GB"
DEFAULT_BUDGET_GB: Final = 100.0

# an object that changes under our hands is read again so many times
_READINGS: Final = 3
# a copy that was used so recently may be about to be opened
_IN_USE_SECONDS: Final = 600.0
_FILLED_AFTER_EVICTION: Final = 0.9
_LEFT_SECONDS: Final = 86_400.0

logger = logging.getLogger(__name__)


class Copies:
    """Copies of objects in a folder, within a budget: those that were used longest ago go first.

    Any number of threads may ask at once; two that ask for the same object wait for one reading.

    Args:
        folder: made if it is not there, closed to other users.
        max_bytes: the most that copies may take, but for those used in the last ten minutes.

    Raises:
        StorageError: if the folder cannot be made.
    """

    def __init__(self, folder: Path, max_bytes: float = DEFAULT_BUDGET_GB * 1e9) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        try:
            for part in (folder, folder / "objects", folder / "versions"):
                part.mkdir(parents=True, exist_ok=True)
                part.chmod(0o700)
        except OSError as cause:
            raise StorageError(f"Copies cannot be kept in '{folder}': {cause.strerror}. Set XDG_CACHE_HOME.") from cause
        self._lock = threading.Lock()
        self._lock_of: dict[str, threading.Lock] = {}
        self._listed: dict[str, ObjectInfo] = {}
        self._whole: dict[str, tuple[int, int, int]] = {}
        self._known_bytes: int | None = None

    def note(self, infos: Mapping[str, ObjectInfo]) -> None:
        """Remember what a listing said of objects, by URL, so that they are not described again one by one."""
        self._listed.update(infos)

    def fetch(self, url: str, *, sha256: str | None = None) -> Path:
        """Return a local copy of an object.

        Args:
            url: of the object.
            sha256: of the content that it must have, as hashed before; a copy of that is taken without a question to
                the store. None takes the version that was listed, or what is there now.

        Raises:
            NotThere: if there is no such object.
            StorageError: if it cannot be read, has another content than it must, or changes again and again.
        """
        with self._reading(url):
            if sha256 is not None and (copy := self._find(sha256)) is not None:
                return copy
            info = self._listed.get(url) or describe_object(url)
            known = self._read_version(url)
            if sha256 is None and known.get("version") == info.version and (copy := self._find(known["sha256"])):
                self._listed[url] = info
                return copy
            found = self._read(url, info)
        if sha256 is not None and found != sha256:
            raise StorageError(f"'{url}' has changed since it was first read. Leave it as it is while lalia works.")
        return self._path(found)

    def summary(self) -> tuple[int, int]:
        """Return how many copies there are, and their bytes."""
        sizes = [size for _, size, _ in self._files()]
        return len(sizes), sum(sizes)

    def clear(self) -> tuple[int, int]:
        """Delete all copies and what was known of URLs, nothing else in the folder, and say what there was."""
        before = self.summary()
        for part in ("objects", "versions"):
            shutil.rmtree(self.folder / part, ignore_errors=True)
            (self.folder / part).mkdir(mode=0o700, exist_ok=True)
        for left in (*self.folder.glob(".reading-*"), *self.folder.glob(".folder-*")):
            # of a process that was killed, most likely
            if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        self._known_bytes = None
        return before

    @contextmanager
    def _reading(self, url: str) -> Iterator[None]:
        with self._lock:
            lock = self._lock_of.setdefault(url, threading.Lock())
        with lock:
            yield

    def _read(self, url: str, info: ObjectInfo) -> str:
        """Copy an object and return the hash of its content."""
        earlier = ""
        for _ in range(_READINGS):
            with tempfile.TemporaryDirectory(prefix=".reading-", dir=self.folder) as folder:
                temporary = Path(folder) / "content"
                self._make_room(info.size)
                download(url, temporary)
                digests = _hash(temporary, {"sha256", *(name for name, _ in info.digests)})
                found, size = digests["sha256"], temporary.stat().st_size
                agrees = size == info.size and all(digests[name] == value for name, value in info.digests)
                # what was read is of the version described if a digest says so, or else if that is still the version
                now = info if agrees and info.digests else describe_object(url)
                # an encrypted object's md5 may be that of something else: then two readings are the same
                if now.version == info.version and size == info.size and (agrees or found == earlier):
                    self._place(temporary, found)
                    self._listed[url] = info
                    text = json.dumps({"version": info.version, "sha256": found})
                    write_text(self._version_path(url), text)
                    return found
                if now.version == info.version:
                    logger.info("'%s' did not arrive whole (%d of %d bytes); reading it again.", url, size, info.size)
                    earlier = found
                else:
                    logger.info("'%s' has changed while it was read; reading it again.", url)
                    info, earlier = now, ""
        raise StorageError(
            f"'{url}' was read {_READINGS} times, and each time it had changed, or other bytes came than the store "
            "says it has. Wait until nobody writes to it, and look at the connection."
        )

    def _place(self, temporary: Path, sha256: str) -> None:
        path = self._path(sha256)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o600)
        temporary.replace(path)
        status = path.stat()
        self._whole[sha256] = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._known_bytes is not None:
            self._known_bytes += status.st_size

    def _find(self, sha256: str) -> Path | None:
        """Return the copy of a content, None if there is none or it is damaged."""
        path = self._path(sha256)
        try:
            status = path.stat()
            if self._whole.get(sha256) != (status.st_ino, status.st_size, status.st_mtime_ns):
                if _hash(path, {"sha256"})["sha256"] != sha256:
                    logger.info("The local copy '%s' is damaged and is read again.", path)
                    path.unlink()
                    return None
                self._whole[sha256] = (status.st_ino, status.st_size, status.st_mtime_ns)
            # the last use, where access times are switched off
            os.utime(path, ns=(time.time_ns(), status.st_mtime_ns))
        except OSError:
            return None
        return path

    def _path(self, sha256: str) -> Path:
        return self.folder / "objects" / sha256[:2] / sha256

    def _version_path(self, url: str) -> Path:
        # by hash: names of recordings are nothing to leave lying about
        name = hashlib.sha256(url.encode()).hexdigest()
        return self.folder / "versions" / name[:2] / name

    def _read_version(self, url: str) -> dict[str, str]:
        try:
            known = json.loads(self._version_path(url).read_text(encoding="utf-8"))
            return {"version": str(known["version"]), "sha256": str(known["sha256"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _files(self) -> list[tuple[float, int, Path]]:
        """Return last use, bytes and path of each copy."""
        found = []
        for path in (self.folder / "objects").glob("*/*"):
            with suppress(FileNotFoundError):  # another process deleted it
                status = path.stat()
                found.append((status.st_atime, status.st_size, path))
        return found

    def _make_room(self, size: int) -> None:
        with self._lock:
            if self._known_bytes is None:
                self._known_bytes = self.summary()[1]
            if self._known_bytes + size <= self.max_bytes:
                return
            left = 0
            now = time.time()
            files = sorted(self._files())
            total = sum(each for _, each, _ in files)
            for used, each, path in files:
                may_go = now - used > _IN_USE_SECONDS
                if may_go and total + size - left > _FILLED_AFTER_EVICTION * self.max_bytes:
                    path.unlink(missing_ok=True)
                    left += each
            self._known_bytes = total - left


@contextmanager
def fetching_ahead(copies: Copies, urls: Iterable[str]) -> Iterator[None]:
    """Copy objects in threads of their own while the block uses them in about this order.

    What goes wrong is told to whoever asks for that object in the block.

    Args:
        copies: where to.
        urls: of the objects; other places are passed over.
    """
    waiting = iter([url for url in urls if is_url(url)])
    lock, is_over = threading.Lock(), threading.Event()

    def work() -> None:
        while not is_over.is_set():
            with lock:
                url = next(waiting, None)
            if url is None:
                return
            with suppress(StorageError):
                copies.fetch(url)

    threads = [threading.Thread(target=work, name="lalia-fetch", daemon=True) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()


_copies: Copies | None = None


def copies_folder() -> Path:
    """Return the folder of copies within lalia's in the user's cache folder."""
    return user_cache("copies")


def open_copies() -> Copies:
    """Return the copies in the user's cache folder, with the budget of the environment's ``LALIA_COPIES_GB``.

    Raises:
        StorageError: if the folder cannot be made, or the budget is no number.
    """
    global _copies
    folder = copies_folder()
    if _copies is None or _copies.folder != folder:
        given = os.environ.get(BUDGET_VARIABLE, str(DEFAULT_BUDGET_GB))
        try:
            budget = float(given)
        except ValueError:
            raise StorageError(f"{BUDGET_VARIABLE} must be a number of GB, got '{given}'.") from None
        _copies = Copies(folder, budget * 1e9)
    return _copies


def _hash(path: Path, names: set[str]) -> dict[str, str]:
    """Return the hex digests of a file; git's is that of a blob."""
    digests = {name: hashlib.sha1(usedforsecurity=False) if name == "git" else hashlib.new(name) for name in names}
    with path.open("rb") as file:
        if "git" in digests:
            digests["git"].update(f"blob {os.fstat(file.fileno()).st_size}\0".encode())
        while block := file.read(2**20):
            for digest in digests.values():
                digest.update(block)
    return {name: digest.hexdigest() for name, digest in digests.items()}
