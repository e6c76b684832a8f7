"""How well a run rates each group of speakers, by sex, age, site, task, severity; those of few people are hidden."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd

from lalia.data.table import RecordingTable
from lalia.evaluation.audit.nuisances import as_quantity
from lalia.evaluation.evaluate import Unit, evaluate
from lalia.scale import Scale

AGE_BANDS: Final = (18, 40, 60, 75)
"""Where bands of age begin, in years."""
SEVERITY: Final = "severity"
SUBGROUP_METRICS: Final = ("auc", "balanced_accuracy", "spearman", "mae")

_COLUMNS = ("part", "attribute", "group", "speakers", "recordings", "trait", "metric", "value", "low", "high", "n")


def group_recordings(table: RecordingTable) -> pd.DataFrame:
    """Return the groups of each recording: the task, the covariates, and how severe the worst trait is.

    Covariates that are quantities become bands: an ``age`` under 18, 18-39, 40-59, 60-74 and 75 or more; any other one
    thirds of the recordings. The severity is that of the trait with the highest level in this recording.

    Returns:
        The column recording and one per attribute; None where it is not known.
    """
    groups = {"recording": table.recordings["recording"].astype(object)}
    for name in ("task", *table.covariates):
        if name in table.recordings and table.recordings[name].notna().any():
            groups[name] = _band(name, table.recordings[name])
    worst = table.scale.nearest_level(table.ratings.max(axis=1))
    severity = [None if np.isnan(level) else f"worst trait at {level:g}" for level in worst]
    groups[SEVERITY] = pd.Series(severity, dtype=object, index=table.recordings.index)
    return pd.DataFrame(groups)


def evaluate_subgroups(
    predictions: pd.DataFrame,
    groups: pd.DataFrame,
    scale: Scale,
    thresholds: Mapping[str, float],
    *,
    min_speakers: int = 5,
    unit: Unit = "recording",
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Evaluate predictions in each group, with intervals that resample its speakers.

    A group of fewer than ``min_speakers`` has a row without numbers, not even that of its speakers, whom they could
    point at. Where it is the only such group of an attribute, the smallest other one is hidden too: the difference from
    the whole would give it away.

    Args:
        predictions: as for ``evaluate``.
        groups: of ``group_recordings``.
        scale: of the ratings.
        thresholds: of the traits.
        min_speakers: the fewest speakers of a group that is shown.
        unit: recordings or speakers.
        replicates: how often the speakers of a group are drawn.
        seed: of the draws.

    Returns:
        Columns part, attribute, group, speakers, recordings, trait ("macro" for the mean), metric, value, low, high, n,
        reason. Rows of a hidden group have only part, attribute, group and the reason.
    """
    rows: list[dict[str, Any]] = []
    attributes = [name for name in groups.columns if name != "recording"]
    joined = predictions.merge(groups, on="recording", how="left")
    for part in dict.fromkeys(joined["part"]):
        of_part = joined[joined["part"] == part]
        rated = of_part[of_part["rating"].notna()]
        for attribute in attributes:
            counts = rated.groupby(attribute)["speaker"].nunique()
            hidden = _hide(counts, min_speakers)
            for group in sorted(counts.index, key=str):
                place = {"part": part, "attribute": attribute, "group": group}
                if group in hidden:
                    rows.append(place | {"reason": f"not shown: {hidden[group]}"})
                    continue
                chosen = of_part[of_part[attribute] == group]
                place |= {"speakers": int(counts[group]), "recordings": int(chosen["recording"].nunique())}
                tree = evaluate(chosen, scale, thresholds, replicates=replicates, seed=seed)[part][unit]
                for trait, found in [*tree["traits"].items(), ("macro", tree["macro"])]:
                    rows += [place | {"trait": trait, "metric": name} | found[name] for name in SUBGROUP_METRICS]
    return pd.DataFrame(rows, columns=[*_COLUMNS, "reason"])


def _band(name: str, values: "pd.Series[str]") -> "pd.Series[str]":
    numbers = as_quantity(values)
    if numbers is None:
        return values.astype(object)
    if name.lower() == "age":
        edges = [-np.inf, *AGE_BANDS, np.inf]
        labels = [f"under {AGE_BANDS[0]}", *(f"{a}-{b - 1}" for a, b in pairwise(AGE_BANDS))]
        labels.append(f"{AGE_BANDS[-1]} or more")
    else:
        thirds = np.unique(np.nanquantile(numbers, [1 / 3, 2 / 3]))
        edges = [-np.inf, *thirds, np.inf]
        labels = [f"under {thirds[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(thirds))]
        labels.append(f"{thirds[-1]:g} or more")
    found = np.digitize(numbers, edges[1:-1])
    names = [None if np.isnan(number) else labels[band] for number, band in zip(numbers, found, strict=True)]
    return pd.Series(names, dtype=object, index=values.index)


def _hide(counts: "pd.Series[int]", min_speakers: int) -> dict[str, str]:
    """Say which groups are hidden, and why."""
    few = {str(group): f"fewer than {min_speakers} speakers" for group, count in counts.items() if count < min_speakers}
    others = counts[counts >= min_speakers]
    if len(few) == 1 and len(others):
        few[str(others.idxmin())] = "it would give away the only group that is not shown"
    return few
