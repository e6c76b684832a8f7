"""What a scan measured of recordings, kept so that the next one reads only those that are new or have changed.

A recording is known again by its path, inode, size and the times of its last changes, of which the last, ctime, is kept
by the system and cannot be set back. Nothing is kept of files that have changed within two seconds before they were
read: they might change again within one tick of the clock. Nor of those that had a problem, which may have been a
passing one.
"""

import hashlib
import importlib.metadata
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from lalia.data.user_cache import user_cache
from lalia.files import make_private, replacing

FORMAT: Final = 1
"""Changes when what is measured does."""
SETTLED_SECONDS: Final = 2.0
"""A file that changed later than this before it was read is not known again."""

_IDENTITY = ["file", "inode", "size", "modified_ns", "changed_ns"]
_ABSENT = -1

logger = logging.getLogger(__name__)


class ScanMemory:
    """Rows of measurements, one for each file, in one file of the user's cache folder.

    Args:
        depends_on: what the measurements depend on besides the files, as JSON can hold it.
        folder: where; None is lalia's in the user's cache folder.
    """

    def __init__(self, depends_on: Mapping[str, Any], folder: Path | None = None) -> None:
        versions = {name: importlib.metadata.version(name) for name in ("soxr", "soundfile", "numpy")}
        whole = {
            "format": FORMAT,
            "libsndfile": soundfile.__libsndfile_version__,
            "av": _version_or_none("av"),
            **versions,
            **depends_on,
        }
        key = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
        self.path = (folder or user_cache("scans")) / f"{key}.parquet"

    def recall(self, paths: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return which file lies under each path now, and what is known of those that are.

        Args:
            paths: of recordings.

        Returns:
            identities: a row per path, to be handed to ``keep``.
            known: what ``keep`` was given of them, its index the positions of the paths.
        """
        identities = _identify(paths)
        kept = self._load()
        if kept is None:
            return identities, pd.DataFrame(index=pd.Index([], dtype=np.int64))
        found = identities.reset_index(names="position").merge(kept, on=_IDENTITY, how="inner")
        return identities, found.set_index("position").drop(columns=_IDENTITY)

    def keep(self, identities: pd.DataFrame, measured: pd.DataFrame, begun: float) -> None:
        """Add measurements, in place of what was known of the same files.

        Args:
            identities: of ``recall``, the rows of the files that were measured.
            measured: rows in the same order.
            begun: when measuring began, in seconds since 1970.
        """
        settled = (identities["changed_ns"] < (begun - SETTLED_SECONDS) * 1e9) & (identities["inode"] != _ABSENT)
        is_good = settled.to_numpy() & (measured["problem"] == "").to_numpy()
        if not is_good.any():
            return
        fresh = pd.concat(
            [identities[is_good].reset_index(drop=True), measured[is_good].reset_index(drop=True)], axis=1
        )
        kept = self._load()
        if kept is not None and list(kept) == list(fresh):
            fresh = pd.concat([kept[~kept["file"].isin(fresh["file"])], fresh], ignore_index=True)
        try:
            make_private(self.path.parent)
            with replacing(self.path) as temporary:
                pq.write_table(pa.Table.from_pandas(fresh, preserve_index=False), temporary, compression="zstd")
        except OSError as error:  # a full disk costs the next scan its time, not this one its result
            logger.warning("What was measured of the recordings cannot be kept: %s.", error.strerror or error)

    def _load(self) -> pd.DataFrame | None:
        try:
            kept: pd.DataFrame = pq.read_table(self.path).to_pandas()
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException):
            logger.info("'%s' is damaged: the recordings are read again.", self.path)
            return None
        return kept


def _identify(paths: Sequence[str]) -> pd.DataFrame:
    """Return what tells whether a file is the one that it was; a hash in place of its path, which may name a person."""
    found = np.full((len(paths), 4), _ABSENT, dtype=np.int64)
    for place, path in enumerate(paths):
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:
            continue
        # an inode is an unsigned number
        inode = status.st_ino - 2**64 if status.st_ino >= 2**63 else status.st_ino
        found[place] = (inode, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    hashes = [hashlib.blake2b(os.fsencode(path), digest_size=16).digest() for path in paths]
    return pd.DataFrame({"file": pd.array(hashes, dtype=object), **dict(zip(_IDENTITY[1:], found.T, strict=True))})


def _version_or_none(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
