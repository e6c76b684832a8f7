"""All that an audit found: tables and numbers, and in plain sentences what of it a user should know."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.stats import t as student

from lalia.evaluation.audit.confounds import tabulate
from lalia.evaluation.audit.identity import IdentityConfound
from lalia.evaluation.audit.quality_differences import describe_difference
from lalia.evaluation.evaluate import Estimate
from lalia.evaluation.probe_estimates import Tree

TELLING_AUC: Final = 0.65
TELLING_SPEARMAN: Final = 0.3
"""A nuisance variable that reaches one of these, surely above guessing, is told of."""
NARROW_SHARE: Final = 0.6
"""A bandwidth below this share of half the sampling rate is told of, where the rate is above 8 kHz."""
CLIPPED_SHARE: Final = 0.001
OFFSET: Final = 0.01
NOISY_DB: Final = 10.0
MOST_SILENCE: Final = 0.8

QUALITY_TABLE: Final = (
    *("recording", "speaker", "part", "file_seconds", "duration_seconds", "rate_hz", "channels", "level_db", "peak_db"),
    *("silence_share", "snr_db", "clipping_share", "bandwidth_hz", "dc_offset", "is_mono_as_stereo"),
)


@dataclass(frozen=True)
class Finding:
    """Something that a user should know.

    Attributes:
        check: what found it: ``quality``, ``speakers``, ``duplicates``, ``confounds``, ``few_speakers``.
        sentence: in plain words.
        recordings: those concerned, where it is some of them.
    """

    check: str
    sentence: str
    recordings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found.

    Attributes:
        quality: a row per recording with what was measured of it.
        differences: of ``compare_quality``.
        shared_speakers: of ``find_shared_speakers``.
        duplicates: of ``place_duplicates``.
        like_voices: of ``find_like_voices``; empty without vectors of an encoder.
        confounds: of ``probe_confounds``.
        left_out: nuisance variables that were not probed, and why.
        identity: of each trait, or why not.
        curve: of ``learning_curve``.
        vectors: what the checks that hear took.
        few_speakers: levels that few speakers have, in a sentence.
        notes: checks that were left out, and why.
    """

    quality: pd.DataFrame
    differences: pd.DataFrame
    shared_speakers: pd.DataFrame
    duplicates: pd.DataFrame
    like_voices: pd.DataFrame
    confounds: Mapping[str, Tree]
    left_out: Mapping[str, str]
    identity: Mapping[str, IdentityConfound | str]
    curve: Mapping[int, Tree]
    vectors: str
    few_speakers: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What a user should know, the gravest first. Voices that are alike are listed, not found."""
        return (
            *self._leaks(),
            *_flag_quality(self.quality),
            *(
                Finding("quality", describe_difference(row))
                for _, row in self.differences[self.differences["is_found"]].iterrows()
            ),
            *flag_confounds(self.confounds, int(self.quality["speaker"].nunique())),
            *([Finding("few_speakers", self.few_speakers)] if self.few_speakers else []),
        )

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by the names of their files."""
        found = {
            "quality": self.quality,
            "quality_differences": self.differences,
            "shared_speakers": self.shared_speakers,
            "duplicates": self.duplicates,
            "like_voices": self.like_voices,
            "confounds": tabulate(self.confounds),
        }
        if self.curve:
            found["learning_curve"] = tabulate({str(size): tree for size, tree in self.curve.items()}, "speakers")
        return found

    def to_json(self) -> dict[str, Any]:
        """Return all of it as strict JSON can hold it; what is of single recordings is in the tables alone."""
        measured = self.quality.select_dtypes("number").astype(np.float64)
        return {
            "findings": [
                {"check": one.check, "sentence": one.sentence, "recordings": list(one.recordings)}
                for one in self.findings
            ],
            "notes": list(self.notes),
            "quality": {
                str(name): {
                    key: None if np.isnan(value) else float(value)
                    for key, value in zip(("low", "median", "high"), values.quantile([0.05, 0.5, 0.95]), strict=True)
                }
                for name, values in measured.items()
            },
            "quality_differences": _records(self.differences),
            "shared_speakers": _records(self.shared_speakers),
            "duplicates": _records(self.duplicates),
            "like_voices": _records(self.like_voices),
            "confounds": {name: _describe(tree) for name, tree in self.confounds.items()},
            "not_probed": dict(self.left_out),
            "identity": {
                trait: {"reason": found} if isinstance(found, str) else found.to_json()
                for trait, found in self.identity.items()
            },
            "learning_curve": {str(size): _describe(tree) for size, tree in self.curve.items()},
            "vectors": self.vectors,
        }

    def _leaks(self) -> Iterator[Finding]:
        for _, row in self.shared_speakers.iterrows():
            yield Finding("speakers", f"Speaker '{row['speaker']}' is in {row['parts']}: the model is tested on them.")
        for _, row in self.duplicates.iterrows():
            pair = (str(row["recording"]), str(row["other"]))
            where = []
            if row["is_across_speakers"]:
                where.append(f"under two speakers, '{row['speaker']}' and '{row['other_speaker']}'")
            if row["is_across_parts"]:
                where.append(f"in two parts, {row['part']} and {row['other_part']}")
            what = "are the same file" if row["kind"] == "file" else "hold the same sound"
            yield Finding("duplicates", f"Recordings '{pair[0]}' and '{pair[1]}' {what}{_join(where)}.", pair)


