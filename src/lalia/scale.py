"""The rating scale: its levels, and from which one on a trait counts as present."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# beyond, such as on a scale of 0 to 100, nobody looks at the levels one by one
_MOST_TOLD = 20


@dataclass(frozen=True)
class Scale:
    """A rating scale such as 1 (absent), 2, 3, 4 (severe).

    Args:
        levels: the values of the scale, rising, at least two.
        present_from: the lowest level at which the trait counts as present, not the first one.

    Raises:
        ValueError: if the levels do not rise, or ``present_from`` is not a level above the first.

    Example:
        >>> scale = Scale((1, 2, 3, 4), present_from=2)
        >>> scale.nearest_level([1.2, 2.5, 9.0, float("nan")])
        array([ 1.,  2.,  4., nan])
        >>> scale.is_present([1.2, 2.5, float("nan")])
        array([ 0.,  1., nan])
    """

    levels: tuple[float, ...]
    present_from: float

    def __post_init__(self) -> None:
        if len(self.levels) < 2 or any(b <= a for a, b in zip(self.levels, self.levels[1:], strict=False)):
            raise ValueError(f"the levels of a scale must rise and be at least two, got {list(self.levels)}")
        if self.present_from not in self.levels[1:]:
            raise ValueError(f"present_from must be one of {list(self.levels[1:])}, got {self.present_from}")

    @property
    def present_index(self) -> int:
        """The index of ``present_from`` among the levels."""
        return self.levels.index(self.present_from)

    @property
    def told_levels(self) -> tuple[float, ...]:
        """The levels whose reaching is told one by one: all above the first, of a longer scale ``present_from`` alone.

        Example:
            >>> Scale((1, 2, 3, 4), present_from=2).told_levels
            (2, 3, 4)
        """
        return self.levels[1:] if len(self.levels) <= _MOST_TOLD else (self.present_from,)

    @property
    def present_boundary(self) -> float:
        """The value halfway between ``present_from`` and the level below it."""
        return (self.levels[self.present_index] + self.levels[self.present_index - 1]) / 2

    def level_index(self, ratings: ArrayLike) -> NDArray[np.int64]:
        """Return the index of the nearest level of each rating, -1 where it is missing (NaN).

        A rating halfway between two levels, such as the median of two raters, goes to the lower one.
        """
        values = np.asarray(ratings, dtype=np.float64)
        levels = np.asarray(self.levels, dtype=np.float64)
        boundaries = (levels[1:] + levels[:-1]) / 2
        index = np.searchsorted(boundaries, values, side="left")
        return np.where(np.isnan(values), -1, index).astype(np.int64)

    def nearest_level(self, ratings: ArrayLike) -> NDArray[np.float64]:
        """Return the nearest level of each rating, NaN where it is missing."""
        index = self.level_index(ratings)
        return np.where(index < 0, np.nan, np.asarray(self.levels, dtype=np.float64)[index])

    def is_present(self, ratings: ArrayLike) -> NDArray[np.float64]:
        """Return 1 where the rating's level is ``present_from`` or above, 0 below, NaN where missing."""
        index = self.level_index(ratings)
        return np.where(index < 0, np.nan, (index >= self.present_index).astype(np.float64))
