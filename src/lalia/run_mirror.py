"""The folder of a run here and the same at a URL: downloaded, uploaded, and kept from being written by two.

``mirror.json`` at the URL is written last: it lists the files that belong together with their hashes, and holds the
manifest (none of a sweep's folder, which is mirrored likewise). What was uploaded in part beside it does not count, so
that an upload may be cut off anywhere.
"""

import hashlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from lalia.data.remote import CONNECTIONS, NotThere, delete, download, upload
from lalia.data.safe_paths import why_unsafe
from lalia.errors import RunError, StorageError, list_some
from lalia.files import write_json
from lalia.places import join_url
from lalia.run_folder import read_manifest

MARKER_FILE: Final = "mirror.json"
_FORMAT: Final = 1
# what is complete only with them goes first
_LAST: Final = ("complete.json", "index.json", "manifest.json")


class RunMirror:
    """The folder of a run here, and the same at a URL.

    Args:
        url: of the run.
        folder: of the run on this machine.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        # which marker was last the same here and there
        self._state_path = folder.with_name(f".{folder.name}.mirror.json")
        self._hashed: dict[str, tuple[int, int, str]] = {}

    def pull(self) -> None:
        """Make the local folder what is at the URL, unless that is what it was made from, or has been uploaded to.

        Raises:
            StorageError: if it cannot be read, or is not whole.
        """
        marker, state = self._read_marker(), self._read_state()
        if not marker:
            self.forget()
            return
        if _id(marker) == _id(state) and self.folder.is_dir():
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{self.folder.name}.", dir=self.folder.parent) as temporary:
            target = Path(temporary) / "run"
            target.mkdir(mode=0o700)
            differing = download_files(self.url, marker["files"], target)
            if marker["manifest"]:
                write_json(target / "manifest.json", marker["manifest"])
            if differing and marker["manifest"].get("finished"):
                raise StorageError(
                    f"The run '{self.url}' is not whole: {list_some(differing)} are not as listed. Something "
                    "writes to it, or was stopped while it did; do that again."
                )
            shutil.rmtree(self.folder, ignore_errors=True)
            target.replace(self.folder)
        write_json(self._state_path, marker)

    def exists(self) -> bool:
        """Return whether a run is at the URL."""
        return bool(self._read_marker())

    def is_unfinished(self) -> bool:
        """Return whether a run is at the URL that can be gone on with."""
        marker = self._read_marker()
        return bool(marker) and not marker["manifest"].get("finished")

    def forget(self) -> None:
        """Delete the local folder if what it was uploaded to is no longer there."""
        if self._read_state() and not self._read_marker():
            shutil.rmtree(self.folder, ignore_errors=True)
            self._state_path.unlink(missing_ok=True)

    def take_over(self) -> None:
        """Let the next upload replace what is at the URL."""
        marker = self._read_marker()
        if not marker:
            self._state_path.unlink(missing_ok=True)
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._state_path, {**marker, "replaced": True})

    def push(self) -> None:
        """Upload what has changed here since the last time.

        Raises:
            RunError: if another process has written to the URL since.
            StorageError: if it cannot be written.
        """
        marker, state = self._read_marker(), self._read_state()
        if _id(marker) != _id(state):
            raise RunError(
                f"Another process writes to the run '{self.url}'. Stop one of them; the other goes on with --resume."
            )
        files = self._describe_files()
        before: Mapping[str, str] = {} if state.get("replaced") else state.get("files", {})
        changed = [name for name, digest in files.items() if before.get(name) != digest]
        if not changed and before.keys() == files.keys():
            return
        for turn in _in_turns(changed):
            _in_parallel(lambda name: self._upload(name), turn)
        new = {
            "format": _FORMAT,
            "writer": state.get("writer") or uuid.uuid4().hex,
            "serial": int(state.get("serial", 0)) + 1,
            "manifest": read_manifest(self.folder),
            "files": files,
        }
        with tempfile.TemporaryDirectory() as temporary:
            write_json(Path(temporary) / MARKER_FILE, new)
            upload(Path(temporary) / MARKER_FILE, join_url(self.url, MARKER_FILE))
        write_json(self._state_path, new)
        _in_parallel(
            lambda name: delete(join_url(self.url, name)), sorted(state.get("files", {}).keys() - files.keys())
        )

    def _upload(self, name: str) -> None:
        path = self.folder / name
        size = path.stat().st_size
        found = upload(path, join_url(self.url, name))
        if found.size != size:
            raise StorageError(f"'{join_url(self.url, name)}' has {found.size} bytes after {size} were written.")

    def _describe_files(self) -> dict[str, str]:
        """Return the hash of each file of the run; what has not changed since the last time is not read again."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if not path.is_file() or path.is_symlink() or any(part.startswith(".") for part in name.split("/")):
                continue
            status = path.stat()
            known = self._hashed.get(name)
            if known is None or known[:2] != (status.st_size, status.st_mtime_ns):
                known = (status.st_size, status.st_mtime_ns, _hash(path))
                self._hashed[name] = known
            found[name] = known[2]
        return found

    def _read_marker(self) -> dict[str, Any]:
        """Return the marker at the URL, empty where there is none."""
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / MARKER_FILE
            try:
                download(join_url(self.url, MARKER_FILE), path)
                marker: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                is_known = marker["format"] == _FORMAT and {"writer", "serial", "manifest", "files"} <= marker.keys()
            except NotThere:
                return {}
            except (ValueError, KeyError, TypeError) as cause:
                raise StorageError(f"'{join_url(self.url, MARKER_FILE)}' is not what lalia writes.") from cause
        if not is_known:
            raise StorageError(f"'{join_url(self.url, MARKER_FILE)}' has another format than {_FORMAT}.")
        return marker

    def _read_state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads(self._state_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return state


def download_files(url: str, files: Mapping[str, str], target: Path) -> list[str]:
    """Write files at a URL into a folder, and return those whose hash is not the one given, where one is."""
    unsafe = [f"'{name}' {why}" for name in files if (why := why_unsafe(name, "path"))]
    if unsafe:
        raise StorageError(f"'{url}' names files that do not lie in it: {list_some(unsafe)}.")
    differing = []

    def fetch(name: str) -> None:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            download(join_url(url, name), path)
        except NotThere:
            path.unlink(missing_ok=True)
            differing.append(name)
            return
        if files[name] and _hash(path) != files[name]:
            differing.append(name)

    _in_parallel(fetch, list(files))
    return sorted(differing)


def _in_turns(names: Sequence[str]) -> list[list[str]]:
    """Return names in groups, each of which goes after the ones before."""
    turns: list[list[str]] = [[] for _ in range(len(_LAST) + 1)]
    for name in names:
        last = name.rpartition("/")[2]
        turns[_LAST.index(last) + 1 if last in _LAST else 0].append(name)
    return turns


def _in_parallel(work: Any, names: Sequence[str]) -> None:
    if not names:
        return
    with ThreadPoolExecutor(min(CONNECTIONS, len(names))) as executor:
        for _ in executor.map(work, names):
            pass


def _id(marker: Mapping[str, Any]) -> tuple[Any, Any]:
    return marker.get("writer"), marker.get("serial")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
