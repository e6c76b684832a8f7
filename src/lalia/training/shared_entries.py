"""Entries of the cache that several machines share, at a URL behind the local store of each.

What fails there is told once and costs time alone: the entry is computed here, as if there were none.
"""

import logging
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lalia.data.remote import CONNECTIONS, ObjectInfo, download, list_objects, upload
from lalia.errors import StorageError
from lalia.places import join_url

logger = logging.getLogger(__name__)


class SharedEntries:
    """Files of entries at a URL; which are there is listed once, and uploads happen in threads of their own.

    Args:
        url: of the folder.

    Attributes:
        one_at_a_time: held by a thread that makes room for an entry in the local store.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._listed: dict[str, ObjectInfo] | None = None
        self._has_warned = False
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self.one_at_a_time = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._uploads: list[Future[None]] = []

    def __getstate__(self) -> Mapping[str, Any]:
        """Leave threads out of what goes to a process that reads ahead."""
        return {"url": self.url, "_listed": self._listed, "_has_warned": self._has_warned}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def size(self, name: str) -> int | None:
        """Return the bytes of an entry, None if it is not there.

        Args:
            name: its path inside the folder.
        """
        with self._lock:
            if self._listed is None:
                try:
                    self._listed = list_objects(self.url)
                except StorageError as error:
                    self._listed = {}
                    self._warn(error)
            info = self._listed.get(name)
        return None if info is None else info.size

    def read(self, name: str, target: Path) -> bool:
        """Write an entry into a local file and return whether that went well; its content is not checked."""
        try:
            download(join_url(self.url, name), target)
        except StorageError as error:
            self.leave_out(name)
            self._warn(error)
            return False
        return True

    def leave_out(self, name: str) -> None:
        """Take an entry for absent from here on: it cannot be read, or is damaged."""
        with self._lock:
            (self._listed or {}).pop(name, None)

    def write(self, name: str, source: Path) -> None:
        """Have a thread upload a local file, unless the entry is there; at the latest ``settle`` waits for that."""
        if self.size(name) is not None:
            return
        if self._executor is None:
            self._executor = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="lalia-share")
        self._uploads.append(self._executor.submit(self._upload, name, source))

    def settle(self) -> None:
        """Wait until all that was to be uploaded is."""
        uploads, self._uploads = self._uploads, []
        for each in uploads:
            each.result()

    def _upload(self, name: str, source: Path) -> None:
        try:
            info = upload(source, join_url(self.url, name))
        except FileNotFoundError:
            return  # the local store needed its room
        except StorageError as error:
            self._warn(error)
            return
        with self._lock:
            (self._listed if self._listed is not None else {})[name] = info

    def _warn(self, error: StorageError) -> None:
        if not self._has_warned:
            logger.warning("Not all activations are shared: %s", error)
        self._has_warned = True


def in_parallel(work: Any, names: Iterable[str]) -> None:
    """Call a function with each name, several at a time."""
    with ThreadPoolExecutor(CONNECTIONS) as executor:
        for _ in executor.map(work, names):
            pass
