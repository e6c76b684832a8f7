"""What the probability of reaching each level is worth: the rated rows of a trait as they are at each level."""

from typing import Final

import numpy as np
import pandas as pd

from lalia.evaluation.predictions import reach_columns
from lalia.measures.metrics import CALIBRATION_METRICS, RATER_METRICS, Judged, Metric
from lalia.scale import Scale

THRESHOLD_METRICS: Final[tuple[Metric, ...]] = (
    *(metric for metric in RATER_METRICS if metric.name == "prevalence"),
    *CALIBRATION_METRICS,
)
"""What is told of the probability of reaching a level, beside the share of ratings that do."""


def judge_levels(rated: pd.DataFrame, judged: Judged, scale: Scale) -> dict[str, Judged]:
    """Return the rated rows of a trait as they are at each level that predictions tell of, by the level's name.

    "Present" is there a rating of this level or above, and the probability is that of reaching it.

    Args:
        rated: the rows, with the columns of ``reach_columns``.
        judged: the same rows, judged on presence.
        scale: of the ratings.
    """
    found = {}
    for level, column in reach_columns(rated).items():
        probability = rated[column].to_numpy(dtype=np.float64)
        found[f"{level:g}"] = Judged(
            ratings=judged.ratings,
            level_index=judged.level_index,
            is_present=judged.level_index >= scale.levels.index(level),
            n_levels=judged.n_levels,
            probability=None if np.isnan(probability).any() else probability,
            unit=judged.unit,
        )
    return found
