"""Dealing speakers into subsets in which every level of every trait has its share: iterative stratification."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lalia.data.table import RecordingTable


def level_presence(table: RecordingTable) -> pd.DataFrame:
    """Say which levels of which traits each speaker has.

    Returns:
        One row per speaker, sorted; one column per (trait, level), sorted by trait: True where any recording of the
        speaker has that level. A trait that is not rated counts for no level.
    """
    levels = table.scale.levels
    columns = {
        (trait, level): table.scale.level_index(table.ratings[trait]) == index
        for trait in sorted(table.traits)
        for index, level in enumerate(levels)
    }
    has_level = pd.DataFrame(columns, index=table.recordings.index)
    return has_level.groupby(table.recordings["speaker"]).any()


def part_sizes(n_speakers: int, shares: Sequence[float]) -> list[int]:
    """Say how many speakers each part gets: rounded by largest remainder, at least one where the share is above 0.

    Args:
        n_speakers: at least as many as there are shares above 0.
        shares: of the parts; they add up to 1.

    Example:
        >>> part_sizes(10, [0.7, 0.15, 0.15])
        [7, 2, 1]
        >>> part_sizes(3, [0.9, 0.1, 0.0])
        [2, 1, 0]
    """
    ideal = np.asarray(shares, dtype=np.float64) * n_speakers
    # a share such as 0.7 of 10 must not be rounded down for being 6.999...
    sizes = np.floor(ideal + 1e-6).astype(np.int64)
    for part in np.argsort(sizes - ideal, kind="stable")[: n_speakers - sizes.sum()]:
        sizes[part] += 1
    for part in np.flatnonzero((sizes == 0) & (ideal > 0)):
        sizes[np.argmax(sizes)] -= 1
        sizes[part] = 1
    return [int(size) for size in sizes]


def stratify(has_label: NDArray[np.bool_], sizes: Sequence[int], generator: np.random.Generator) -> NDArray[np.int64]:
    """Deal speakers into subsets of given sizes, each label with about the same share in all of them.

    The label with the fewest undealt speakers is dealt first; each of its speakers goes to the subset that wants most
    of this label, among equals to the one with most room, among equals to one at random. Sechidis, Tsoumakas and
    Vlahavas (2011), On the stratification of multi-label data, algorithm 1; here a full subset takes no more, so that
    the sizes are exact.

    Args:
        has_label: shape (speakers, labels).
        sizes: speakers in each subset; they add up to the number of speakers.
        generator: of the random choices.

    Returns:
        The index of each speaker's subset, shape (speakers,).

    Example:
        >>> has_label = np.array([[True], [False], [True], [False]])
        >>> dealt = stratify(has_label, [2, 2], np.random.default_rng(0))
        >>> sorted(dealt[[0, 2]].tolist()), sorted(dealt[[1, 3]].tolist())
        ([0, 1], [0, 1])
    """
    room = np.array(sizes, dtype=np.int64)
    # how many speakers with each label a subset still wants, shape (subsets, labels)
    wanted = np.outer(room / max(1, room.sum()), has_label.sum(axis=0))
    dealt = np.full(len(has_label), -1, dtype=np.int64)
    while len(undealt := np.flatnonzero(dealt < 0)):
        left = has_label[undealt].sum(axis=0)
        if not left.any():
            # speakers without a label fill what room there is
            dealt[undealt] = generator.permutation(np.repeat(np.arange(len(room)), room))
            break
        label = generator.choice(np.flatnonzero(left == left[left > 0].min()))
        for speaker in generator.permutation(undealt[has_label[undealt, label]]):
            subsets = np.flatnonzero(room > 0)
            subsets = subsets[wanted[subsets, label] == wanted[subsets, label].max()]
            subsets = subsets[room[subsets] == room[subsets].max()]
            subset = generator.choice(subsets)
            dealt[speaker] = subset
            room[subset] -= 1
            wanted[subset, has_label[speaker]] -= 1
    return dealt
