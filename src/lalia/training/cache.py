"""Activations on disk, keyed by content: what a frozen part of an encoder made of a recording is computed once.

An entry is a safetensors file, named by the SHA-256 of all that its values depend on. It appears complete or not at
all, carries its own key and a checksum, and counts as absent when either is wrong: an entry that a stop, a full disk or
another program damaged is computed again. Several processes may fill and read one folder at once: two that make the
same entry write the same values, and the last rename wins.
"""

import hashlib
import importlib.metadata
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import soundfile
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from lalia.data.user_cache import user_cache
from lalia.errors import CacheError
from lalia.files import make_private, replacing
from lalia.model.saved_rater import hash_weights
from lalia.places import is_url
from lalia.settings import CacheSettings
from lalia.training.shared_entries import SharedEntries, in_parallel

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FORMAT: Final = 1
"""Part of every key; it changes when the same key would no longer mean the same values."""

StorageType = Literal["float16", "float32"]

_ENTRY = re.compile(r"^[0-9a-f]{64}\.safetensors$")
_UNFINISHED = re.compile(r"^\.[0-9a-f]{64}\.safetensors\..+\.tmp$")
# a temporary file older than this belongs to a process that was killed
_ABANDONED_SECONDS = 3600.0
# eviction makes room for more than one entry
_FILLED_AFTER_EVICTION = 0.9
# what other processes add is seen after this share of the budget was added by this one
_RESCAN_SHARE = 0.05
# between two looks at a lock that another process holds
_LOCK_SECONDS = 0.2
_LARGEST_FLOAT16 = 65504.0
_SMALLEST_NORMAL_FLOAT16 = 2.0**-14
_PACKAGES = ("torch", "transformers", "soxr", "soundfile", "numpy")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoreSummary:
    """What a store holds.

    Attributes:
        entries: complete ones.
        size_bytes: of these and of temporary files.
        oldest_use: when the entry that would be evicted next was last used, in seconds since 1970; None without any.
    """

    entries: int
    size_bytes: int
    oldest_use: float | None