def _join(where: list[str]) -> str:
    return f": {'; '.join(where)}" if where else ", of one speaker in one part"


def _flag_quality(quality: pd.DataFrame) -> Iterator[Finding]:
    narrow = (quality["bandwidth_hz"] < NARROW_SHARE * quality["rate_hz"].astype("float64") / 2) & (
        quality["rate_hz"] > 8_000
    )
    checks = {
        "have samples cut off at a highest value (clipping, more than 0.1 % of them)": quality["clipping_share"]
        > CLIPPED_SHARE,
        "hold less than their sampling rate promises, such as a telephone or a codec leaves (see bandwidth_hz)": narrow,
        "have noise less than 10 dB below the speech (by an estimate that needs pauses)": quality["snr_db"] < NOISY_DB,
        "have an offset of more than 1 % of full scale": quality["dc_offset"].abs() > OFFSET,
        "are more than 80 % silence": quality["silence_share"] > MOST_SILENCE,
        "have several channels that are all the same": quality["is_mono_as_stereo"].astype("boolean").fillna(False),
    }
    for sentence, is_so in checks.items():
        names = tuple(quality.loc[is_so.fillna(False).astype(bool), "recording"].astype(str))
        if names:
            yield Finding("quality", f"{len(names)} of {len(quality)} recordings {sentence}.", names)
    rates = quality["rate_hz"].dropna().value_counts()
    if len(rates) > 1:
        shown = ", ".join(f"{count} at {rate:g} Hz" for rate, count in rates.items())
        yield Finding("quality", f"The recordings have several sampling rates: {shown}.")


def flag_confounds(confounds: Mapping[str, Tree], speakers: int) -> Iterator[Finding]:
    """Tell of probes that are above guessing by more than chance would bring among all of them (Bonferroni).

    A probe learns the sign too, so either side counts. It is judged in folds, where few speakers of a class meet, so
    its bootstrap error is too small: a quarter of the speakers count for Student's quantile, with which 5 of 80
    simulated tables without any confound (of 20, and of 60 speakers) told of one.
    """
    n_tests = sum(2 * (len(tree) - 1) for tree in confounds.values())
    surely = float(student.ppf(1 - 0.05 / 2 / max(1, n_tests), max(1, speakers // 4 - 1)))
    for name, tree in confounds.items():
        for trait, found in tree.items():
            if trait == "macro":
                continue
            auc, correlation = found["auc"].to_json(), found["spearman"].to_json()
            if _is_above(found["auc"], 0.5, TELLING_AUC, surely) or _is_above(
                found["spearman"], 0.0, TELLING_SPEARMAN, surely
            ):
                which = "All nuisance variables together" if name == "all" else f"The {name} alone"
                numbers = [_in_words(metric, one) for metric, one in (("AUC", auc), ("Spearman", correlation))]
                verb = "predict" if name in ("all", "demographics") else "predicts"
                said = f"{which} {verb} {trait} ({', '.join(numbers)})"
                yield Finding("confounds", f"{said}: a model that does no better may have heard no speech.")


def _is_above(estimate: Estimate, guessing: float, least: float, surely: float) -> bool:
    if np.isnan(estimate.value) or np.isnan(estimate.replicates).all():
        return False
    error = float(np.nanstd(estimate.replicates))
    return estimate.value >= least and estimate.value - guessing > surely * error


def _in_words(name: str, metric: Mapping[str, Any]) -> str:
    if metric["value"] is None:
        return f"{name} undefined"
    if metric["low"] is None:
        return f"{name} {metric['value']:.2f}"
    return f"{name} {metric['value']:.2f}, {metric['low']:.2f} to {metric['high']:.2f}"


def _describe(tree: Tree) -> dict[str, Any]:
    return {trait: {name: one.to_json() for name, one in found.items()} for trait, found in tree.items()}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(key): value.item() if hasattr(value, "item") else value for key, value in row.items()} for row in rows]
