"""What may explain a rating without anything being heard: recording, date, site, speaker, as columns of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lalia.data.table import RecordingTable

Floats = NDArray[np.float64]

MEASURED: Final = {
    "duration": "duration_seconds",
    "silence_share": "silence_share",
    "level": "level_db",
    "snr": "snr_db",
    "bandwidth": "bandwidth_hz",
    "clipping": "clipping_share",
    "sampling_rate": "rate_hz",
}
"""Nuisance variables that are measured, and their columns."""

_MOST_CATEGORIES = 20
_FEWEST_NUMBERS = 5  # of different values, for a column to be a quantity


@dataclass(frozen=True)
class Nuisances:
    """Nuisance variables of recordings.

    Attributes:
        features: of each variable the numbers of each recording, shape (recordings, columns), without NaN.
        left_out: variables that cannot tell anything, and why.
    """

    features: Mapping[str, Floats]
    left_out: Mapping[str, str]

    def join(self, names: "list[str] | tuple[str, ...] | None" = None) -> Floats | None:
        """Put variables side by side, all of them if none is named; None where none of them is there."""
        columns = [values for name, values in self.features.items() if names is None or name in names]
        return np.concatenate(columns, axis=1) if columns else None


def read_nuisances(table: RecordingTable) -> Nuisances:
    """Return the nuisance variables of a table: what was measured of the audio, date, task and the covariates.

    A quantity is a column of its values, those that are missing at the median with a column of their own that says so;
    the duration has its logarithm too. A date counts its days. Any other column has one for each of its values, the 20
    most frequent ones at most.

    Args:
        table: with the columns of ``scan_recordings``, and those of ``measure_quality`` where wanted.
    """
    features: dict[str, Floats] = {}
    left_out: dict[str, str] = {}
    columns = dict(MEASURED) | {"date": "date", "task": "task"} | {name: name for name in table.covariates}
    for name, column in columns.items():
        if column not in table.recordings:
            continue
        values = table.recordings[column]
        if values.nunique(dropna=False) < 2:
            left_out[name] = "the same in all recordings"
            continue
        numbers = as_quantity(values)
        if numbers is None:
            features[name] = _one_column_each(values)
        elif name == "duration":
            features[name] = np.column_stack([numbers, np.log(numbers)])
        else:
            features[name] = _fill(numbers)
    return Nuisances(features, left_out)


def as_quantity(values: "pd.Series[str]") -> Floats | None:
    """Return numbers, or days for dates, NaN where missing; None for a column of categories.

    A column of numbers with fewer than five different ones is one of categories, such as codes of sites.

    Example:
        >>> as_quantity(pd.Series(["61", "64", None, "70", "72", "80"]))
        array([61., 64., nan, 70., 72., 80.])
        >>> as_quantity(pd.Series(["1", "2", "1"])) is None
        True
    """
    given = values.dropna()
    numbers = pd.to_numeric(given, errors="coerce")
    if numbers.isna().any():
        days = pd.to_datetime(given.astype(str), errors="coerce", format="ISO8601", utc=True)
        if days.isna().any():
            return None
        numbers = (days - pd.Timestamp("1970-01-01", tz="UTC")) / pd.Timedelta(days=1)
    elif numbers.nunique() < _FEWEST_NUMBERS and not pd.api.types.is_numeric_dtype(values):
        return None
    return numbers.reindex(values.index).to_numpy(dtype=np.float64)


def _fill(numbers: Floats) -> Floats:
    is_missing = np.isnan(numbers)
    filled = np.where(is_missing, np.nanmedian(numbers), numbers)
    return np.column_stack([filled, is_missing]) if is_missing.any() else filled[:, np.newaxis]


def _one_column_each(values: "pd.Series[str]") -> Floats:
    texts = values.fillna("").astype(str)
    frequent = texts.value_counts().index[:_MOST_CATEGORIES]
    return np.column_stack([texts == category for category in frequent]).astype(np.float64)
