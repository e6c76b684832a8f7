"""Whether recordings were made differently where ratings, sites or parts differ."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student

from lalia.data.splits import PARTS
from lalia.data.table import RecordingTable
from lalia.evaluation.audit.nuisances import MEASURED, as_quantity
from lalia.measures.agreement import spearman
from lalia.measures.discrimination import auc
from lalia.measures.uncertainty import interval, speaker_weights

SMALLEST_SPEARMAN: Final = 0.3
SMALLEST_AUC_DISTANCE: Final = 0.15
"""Smaller effects are not told of, however sure: a correlation, and the distance of an AUC from 0.5."""

_COLUMNS = ("quality", "differs_by", "group", "effect", "value", "low", "high", "n", "is_found")
_MOST_GROUPS = 20


def compare_quality(
    table: RecordingTable, parts: Sequence[str], *, replicates: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Compare what was measured of the recordings by rating, by category and by part.

    For the ratings of a trait the effect is Spearman's correlation; for a value of a category (a covariate, the task,
    the part) it is how often a recording with it has the higher measure than one without, 0.5 where there is no
    difference (the AUC). Intervals resample speakers.

    Args:
        table: with the columns of ``scan_recordings`` and ``measure_quality``.
        parts: of each recording.
        replicates: how often the speakers are drawn.
        seed: of the draws.

    Returns:
        A row per comparison: quality, differs_by, group (of a category), effect (``spearman`` or ``auc``), value, low,
        high, n, and is_found: the effect is a correlation of 0.3 or an AUC 0.15 from 0.5 or more, and so many times its
        bootstrap standard error that of all the comparisons here together one in 20 tables without any would show one
        (Student's quantile for the speakers of the smaller group, Bonferroni's correction).
    """
    recordings = table.recordings
    speakers = recordings["speaker"].to_numpy(dtype=str)
    weights = speaker_weights(list(speakers), replicates, seed)
    rows: list[dict[str, object]] = []
    for quality, column in MEASURED.items():
        if column not in recordings or recordings[column].nunique() < 2:
            continue
        values = recordings[column].to_numpy(dtype=np.float64, na_value=np.nan)
        for trait in table.traits:
            ratings = table.ratings[trait].to_numpy(dtype=np.float64)
            has_both = ~np.isnan(values) & ~np.isnan(ratings)
            rows.append(
                _compare(quality, f"rating of {trait}", "", "spearman", ratings, values, speakers, weights, has_both)
            )
        for name, group, is_in in _groups(table, parts):
            rows.append(_compare(quality, name, group, "auc", is_in, values, speakers, weights, ~np.isnan(values)))
    found = pd.DataFrame([row for row in rows if not np.isnan(row["value"])], columns=[*_COLUMNS, "error", "freedom"])  # type: ignore[call-overload]
    # a few speakers give a bootstrap error that is too small: Student's quantile, not the normal one
    surely = student.ppf(1 - 0.05 / 2 / max(1, len(found)), found["freedom"].astype(np.float64))
    neutral = np.where(found["effect"] == "auc", 0.5, 0.0)
    smallest = np.where(found["effect"] == "auc", SMALLEST_AUC_DISTANCE, SMALLEST_SPEARMAN)
    distance = (found["value"].astype(np.float64) - neutral).abs()
    found["is_found"] = (distance >= smallest) & (distance > surely * found["error"].astype(np.float64))
    return found[list(_COLUMNS)].sort_values(["is_found", "quality"], ascending=[False, True], ignore_index=True)


def describe_difference(row: "pd.Series[str]") -> str:
    """Say a comparison in a sentence."""
    numbers = f"{float(row['value']):.2f}, 95 % interval {float(row['low']):.2f} to {float(row['high']):.2f}"
    if row["effect"] == "spearman":
        way = "higher" if float(row["value"]) > 0 else "lower"
        return f"The {row['quality']} is {way} where the {row['differs_by']} is higher (Spearman {numbers})."
    way = "higher" if float(row["value"]) > 0.5 else "lower"
    return (
        f"The {row['quality']} is {way} in recordings whose {row['differs_by']} is {row['group']} than in others "
        f"(AUC {numbers})."
    )


def _groups(table: RecordingTable, parts: Sequence[str]) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Return the values of each category; of two values only the first, since the other says the same."""
    given = {"part": pd.Series(list(parts), dtype=object)}
    for name in ("task", *table.covariates):
        if name in table.recordings and as_quantity(table.recordings[name]) is None:
            given[name] = table.recordings[name]
    found = []
    for name, values in given.items():
        frequent = [str(value) for value in values.dropna().astype(str).value_counts().index[:_MOST_GROUPS]]
        groups = [part for part in PARTS if part in frequent] if name == "part" else sorted(frequent)
        for group in groups[:1] if len(groups) == 2 else groups if len(groups) > 2 else []:
            found.append((name, group, values.astype(str).to_numpy() == group))
    return found


def _compare(
    quality: str,
    differs_by: str,
    group: str,
    effect: str,
    given: NDArray[np.generic],
    values: NDArray[np.float64],
    speakers: NDArray[np.str_],
    weights: NDArray[np.float32],
    is_known: NDArray[np.bool_],
) -> dict[str, object]:
    measure = spearman if effect == "spearman" else auc
    value = float(measure(given[is_known], values[is_known]))
    drawn = np.asarray(measure(given[is_known], values[is_known], weights[:, is_known]))
    low, high = interval(drawn)
    error = float(np.nanstd(drawn)) if not np.isnan(drawn).all() else np.nan
    groups = [is_known] if effect == "spearman" else [is_known & given.astype(bool), is_known & ~given.astype(bool)]
    freedom = max(1, min(len(np.unique(speakers[rows])) for rows in groups) - (2 if effect == "spearman" else 1))
    row = (quality, differs_by, group, effect, value, low, high, int(is_known.sum()), False, error, freedom)
    return dict(zip([*_COLUMNS, "error", "freedom"], row, strict=True))