class ActivationStore:
    """Named tensors under keys of content, in a folder, within a budget.

    Beyond the budget the entries that were used longest ago are deleted, but for those that this process uses; several
    processes together may pass it by a twentieth each. What does not fit, or cannot be written because the disk is
    full, is left out with a warning: the store only ever saves time.

    Args:
        folder: made if it is not there, closed to other users.
        max_gb: the budget in units of 10^9 bytes; 0 stores nothing.
        dtype: ``float16`` keeps half the bytes; tensors with a value outside its range, or with none in its normal
            range, are kept in float32.
        shared: entries that other machines have computed, or may want; None: there are none.

    Raises:
        CacheError: if the folder cannot be made or written.

    Example:
        >>> import tempfile
        >>> import torch
        >>> store = ActivationStore(Path(tempfile.mkdtemp()) / "cache", max_gb=1.0)
        >>> key = content_key(audio="1f3a", depth=9)
        >>> store.load(key) is None
        True
        >>> _ = store.save(key, {"mean": torch.tensor([0.5, 2.0])})
        >>> store.load(key)
        {'mean': tensor([0.5000, 2.0000])}
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        max_gb: float = 50.0,
        dtype: StorageType = "float16",
        shared: SharedEntries | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.shared = shared
        self.max_bytes = int(max_gb * 1e9)
        self.dtype: StorageType = dtype
        try:
            make_private(self.folder)
        except OSError as cause:
            raise CacheError(
                f"Cannot use the cache folder '{folder}': {cause.strerror}. Set another one in cache.dir."
            ) from cause
        if not os.access(self.folder, os.W_OK):
            raise CacheError(f"The cache folder '{folder}' is read-only. Set another one in cache.dir.")
        # what each entry was when this process last found it whole, or wrote it
        self._whole: dict[str, _Identity] = {}
        self._known_bytes: int | None = None
        self._added_bytes = 0
        self._has_warned = False

    def __contains__(self, key: str) -> bool:
        """Return whether there is an entry, whole or not."""
        return self._path(key).exists() or (self.shared is not None and self.shared.size(_name(key)) is not None)

    def load(self, key: str) -> dict[str, Tensor] | None:
        """Return the tensors of an entry, floats as float32, or None if there is none that is whole.

        The checksum is compared when this process first reads the entry, and again if the file has changed since.

        Args:
            key: what ``content_key`` gave.
        """
        path = self._path(key)
        try:
            with path.open("rb") as file:
                identity = _identify(os.fstat(file.fileno()))
                content = file.read()
        except OSError:
            return self.load(key) if self._bring(key) else None
        tensors = _read_entry(content, key, is_known=self._whole.get(key) == identity)
        if tensors is None:
            if self.shared is not None:
                self.shared.leave_out(_name(key))
            logger.info("The cache entry '%s' is damaged and is computed again.", path)
            return None
        self._use(key, path, identity)
        return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}

    def save(self, key: str, tensors: Mapping[str, Tensor]) -> bool:
        """Store tensors under a key, and evict what was used longest ago if the budget asks for it.

        What this store itself has read or written is not evicted for it: it would be computed again and again.

        Args:
            key: what ``content_key`` gave.
            tensors: by name; floats are stored as the store's dtype says, others as they are.

        Returns:
            Whether the entry is there now.
        """
        kept = {name: self._shrink(tensor.detach()).to("cpu").contiguous() for name, tensor in tensors.items()}
        size = sum(tensor.nbytes for tensor in kept.values())
        if size > self.max_bytes:
            if self.max_bytes:
                self._warn(
                    f"an entry of {size / 1e9:.3g} GB is larger than the budget of {self.max_bytes / 1e9:.3g} GB"
                )
            return False
        path = self._path(key)
        entry = {"key": key, "sha256": hash_weights(kept)}
        try:
            if not self._make_room(size):
                self._warn(f"the budget of {self.max_bytes / 1e9:.3g} GB is full with what is in use")
                return False
            make_private(path.parent)
            # an entry tells by its checksum that it is whole
            with replacing(path, waits_for_disk=False) as temporary:
                save_file(kept, temporary, metadata={"lalia": json.dumps(entry)})
            status = path.stat()
            self._count(status.st_size)
            self._whole[key] = _identify(status)
        except (OSError, SafetensorError) as cause:
            self._warn(f"'{path}' cannot be written ({getattr(cause, 'strerror', None) or cause})")
            return False
        if self.shared is not None:
            self.shared.write(_name(key), path)
        return True

    def bring(self, keys: Iterable[str]) -> None:
        """Copy the entries that are shared and not here, several at a time, before they are loaded one by one."""
        if self.shared is None:
            return
        in_parallel(self._bring, [key for key in dict.fromkeys(keys) if not self._path(key).exists() and key in self])

    def settle(self) -> None:
        """Wait until all that is to be shared is."""
        if self.shared is not None:
            self.shared.settle()

    def _bring(self, key: str) -> bool:
        """Copy a shared entry and return whether it is here now."""
        size = None if self.shared is None else self.shared.size(_name(key))
        if self.shared is None or size is None:
            return False
        path = self._path(key)
        try:
            with self.shared.one_at_a_time:
                if not self._make_room(size):
                    return False
                self._count(size)
            make_private(path.parent)
            with replacing(path) as temporary:
                if not self.shared.read(_name(key), temporary):
                    raise FileNotFoundError
        except OSError:
            return False
        return True

    @contextmanager
    def filling(self, what: str, waits: Callable[[], None] | None = None) -> Iterator[None]:
        """Keep other processes on this machine from filling the store with the same at the same time.

        The lock is the system's: it is free again when its process dies. Where the folder's file system has no locks,
        or the platform none, nothing is kept out, and what two processes compute is the same anyway.

        Args:
            what: a key of all that is filled in.
            waits: is called once, if another process is at it.
        """
        try:
            handle = os.open(self.folder / f".filling-{what[:32]}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            yield
            return
        try:
            _lock(handle, waits or (lambda: None))
            yield
        finally:
            os.close(handle)

    def round(self, tensor: Tensor) -> Tensor:
        """Return a tensor as it comes back from the store, in float32 if it holds floats."""
        return self._shrink(tensor.detach()).float() if tensor.is_floating_point() else tensor

    def summary(self) -> StoreSummary:
        """Count the entries and their bytes."""
        files = self._files()
        uses = [used for path, _, used in files if _ENTRY.match(path.name)]
        return StoreSummary(len(uses), sum(size for _, size, _ in files), min(uses, default=None))

    def clear(self) -> StoreSummary:
        """Delete all entries and what killed processes left, nothing else in the folder, and say what there was."""
        before = self.summary()
        for path, _, _ in filter(_can_go, self._files()):
            path.unlink(missing_ok=True)
        self._known_bytes = None
        return before

    def _path(self, key: str) -> Path:
        return self.folder / _name(key)

    def _shrink(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        tensor = tensor.float()
        if self.dtype == "float32" or not fits_float16(tensor):
            return tensor
        return tensor.half()

    def _files(self) -> list[tuple[Path, int, float]]:
        """Return each file of the store with its bytes and last use."""
        found = []
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            if _ENTRY.match(path.name) or _UNFINISHED.match(path.name):
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue  # another process deleted or renamed it
                found.append((path, status.st_size, status.st_mtime))
        return found

    def _use(self, key: str, path: Path, identity: "_Identity") -> None:
        now = time.time_ns()
        try:
            # the last use; access times are switched off on many file systems
            os.utime(path, ns=(now, now))
        except OSError:
            logger.debug("Cannot note the use of '%s'.", path)
            now = identity.modified_ns
        self._whole[key] = identity._replace(modified_ns=now)

    def _make_room(self, size: int) -> bool:
        """Return whether an entry of this size fits, after what is not in use has gone if it has to."""
        if self._known_bytes is None or self._added_bytes + size > _RESCAN_SHARE * self.max_bytes:
            self._rescan()
        if self._fits(size):
            return True
        self._rescan()
        if not self._fits(size):
            self._evict(size)
        return self._fits(size)

    def _fits(self, size: int) -> bool:
        return (self._known_bytes or 0) + size <= self.max_bytes

    def _count(self, size: int) -> None:
        self._known_bytes = (self._known_bytes or 0) + size
        self._added_bytes += size

    def _rescan(self) -> None:
        self._known_bytes = sum(size for _, size, _ in self._files())
        self._added_bytes = 0

    def _evict(self, size: int) -> None:
        left = self._known_bytes or 0
        for path, file_size, _ in sorted(filter(self._can_be_evicted, self._files()), key=lambda file: file[2]):
            if left + size <= _FILLED_AFTER_EVICTION * self.max_bytes:
                break
            path.unlink(missing_ok=True)
            left -= file_size
        self._known_bytes = left

    def _can_be_evicted(self, file: tuple[Path, int, float]) -> bool:
        return _can_go(file) and file[0].stem not in self._whole

    def _warn(self, reason: str) -> None:
        if not self._has_warned:
            logger.warning("Activations are not kept in the cache: %s.", reason)
        self._has_warned = True


def _lock(handle: int, waits: Callable[[], None]) -> None:
    """Wait until no other process holds a lock file, in steps, so that a signal can end it."""
    if fcntl is None:
        return
    is_told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not is_told:
                waits()
            is_told = True
            time.sleep(_LOCK_SECONDS)
        except OSError:
            return
        else:
            return


class _Identity(NamedTuple):
    """By which a file is known to be the one that was read before."""

    inode: int
    size: int
    modified_ns: int


def open_store(settings: CacheSettings) -> ActivationStore:
    """Return the store of a run's settings.

    Raises:
        CacheError: if its folder cannot be made or written.
    """
    shared = SharedEntries(settings.dir) if settings.dir is not None and is_url(settings.dir) else None
    return ActivationStore(cache_folder(settings.dir), max_gb=settings.max_gb, dtype=settings.dtype, shared=shared)


def cache_folder(given: str | Path | None) -> Path:
    """Return the folder that was given, or lalia's in the user's cache folder, also where a URL was given."""
    return default_cache_folder() if given is None or is_url(given) else Path(given)


def content_key(**content: Any) -> str:
    """Return the key of what depends on these values, on the versions of the libraries, and on nothing else.

    Args:
        content: whatever changes the values, as JSON can hold it: hashes, numbers, names.

    Example:
        >>> content_key(audio="1f3a", depth=9) == content_key(depth=9, audio="1f3a")
        True
        >>> content_key(audio="1f3a", depth=9) == content_key(audio="1f3a", depth=8)
        False
    """
    whole = {"format": FORMAT, "libraries": _library_versions(), **content}
    text = json.dumps(whole, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def default_cache_folder() -> Path:
    """Return lalia's folder within the user's cache folder: ``$XDG_CACHE_HOME``, or what the platform has for it."""
    return user_cache("activations")


def fits_float16(values: Tensor) -> bool:
    """Return whether float16 keeps values to a relative 2^-11, or to 2^-25 where they are below 2^-14.

    It does unless one overflows, or all of them lie below 2^-14, where float16 loses digits.

    Example:
        >>> import torch
        >>> fits_float16(torch.tensor([1e-6, 60_000.0])), fits_float16(torch.tensor([70_000.0]))
        (True, False)
        >>> fits_float16(torch.tensor([1e-6, 2e-6])), fits_float16(torch.zeros(2))
        (False, True)
    """
    finite = values[values.isfinite()].abs()
    if not finite.numel():
        return True
    largest = float(finite.max())
    return largest == 0 or _SMALLEST_NORMAL_FLOAT16 <= largest <= _LARGEST_FLOAT16


@cache
def _library_versions() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return versions | {"libsndfile": soundfile.__libsndfile_version__}


def _name(key: str) -> str:
    """Return the path of an entry inside the folder."""
    return f"{key[:2]}/{key}.safetensors"


def _identify(status: os.stat_result) -> _Identity:
    return _Identity(status.st_ino, status.st_size, status.st_mtime_ns)


def _read_entry(content: bytes, key: str, *, is_known: bool) -> dict[str, Tensor] | None:
    """Return the tensors of an entry's file, None unless it is known, or whole and the one that was asked for."""
    try:
        if is_known:
            return dict(load(content))
        length = int.from_bytes(content[:8], "little")
        entry = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["lalia"])
        tensors: dict[str, Tensor] = load(content)
        is_whole = entry["key"] == key and entry["sha256"] == hash_weights(tensors)
    except (SafetensorError, ValueError, KeyError, TypeError):
        return None
    return tensors if is_whole else None


def _can_go(file: tuple[Path, int, float]) -> bool:
    """Return whether a file may be deleted: an entry, or what no living process writes any more."""
    path, _, used = file
    return _ENTRY.match(path.name) is not None or time.time() - used > _ABANDONED_SECONDS
