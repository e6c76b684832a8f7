"""What turns a probability of presence into a decision, fitted on the validation part: calibration and abstention."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit
from sklearn.isotonic import IsotonicRegression

from lalia.model.decisions import Abstention, Calibration, IsotonicCalibration, LogisticCalibration
from lalia.scale import Scale
from lalia.settings import ConformalAbstain, EntropyAbstain

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_SMALLEST = 1e-7


def fit_calibration(
    is_present: Flags, probability: Floats, kind: Literal["temperature", "platt", "isotonic"]
) -> Calibration:
    """Return what makes probabilities of presence as frequent as they say, on the recordings given.

    ``temperature`` and ``platt`` minimise the cross-entropy with Platt's targets, which are a little short of 0 and 1,
    so that classes that can be told apart without error do not send the slope to infinity.

    Args:
        is_present: whether people found the trait, both classes being there, shape (recordings,).
        probability: what the head says, likewise.
        kind: of calibration.
    """
    if kind == "isotonic":
        fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(probability, is_present)
        return IsotonicCalibration(tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()))
    log_odds = logit(probability.clip(_SMALLEST, 1 - _SMALLEST))
    n_present, n_absent = is_present.sum(), (~is_present).sum()
    targets = np.where(is_present, (n_present + 1) / (n_present + 2), 1 / (n_absent + 2))

    def loss(parameters: Floats) -> float:
        slope, intercept = np.exp(parameters[0]), parameters[1] if kind == "platt" else 0.0
        z = slope * log_odds + intercept
        return float(-(targets * log_expit(z) + (1 - targets) * log_expit(-z)).mean())

    n_parameters = 2 if kind == "platt" else 1
    # the logarithm of the slope, which is never below 0; no farther than what a float32 probability can tell apart
    found = minimize(loss, np.zeros(n_parameters), bounds=[(-7.0, 7.0), (-20.0, 20.0)][:n_parameters]).x
    return LogisticCalibration(float(np.exp(found[0])), float(found[1]) if kind == "platt" else 0.0)


def fit_abstention(
    is_present: Flags, probability: Floats, threshold: float, settings: ConformalAbstain | EntropyAbstain
) -> Abstention:
    """Return between which probabilities nothing should be decided, from the recordings given.

    - ``conformal``: of the recordings where the trait is present, the share ``error`` at most is called absent, and of
      those where it is absent, ``error`` at most is called present, in new recordings that are like these (split
      conformal prediction for each class by itself: Vovk 2013, "Conditional validity of inductive conformal
      predictors"). Recordings of one speaker resemble each other, so that with few speakers the promise is a loose one.
    - ``entropy``: the share ``coverage`` of these recordings is decided, those whose probability is farthest from the
      threshold in log-odds; at a threshold of 0.5 these are the ones with the least entropy.

    Args:
        is_present: shape (recordings,).
        probability: calibrated already, likewise.
        threshold: the probability from which on a recording is called present.
        settings: the kind and its number.
    """
    if isinstance(settings, ConformalAbstain):
        return Abstention(
            absent_to=_conformal_limit(probability[~is_present], settings.error),
            present_from=1 - _conformal_limit(1 - probability[is_present], settings.error),
        )
    center = float(logit(np.clip(threshold, _SMALLEST, 1 - _SMALLEST)))
    distance = np.abs(logit(probability.clip(_SMALLEST, 1 - _SMALLEST)) - center)
    limit = float(np.quantile(distance, 1 - settings.coverage, method="lower"))
    # a hair inside, so that what lies at the limit is decided whatever the rounding
    return Abstention(
        absent_to=float(expit(center - limit)) + _SMALLEST, present_from=float(expit(center + limit)) - _SMALLEST
    )


def _conformal_limit(scores: Floats, error: float) -> float:
    """Return the score that a new recording stays within with a probability of 1 - error; the highest if none is sure.

    Args:
        scores: how little each recording looks like its class, from 0 to 1.
        error: the share that may be beyond.
    """
    rank = int(np.ceil((len(scores) + 1) * (1 - error)))
    return 1.0 if rank > len(scores) else float(np.sort(scores)[rank - 1])


def rated_presence(
    predictions: pd.DataFrame, traits: Sequence[str], scale: Scale
) -> Iterator[tuple[str, Flags, Floats, str | None]]:
    """Yield each trait with presence and probability of its rated recordings, and why nothing can be fitted to them.

    Args:
        predictions: those of the validation part, with columns trait, rating and probability.
        traits: to fit.
        scale: of the ratings.
    """
    for trait in traits:
        rows = predictions[(predictions["trait"] == trait) & predictions["rating"].notna()]
        is_present = scale.is_present(rows["rating"].to_numpy(dtype=np.float64)) == 1
        probability = rows["probability"].to_numpy(dtype=np.float64)
        reason = None
        if not len(rows):
            reason = "no rated recording in the validation part"
        elif np.isnan(probability).any():
            reason = "no probability of presence for the validation part"
        elif is_present.all() or not is_present.any():
            reason = "only one class in the validation part"
        yield trait, is_present, probability, reason


def calibrate_predictions(predictions: pd.DataFrame, calibrations: Mapping[str, Calibration]) -> pd.DataFrame:
    """Return predictions with the probability of presence of each trait as its calibration makes it."""
    changed = predictions.copy()
    for trait, calibration in calibrations.items():
        is_trait = changed["trait"] == trait
        given = torch.tensor(changed.loc[is_trait, "probability"].to_numpy(dtype=np.float64))
        changed.loc[is_trait, "probability"] = calibration(given).numpy()
    return changed
