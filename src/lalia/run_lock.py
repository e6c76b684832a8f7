"""One process to a run's folder: a lock beside it, which the system takes back when its process dies."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lalia.errors import RunError

try:
    import fcntl
except ImportError:  # Windows: only this process's own runs are kept apart there
    fcntl = None  # type: ignore[assignment]

_held: set[Path] = set()


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Keep every other process out of a run's folder, also before it is made.

    What a dead process left is taken over: the lock is the system's, the file says who holds it.

    Args:
        folder: of the run.

    Raises:
        RunError: names the process that holds it; or if there cannot be a file beside the folder.
    """
    path = lock_path(folder)
    if path in _held:
        raise RunError(f"The run '{folder}' is being trained by this process already.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _open_locked(path)
    except OSError as cause:
        raise RunError(f"Cannot write to '{folder.parent}': {cause.strerror}. Set another folder in runs.") from cause
    if handle is None:
        raise RunError(f"The run '{folder}' is in use by {_read_holder(path)}. Wait for it, or stop it first.")
    _held.add(path)
    try:
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        yield
    finally:
        _held.discard(path)
        path.unlink(missing_ok=True)
        os.close(handle)


def is_locked(folder: Path) -> bool:
    """Return whether a process is at work in a run's folder."""
    path = lock_path(folder)
    if path in _held:
        return True
    if fcntl is None or not path.exists():
        return False
    handle = os.open(path, os.O_RDWR)
    try:
        return not _try_lock(handle)
    finally:
        os.close(handle)


def lock_path(folder: Path) -> Path:
    """Return the file of a folder's lock: beside it, since the folder itself may be deleted to begin again."""
    return folder.absolute().with_name(f".{folder.name}.lock")


def _open_locked(path: Path) -> int | None:
    """Return the open file, None if another process has locked it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _try_lock(handle):
            os.close(handle)
            return None
        try:
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)  # its holder deleted it between our opening and our locking it


def _try_lock(handle: int) -> bool:
    if fcntl is None:
        return True
    try:
        # of the process, not of the open file: workers that outlive a killed process do not inherit it
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _read_holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
