"""Recordings that hold the same sound, byte by byte or re-encoded, among thousands, without comparing all pairs."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lalia.data.fingerprint import HOP_SECONDS, Fingerprint

MOST_DIFFERENT_BITS: Final = 0.25
"""Two recordings whose fingerprints differ in a smaller share of their bits hold the same sound."""
SHORTEST_SECONDS: Final = 0.8
"""So much must be heard in both."""

_LEAST_SHARE = 0.5  # of the audible frames of the shorter recording
_COMMON = 64
_COLUMNS = ("recording", "other", "kind", "differing_bits", "shift_seconds", "common_seconds")


class _Hits(NamedTuple):
    """Frames of two recordings with the same number: from recording ``first`` to ``second``, shifted by some frames."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    shift: NDArray[np.int64]


def find_duplicates(
    recordings: Sequence[str],
    sha256: Sequence[str],
    fingerprints: Sequence[tuple[Fingerprint, NDArray[np.bool_]]],
) -> pd.DataFrame:
    """Find recordings of the same sound.

    Two recordings are compared only where a number of their fingerprints is equal, which an index of all numbers finds
    (Haitsma and Kalker 2002 do so for songs); a number that more than 64 frames have says nothing and is passed over.
    Then all audible frames that both have at the shift with the most equal numbers are compared, bit by bit.

    Args:
        recordings: the ids.
        sha256: of each file.
        fingerprints: of each recording, from :func:`lalia.data.fingerprint.fingerprint`.

    Returns:
        A row per pair: recording, other, kind (``file`` where the bytes are the same, otherwise ``sound``),
        differing_bits (share), shift_seconds (how much later the sound comes in the first), common_seconds (audible in
        both); the most alike first.
    """
    rows = []
    for (first, second), shift in _likely_pairs(fingerprints).items():
        if sha256[first] == sha256[second]:
            continue
        different, n_frames = _compare(fingerprints[first], fingerprints[second], shift)
        if different < MOST_DIFFERENT_BITS:
            row = (recordings[first], recordings[second], "sound", different, shift * HOP_SECONDS)
            rows.append((*row, n_frames * HOP_SECONDS))
    for first, second in _pairs_of_equal(sha256):
        seconds = int(fingerprints[first][1].sum()) * HOP_SECONDS
        rows.append((recordings[first], recordings[second], "file", 0.0, 0.0, seconds))
    found = pd.DataFrame(rows, columns=list(_COLUMNS))
    return found.sort_values(["kind", "differing_bits", "recording", "other"], ignore_index=True)


def _pairs_of_equal(values: Sequence[str]) -> list[tuple[int, int]]:
    """Pair each row with the first one that has the same value."""
    first_of: dict[str, int] = {}
    firsts = [first_of.setdefault(value, row) for row, value in enumerate(values)]
    return [(first, row) for row, first in enumerate(firsts) if first != row]


def _likely_pairs(fingerprints: Sequence[tuple[Fingerprint, NDArray[np.bool_]]]) -> dict[tuple[int, int], int]:
    """Return the pairs of recordings with equal numbers at one shift, and the shift that has most of them."""
    counts = [len(bits) for bits, _ in fingerprints]
    if not sum(counts):
        return {}
    is_audible = np.concatenate([audible for _, audible in fingerprints])
    number = np.concatenate([bits for bits, _ in fingerprints])[is_audible]
    owner = np.repeat(np.arange(len(counts)), counts)[is_audible]
    place = np.concatenate([np.arange(count) for count in counts])[is_audible]
    order = np.argsort(number, kind="stable")
    number, owner, place = number[order], owner[order], place[order]
    _, size = np.unique(number, return_counts=True)
    is_telling = np.repeat(size <= _COMMON, size)
    number, owner, place = number[is_telling], owner[is_telling], place[is_telling]
    hits = _collect_hits(number, owner, place)
    if not len(hits.first):
        return {}
    span = 2 * max(counts) + 1
    keys, n_hits = np.unique(
        (hits.first * len(counts) + hits.second) * span + hits.shift + max(counts), return_counts=True
    )
    best = np.argsort(n_hits, kind="stable")  # of each pair the last one stays
    pairs, shifts = np.divmod(keys[best], span)
    firsts, seconds = np.divmod(pairs, len(counts))
    return {
        (first, second): shift - max(counts)
        for first, second, shift in zip(firsts.tolist(), seconds.tolist(), shifts.tolist(), strict=True)
    }


def _collect_hits(number: NDArray[np.uint32], owner: NDArray[np.int64], place: NDArray[np.int64]) -> _Hits:
    """Pair the frames of equal numbers, which stand together and sorted by recording."""
    found = []
    for lag in range(1, _COMMON):
        same = np.flatnonzero(number[lag:] == number[:-lag])
        if not len(same):
            break
        same = same[owner[same] != owner[same + lag]]
        found.append((owner[same], owner[same + lag], place[same] - place[same + lag]))
    if not found:
        return _Hits(*(np.empty(0, dtype=np.int64) for _ in range(3)))
    return _Hits(*(np.concatenate(of_each) for of_each in zip(*found, strict=True)))


def _compare(
    first: tuple[Fingerprint, NDArray[np.bool_]], second: tuple[Fingerprint, NDArray[np.bool_]], shift: int
) -> tuple[float, int]:
    """Return the share of bits that differ at a shift, 1 where too little is common, and of how many frames it is."""
    start, other = max(0, shift), max(0, -shift)
    count = min(len(first[0]) - start, len(second[0]) - other)
    is_common = first[1][start : start + count] & second[1][other : other + count]
    n_frames = int(is_common.sum())
    shorter = min(int(first[1].sum()), int(second[1].sum()))
    if n_frames < max(SHORTEST_SECONDS / HOP_SECONDS, _LEAST_SHARE * shorter):
        return 1.0, n_frames
    bits = np.bitwise_xor(first[0][start : start + count], second[0][other : other + count])[is_common]
    return float(np.bitwise_count(bits).mean()) / 32, n_frames
