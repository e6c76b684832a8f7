"""What a model's numbers are held against: baselines that hear no speech, and people."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lalia.data.splits import PARTS, Split
from lalia.data.table import RecordingTable
from lalia.errors import TableError
from lalia.evaluation.evaluate import UNITS, Estimate, Unit, build_branch
from lalia.measures.raters import leave_one_out_agreement
from lalia.measures.uncertainty import speaker_weights
from lalia.scale import Scale

_Floats = NDArray[np.float64]


def nuisance_baselines(table: RecordingTable, split: Split) -> dict[str, pd.DataFrame]:
    """Predict every recording from what is no speech, learned on the rated recordings of the training part.

    ``majority`` knows the training ratings alone: their mean is the score, their most frequent level the level, the
    share of present ones the probability. ``duration`` knows how long a recording is: from its seconds and their
    logarithm a linear regression gives the score, kept within the scale, and a logistic regression the probability.

    Args:
        table: the recordings, with the column ``duration_seconds`` of ``scan_recordings``.
        split: their parts.

    Returns:
        For each baseline the predictions that ``evaluate`` takes; a trait without a training rating has no scores.

    Raises:
        TableError: if the recordings have not been scanned.
    """
    if "duration_seconds" not in table.recordings:
        raise TableError("The table lacks the column 'duration_seconds'. Add the columns of scan_recordings first.")
    known = table.recordings[["recording", "speaker"]].assign(part=split.part_of(list(table.recordings["recording"])))
    seconds = table.recordings["duration_seconds"].to_numpy(dtype=np.float64)
    features = np.column_stack([seconds, np.log(seconds)])
    in_training = (known["part"] == "train").to_numpy()
    majority, duration = [], []
    for trait in table.traits:
        ratings = table.ratings[trait].to_numpy(dtype=np.float64)
        rows = known.assign(trait=trait, rating=ratings)
        is_learned = in_training & ~np.isnan(ratings)
        if is_learned.any():
            most = rows.assign(**_guess_majority(ratings[is_learned], table.scale))
            by_duration = rows.assign(**_fit_ratings(features, ratings, is_learned, table.scale))
        else:
            most = by_duration = rows.assign(score=np.nan, level=np.nan, probability=np.nan)
        majority.append(most)
        duration.append(by_duration)
    return {"majority": pd.concat(majority, ignore_index=True), "duration": pd.concat(duration, ignore_index=True)}


def rater_agreement(
    table: RecordingTable, split: Split, *, replicates: int = 1000, seed: int = 0
) -> dict[str, dict[Unit, Any]]:
    """Return how well people agree, as metrics of each rater against the median of the others.

    Each rater takes the model's place, so the numbers can be read beside the model's. For a speaker a rater's rating
    is the mean over the recordings that the rater rated.

    Args:
        table: the recordings with the ratings of each rater.
        split: their parts.
        replicates: how often the speakers of a part are drawn.
        seed: of the draws.

    Returns:
        ``[part][unit]["traits"][trait][metric]`` and ``[part][unit]["macro"][metric]`` as ``evaluate`` gives them, for
        the parts that have recordings; nothing where the table has fewer than two raters.
    """
    if table.rater_ratings["rater"].nunique() < 2:
        return {}
    given = table.rater_ratings.merge(split.parts[["recording", "speaker", "part"]], on="recording")
    tree: dict[str, dict[Unit, Any]] = {}
    for part in PARTS:
        speakers = np.unique(split.parts.loc[split.parts["part"] == part, "speaker"].to_numpy(dtype=str))
        if not len(speakers):
            continue
        draws = speaker_weights(list(speakers), replicates, seed)
        rows = given[given["part"] == part]
        tree[part] = {
            unit: build_branch(
                {
                    trait: _compare_raters(rows[rows["trait"] == trait], unit, table.scale, speakers, draws)
                    for trait in table.traits
                }
            )
            for unit in UNITS
        }
    return tree


def _guess_majority(ratings: _Floats, scale: Scale) -> dict[str, float]:
    counts = np.bincount(scale.level_index(ratings))
    return {
        "score": float(ratings.mean()),
        "level": float(scale.levels[np.argmax(counts)]),
        "probability": float(scale.is_present(ratings).mean()),
    }


def _fit_ratings(
    features: _Floats, ratings: _Floats, is_learned: NDArray[np.bool_], scale: Scale
) -> dict[str, _Floats]:
    """Learn ratings and presence from features, and predict both for every row."""
    linear = make_pipeline(StandardScaler(), LinearRegression())
    score = linear.fit(features[is_learned], ratings[is_learned]).predict(features)
    score = np.clip(score, scale.levels[0], scale.levels[-1])
    is_present = scale.is_present(ratings[is_learned])
    probability = np.full(len(features), is_present[0])
    if is_present.min() < is_present.max():
        logistic = make_pipeline(StandardScaler(), LogisticRegression())
        probability = logistic.fit(features[is_learned], is_present).predict_proba(features)[:, 1]
    return {"score": score, "level": scale.nearest_level(score), "probability": probability}


def _compare_raters(
    rows: pd.DataFrame, unit: Unit, scale: Scale, speakers: NDArray[np.str_], draws: NDArray[np.float32]
) -> dict[str, Estimate]:
    """Compare the raters of one trait in one part."""
    index = ["speaker", "recording"] if unit == "recording" else ["speaker"]
    matrix = rows.pivot_table(index=index, columns="rater", values="rating", aggfunc="mean")
    speaker_of_row = matrix.index.get_level_values("speaker").to_numpy(dtype=str)
    weights = draws[:, np.searchsorted(speakers, speaker_of_row)]
    ratings = matrix.to_numpy(dtype=np.float64)
    values = leave_one_out_agreement(ratings, scale)
    replicates = leave_one_out_agreement(ratings, scale, weights)
    return {
        name: Estimate(float(found.value), replicates[name].value, found.recordings, found.reason)
        for name, found in values.items()
    }
