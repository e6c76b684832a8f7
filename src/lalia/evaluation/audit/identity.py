"""How much a split of recordings instead of speakers would flatter: the identity confound."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalia.data.table import RecordingTable
from lalia.evaluation.evaluate import Estimate
from lalia.evaluation.probe_folds import PENALTIES
from lalia.evaluation.ridge import Floats
from lalia.evaluation.ridge_fit import fit_ridge
from lalia.measures.discrimination import auc
from lalia.measures.uncertainty import speaker_weights

_INNER_FOLDS = 3
_MOST_RECORDINGS = 2000


@dataclass(frozen=True, eq=False)
class IdentityConfound:
    """What a trait's AUC owes to knowing the speakers, where recordings are split.

    Attributes:
        by_recording: the AUC where each speaker's recordings are dealt into both halves.
        by_speaker: where whole speakers are.
        inflation: the first minus the second.
        permuted: AUCs of splits by recording whose labels were dealt out to the speakers at random.
        recordings: how many entered.
    """

    by_recording: Estimate
    by_speaker: Estimate
    inflation: Estimate
    permuted: Floats
    recordings: int

    def to_json(self) -> dict[str, Any]:
        """Return the three numbers with intervals, and mean and middle 95 % of the permuted AUCs."""
        low, high = np.quantile(self.permuted, [0.025, 0.975])
        return {
            "by_recording": self.by_recording.to_json(),
            "by_speaker": self.by_speaker.to_json(),
            "inflation": self.inflation.to_json(),
            "permuted": {"value": float(self.permuted.mean()), "low": float(low), "high": float(high)},
        }


def measure_identity_confound(
    vectors: NDArray[np.floating],
    table: RecordingTable,
    trait: str,
    *,
    permutations: int = 100,
    replicates: int = 1000,
    seed: int = 0,
) -> IdentityConfound | str:
    """Measure how much presence of a trait can be told from knowing the speaker.

    The method is that of Chaibub Neto et al. 2019 ("Detecting the impact of subject characteristics on machine
    learning-based diagnostic applications", npj Digital Medicine 2:99): labels are permuted between speakers, all
    recordings of a speaker keeping one, and half of each speaker's recordings are learned, the others scored. Nothing
    of the trait is left in such labels, so what is above 0.5 comes from recognising speakers. Here the label of a
    speaker is that of most of their recordings, the classifier a ridge regression, and both halves are scored in turn.

    Args:
        vectors: of the recordings, shape (recordings, width).
        table: the recordings. Of more than 2,000 only so many are taken, whole speakers.
        trait: whose presence is told.
        permutations: of the speakers' labels.
        replicates: how often the speakers are drawn for the intervals.
        seed: of all that is drawn.

    Returns:
        The measures, or why there are none.
    """
    random = np.random.default_rng(seed)
    present = table.scale.is_present(table.ratings[trait])
    names, owner = np.unique(table.recordings["speaker"].to_numpy(dtype=str), return_inverse=True)
    is_taken = ~np.isnan(present)
    order = random.permutation(len(names))
    counts = np.bincount(owner[is_taken], minlength=len(names))[order]
    is_taken &= np.isin(owner, order[np.cumsum(counts) <= _MOST_RECORDINGS])
    speakers, owner = np.unique(owner[is_taken], return_inverse=True)
    present = present[is_taken]
    if (np.bincount(owner, minlength=1) >= 2).sum() < 4:
        return "fewer than 4 speakers have two rated recordings"
    # the share of a speaker's recordings that are present; a tie counts as present
    label = (np.bincount(owner, present) / np.bincount(owner) >= 0.5).astype(np.float64)
    if label.sum() < 2 or (1 - label).sum() < 2:
        return "fewer than 2 speakers have the trait, or lack it"
    features = vectors[is_taken].astype(np.float64)
    features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-12)

    half_of_recording = _deal_within(owner, random)
    half_of_speaker = (random.permutation(len(speakers)) % 2)[owner]
    weights = speaker_weights([str(number) for number in owner], replicates, seed)
    targets = np.stack([random.permutation(label)[owner] for _ in range(permutations)], axis=1)
    by_recording, flattered = _score_halves(features, present, half_of_recording, half_of_recording, weights, random)
    by_speaker, honest = _score_halves(features, present, half_of_speaker, owner, weights, random)
    permuted = _permuted_aucs(features, targets, half_of_recording, random)

    def estimate(value: float, drawn: Floats) -> Estimate:
        return Estimate(value, drawn, len(present), "one half has only one class" if np.isnan(value) else None)

    return IdentityConfound(
        estimate(by_recording, flattered),
        estimate(by_speaker, honest),
        estimate(by_recording - by_speaker, flattered - honest),
        permuted,
        len(present),
    )


def _deal_within(owner: NDArray[np.intp], random: np.random.Generator) -> NDArray[np.int64]:
    """Deal each speaker's recordings into two halves."""
    order = np.lexsort([random.random(len(owner)), owner])
    counts = np.bincount(owner)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    half = np.empty(len(owner), dtype=np.int64)
    # which half gets the odd one is drawn for each speaker
    half[order] = (place + np.repeat(random.integers(2, size=len(counts)), counts)) % 2
    return half


def _predict_halves(
    features: Floats, targets: Floats, half: NDArray[np.int64], units: NDArray[np.integer], random: np.random.Generator
) -> Floats:
    """Score each half by what was learned on the other; the inner folds keep units whole."""
    scores = np.empty(targets.shape)
    for number in (0, 1):
        training, test = half != number, half == number
        unit = np.unique(units[training], return_inverse=True)[1]
        folds = (random.permutation(int(unit.max()) + 1) % _INNER_FOLDS)[unit]
        fit = fit_ridge(features[training], targets[training], folds, [a * int(training.sum()) for a in PENALTIES])
        scores[test] = fit.predict(features[test])
    return scores


def _score_halves(
    features: Floats,
    present: Floats,
    half: NDArray[np.int64],
    units: NDArray[np.integer],
    weights: NDArray[np.float32],
    random: np.random.Generator,
) -> tuple[float, Floats]:
    """Return the mean AUC of the two halves, and its replicates."""
    inner = np.arange(len(present)) if units is half else units
    scores = _predict_halves(features, present[:, np.newaxis], half, inner, random)[:, 0]
    rows = [np.flatnonzero(half == number) for number in (0, 1)]
    value = np.mean([float(auc(present[of_half], scores[of_half])) for of_half in rows])
    drawn = np.mean([auc(present[of_half], scores[of_half], weights[:, of_half]) for of_half in rows], axis=0)
    return float(value), drawn


def _permuted_aucs(features: Floats, targets: Floats, half: NDArray[np.int64], random: np.random.Generator) -> Floats:
    scores = _predict_halves(features, targets, half, np.arange(len(targets)), random)
    return np.array(
        [
            np.mean([float(auc(given[half == number], said[half == number])) for number in (0, 1)])
            for given, said in zip(targets.T, scores.T, strict=True)
        ]
    )
