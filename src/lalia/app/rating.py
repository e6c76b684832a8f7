"""Uploaded files rated as ``lalia predict`` rates them, within limits, and what is wrong with the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lalia.data.audio import load_waveform, read_audio, scan_recordings
from lalia.data.decoding import Waveform
from lalia.errors import AudioError
from lalia.evaluation.predict import predict
from lalia.model.attention_pooling import FrameWeights
from lalia.model.rater import SpeechRater


@dataclass(frozen=True)
class Limits:
    """What is taken of a client.

    Args:
        megabytes: the size of a file, at most.
        minutes: the length of a recording, at most.
        files: how many files are rated at once, at most.
    """

    megabytes: float = 50.0
    minutes: float = 10.0
    files: int = 100


@dataclass(frozen=True)
class Rated:
    """Files that were rated, and why the others were not.

    Attributes:
        scores: the rows of ``lalia.evaluation.predict.predict``, and ``decision``: present, absent, or undecided where
            the rater abstains.
        problems: what is wrong, by the name of the file.
    """

    scores: pd.DataFrame
    problems: dict[str, str]


def rate_files(rater: SpeechRater, paths: Sequence[str | Path], limits: Limits) -> Rated:
    """Rate files under their names; nothing of them is kept.

    Args:
        rater: in eval mode.
        paths: of the files; two of one name get a number.
        limits: on each of them. What is beyond ``limits.files`` is not rated.
    """
    names = _name(paths)
    problems = dict.fromkeys(names[limits.files :], f"is more than the {limits.files} files that are rated at once")
    given = pd.DataFrame({"recording": names, "path": [str(path) for path in paths]})[: limits.files]
    too_large = [Path(path).stat().st_size > limits.megabytes * 1e6 for path in given["path"]]
    problems |= dict.fromkeys(given["recording"][too_large], f"is larger than {limits.megabytes:g} MB")
    given = given[~np.array(too_large, dtype=bool)]
    # before it is resampled and measured, which takes longer and more memory
    too_long = np.array([_is_longer(path, limits.minutes) for path in given["path"]], dtype=bool)
    problems |= dict.fromkeys(given["recording"][too_long], f"is longer than {limits.minutes:g} minutes")
    given = given[~too_long]
    encoder = rater.encoder
    scan = scan_recordings(
        given, rater.preprocessing, min_seconds=encoder.min_samples / encoder.rate_hz, workers=1
    ).set_index(given.index)
    bad = scan[scan["problem"] != ""]
    problems |= dict(zip(bad["recording"], bad["problem"], strict=True))
    usable = given.assign(duration_seconds=scan["duration_seconds"])[scan["problem"] == ""]
    scores = predict(rater, usable) if len(usable) else pd.DataFrame()
    return Rated(_decide(rater, scores), problems)


def listen(rater: SpeechRater, path: str | Path) -> tuple[Waveform, FrameWeights | None]:
    """Return a recording as the rater takes it and how much each frame counts, None where the pooling learns none."""
    waveform = load_waveform(path, rater.preprocessing)
    return waveform, rater.attention(waveform) if rater.learns_frame_weights else None


def _is_longer(path: str | Path, minutes: float) -> bool:
    try:
        waveform, rate_hz = read_audio(path)
    except AudioError:
        return False  # what is wrong with it is said elsewhere
    return len(waveform) > 60 * minutes * rate_hz


def _decide(rater: SpeechRater, scores: pd.DataFrame) -> pd.DataFrame:
    if not len(scores):
        return scores
    is_present = scores["probability"] >= scores["trait"].map(rater.thresholds)
    decision = pd.Series(np.where(is_present, "present", "absent"), index=scores.index, dtype=object)
    if "abstains" in scores:
        decision[scores["abstains"].astype(bool)] = "undecided"
    return scores.assign(decision=decision)


def _name(paths: Sequence[str | Path]) -> list[str]:
    seen: dict[str, int] = {}
    names = []
    for path in paths:
        name = Path(path).name
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names
