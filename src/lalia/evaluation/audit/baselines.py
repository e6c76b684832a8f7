"""What a model's numbers are held against: baselines that hear no speech, and people."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lalia.data.log_mel import LOG_MEL_COLUMN
from lalia.data.splits import PARTS, Split
from lalia.data.table import RecordingTable
from lalia.errors import TableError
from lalia.evaluation.audit.nuisances import read_nuisances
from lalia.evaluation.evaluate import UNITS, Estimate, Unit, build_branch
from lalia.measures.raters import leave_one_out_agreement
from lalia.measures.uncertainty import speaker_weights
from lalia.scale import Scale

_Floats = NDArray[np.float64]
_Flags = NDArray[np.bool_]

_ALPHAS = tuple(10.0**power for power in range(-1, 6, 2))
_STRENGTHS = tuple(10.0**power for power in range(-5, 2, 2))


def nuisance_baselines(table: RecordingTable, split: Split) -> dict[str, pd.DataFrame]:
    """Predict every recording from what is no trained model, learned on the rated recordings of the training part.

    - ``majority`` and ``mean`` know the training ratings alone: their most frequent level, or their mean with the level
      nearest to it, and for both the share of present ones as the probability.
    - ``duration`` knows how long a recording is: from its seconds and their logarithm a linear regression gives the
      score, kept within the scale, and a logistic regression the probability.
    - ``demographics``, where there are covariates, knows them and nothing else.
    - ``acoustic``, where the table has the column ``log_mel``, knows mean and spread of log-mel bands, the features of
      classical speech processing. It and demographics are ridge and logistic regressions of scikit-learn, whose
      penalties cross-validation over the training speakers chooses.

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
    in_training = (known["part"] == "train").to_numpy()
    seconds = table.recordings["duration_seconds"].to_numpy(dtype=np.float64)
    speakers = known["speaker"].to_numpy(dtype=str)
    ways: dict[str, Callable[[_Floats, _Flags], dict[str, Any]]] = {
        "majority": lambda ratings, is_learned: _guess_majority(ratings[is_learned], table.scale),
        "mean": lambda ratings, is_learned: _guess_mean(ratings[is_learned], table.scale),
        "duration": partial(_fit_ratings, np.column_stack([seconds, np.log(seconds)]), table.scale),
    }
    demographics = read_nuisances(table).join(table.covariates)
    if demographics is not None:
        ways["demographics"] = partial(_fit_penalized, demographics, speakers, table.scale)
    if LOG_MEL_COLUMN in table.recordings:
        acoustic = np.stack(list(table.recordings[LOG_MEL_COLUMN])).astype(np.float64)
        ways["acoustic"] = partial(_fit_penalized, acoustic, speakers, table.scale)

    found: dict[str, list[pd.DataFrame]] = {name: [] for name in ways}
    for trait in table.traits:
        ratings = table.ratings[trait].to_numpy(dtype=np.float64)
        rows = known.assign(trait=trait, rating=ratings, score=np.nan, level=np.nan, probability=np.nan)
        is_learned = in_training & ~np.isnan(ratings)
        for name, predict in ways.items():
            found[name].append(rows.assign(**predict(ratings, is_learned)) if is_learned.any() else rows)
    return {name: pd.concat(predictions, ignore_index=True) for name, predictions in found.items()}


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
    level = float(scale.levels[np.argmax(np.bincount(scale.level_index(ratings)))])
    return {"score": level, "level": level, "probability": float(scale.is_present(ratings).mean())}


def _guess_mean(ratings: _Floats, scale: Scale) -> dict[str, float]:
    mean = float(ratings.mean())
    probability = float(scale.is_present(ratings).mean())
    return {"score": mean, "level": float(scale.nearest_level(mean)), "probability": probability}


def _fit_ratings(features: _Floats, scale: Scale, ratings: _Floats, is_learned: _Flags) -> dict[str, _Floats]:
    """Learn ratings and presence from features, and predict both for every row."""
    linear = make_pipeline(StandardScaler(), LinearRegression()).fit(features[is_learned], ratings[is_learned])
    is_present = scale.is_present(ratings[is_learned])
    probability = np.full(len(features), is_present[0])
    if is_present.min() < is_present.max():
        logistic = make_pipeline(StandardScaler(), LogisticRegression())
        probability = logistic.fit(features[is_learned], is_present).predict_proba(features)[:, 1]
    return _say(linear.predict(features), probability, scale)


def _fit_penalized(
    features: _Floats, speakers: NDArray[np.str_], scale: Scale, ratings: _Floats, is_learned: _Flags
) -> dict[str, _Floats]:
    """Learn ratings and presence with penalties that folds of speakers choose, and predict both for every row."""
    given, groups = features[is_learned], speakers[is_learned]
    is_present = scale.is_present(ratings[is_learned])
    ridge = _choose_penalty(Ridge(), "alpha", _ALPHAS, "neg_mean_squared_error", given, ratings[is_learned], groups)
    probability = np.full(len(features), is_present[0])
    if is_present.min() < is_present.max():
        logistic = _choose_penalty(
            LogisticRegression(max_iter=2000), "C", _STRENGTHS, _negative_brier, given, is_present, groups
        )
        probability = logistic.predict_proba(features)[:, 1]
    return _say(ridge.predict(features), probability, scale)


def _choose_penalty(
    model: Any,
    name: str,
    values: tuple[float, ...],
    scoring: Any,
    features: _Floats,
    targets: _Floats,
    speakers: NDArray[np.str_],
) -> Any:
    """Fit a model with the penalty that folds of speakers choose; the strongest where no folds can be made."""
    scaled = make_pipeline(StandardScaler(), model)
    key = f"{type(model).__name__.lower()}__{name}"
    folds = min(4, len(np.unique(speakers)))
    splits = list(GroupKFold(folds).split(features, targets, speakers)) if folds > 1 else []
    # a logistic regression cannot be fitted where a fold leaves one class
    if not splits or any(np.ptp(targets[training]) == 0 for training, _ in splits):
        strongest = max(values) if name == "alpha" else min(values)
        return scaled.set_params(**{key: strongest}).fit(features, targets)
    return GridSearchCV(scaled, {key: list(values)}, scoring=scoring, cv=splits).fit(features, targets)


def _negative_brier(model: Any, features: _Floats, is_present: _Floats) -> float:
    return -float(np.mean(np.square(model.predict_proba(features)[:, 1] - is_present)))


def _say(score: _Floats, probability: _Floats, scale: Scale) -> dict[str, _Floats]:
    score = np.clip(score, scale.levels[0], scale.levels[-1])
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
