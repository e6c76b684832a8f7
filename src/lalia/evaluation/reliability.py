"""How far the ratings themselves can be relied on: agreement coefficients of the people who rated."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lalia.data.splits import PARTS, Split
from lalia.data.table import RecordingTable
from lalia.evaluation.evaluate import REPLICATES, Estimate, average_estimates
from lalia.measures.concordance import icc
from lalia.measures.metrics import METRICS
from lalia.measures.raters import krippendorff_alpha, pairwise_agreement
from lalia.measures.uncertainty import speaker_weights
from lalia.scale import Scale

_QWK = [metric for metric in METRICS if metric.name == "qwk"]


def rater_reliability(
    table: RecordingTable, split: Split, *, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Return coefficients of agreement of raters for each part and trait, with intervals over speakers.

    - ``krippendorff_alpha``, ordinal: any number of raters, missing ratings allowed.
    - ``pairwise_qwk``: the mean quadratic kappa over pairs of raters that share recordings.
    - ``icc_a1`` and ``icc_ak``: two-way, absolute agreement, of a single rater and of the mean of all; over the
      recordings that every rater of the trait rated, which is none where each recording has other raters.
    - where raters rated recordings again, ``intra_rater_qwk``: the quadratic kappa of a rater's first and second
      rating, as a mean over raters; and ``intra_rater_icc``: ICC(A,1) of the two, raters and recordings together.

    Args:
        table: the recordings with the ratings of each rater.
        split: their parts.
        replicates: how often the speakers of a part are drawn.
        seed: of the draws.

    Returns:
        ``[part][trait][coefficient]`` as ``Estimate.to_json`` gives it; nothing where the table has fewer than two
        raters and no repeats.
    """
    if table.rater_ratings["rater"].nunique() < 2 and table.repeats.empty:
        return {}
    places = split.parts[["recording", "speaker", "part"]]
    given = table.rater_ratings.merge(places, on="recording")
    again = table.repeats[table.repeats["repeat"] == 2].merge(
        given, on=["recording", "rater", "trait"], suffixes=("_again", "")
    )
    tree: dict[str, dict[str, Any]] = {}
    for part in PARTS:
        rows = given[given["part"] == part]
        speakers = np.unique(split.parts.loc[split.parts["part"] == part, "speaker"].to_numpy(dtype=str))
        if len(speakers):
            draws = speaker_weights(list(speakers), replicates, seed)
            tree[part] = {
                trait: _measure(rows[rows["trait"] == trait], table.scale, speakers, draws) for trait in table.traits
            }
            if len(again):
                of_part = again[again["part"] == part]
                for trait, found in tree[part].items():
                    of_trait = of_part[of_part["trait"] == trait]
                    found |= _measure_repeats(of_trait, table.scale, speakers, draws)
    return tree


def _measure(
    rows: pd.DataFrame, scale: Scale, speakers: NDArray[np.str_], draws: NDArray[np.float32]
) -> dict[str, dict[str, Any]]:
    matrix = rows.pivot_table(index=["speaker", "recording"], columns="rater", values="rating", aggfunc="mean")
    weights = draws[:, np.searchsorted(speakers, matrix.index.get_level_values("speaker").to_numpy(dtype=str))]
    ratings = matrix.to_numpy(dtype=np.float64)
    has_two = (~np.isnan(ratings)).sum(axis=1) > 1
    alpha = _tell(
        float(krippendorff_alpha(ratings)),
        krippendorff_alpha(ratings, weights=weights),
        int(has_two.sum()),
        "no recording has two ratings, or all ratings are equal",
    )
    (kappa,) = pairwise_agreement(ratings, scale, metrics=_QWK).values()
    (replicates,) = pairwise_agreement(ratings, scale, weights, metrics=_QWK).values()
    found = {
        "krippendorff_alpha": alpha,
        "pairwise_qwk": _tell(float(kappa.value), replicates.value, kappa.recordings, kappa.reason or "undefined"),
    }
    is_complete = ~np.isnan(ratings).any(axis=1)
    n = int(is_complete.sum()) if ratings.shape[1] > 1 else 0
    for name, form in (("icc_a1", "A,1"), ("icc_ak", "A,k")):
        if n < 3:
            found[name] = _tell(float("nan"), np.empty(0), n, "fewer than 3 recordings that every rater rated")
            continue
        complete = ratings[is_complete]
        values = icc(complete, form, weights[:, is_complete])  # type: ignore[arg-type]
        found[name] = _tell(float(icc(complete, form)), values, n, "all ratings are equal")  # type: ignore[arg-type]
    return found


def _measure_repeats(
    rows: pd.DataFrame, scale: Scale, speakers: NDArray[np.str_], draws: NDArray[np.float32]
) -> dict[str, dict[str, Any]]:
    """Compare what raters gave at first (column rating) and later (rating_again), a row per rater and recording."""
    weights = draws[:, np.searchsorted(speakers, rows["speaker"].to_numpy(dtype=str))]
    pairs = rows[["rating", "rating_again"]].to_numpy(dtype=np.float64)
    n, nothing = len(pairs), "no rater rated a recording twice"
    of_raters = [
        _compare_repeats(pairs[places], scale, weights[:, places])
        for _, places in sorted(rows.reset_index(drop=True).groupby("rater").indices.items())
    ]
    mean = average_estimates(of_raters)
    reason = next((each.reason for each in of_raters if each.reason), nothing)
    kappa = _tell(mean.value, mean.replicates, n, reason)
    if n < 3:
        found = _tell(float("nan"), np.empty(0), n, "fewer than 3 ratings were repeated" if n else nothing)
    else:
        found = _tell(float(icc(pairs, "A,1")), icc(pairs, "A,1", weights), n, "all ratings are equal")
    return {"intra_rater_qwk": kappa, "intra_rater_icc": found}


def _compare_repeats(pairs: NDArray[np.float64], scale: Scale, weights: NDArray[np.float32]) -> Estimate:
    (kappa,) = pairwise_agreement(pairs, scale, metrics=_QWK).values()
    (drawn,) = pairwise_agreement(pairs, scale, weights, metrics=_QWK).values()
    return Estimate(float(kappa.value), drawn.value, len(pairs), kappa.reason)


def _tell(value: float, replicates: NDArray[np.float64], n: int, reason: str) -> dict[str, Any]:
    return Estimate(value, replicates, n, reason if np.isnan(value) else None).to_json()
