"""Speaker-disjoint parts: stratified at random, from a column, in folds, or from a file; written with a hash."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lalia.csv_files import csv_text, read_csv
from lalia.data.stratify import level_presence, part_sizes, stratify
from lalia.data.table import RecordingTable
from lalia.errors import SplitError, list_some
from lalia.files import replacing
from lalia.settings import ColumnSplit, FileSplit, FoldSplit, RandomSplit, SplitSettings

PARTS = ("train", "validation", "test")

_PART_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "development": "validation",
    "test": "test",
    "eval": "test",
}
# fewer speakers than this cannot show a level in every part
_FEW_SPEAKERS = 3


@dataclass(frozen=True)
class Split:
    """The part of each recording; a speaker is in one part only.

    Attributes:
        parts: columns recording, speaker, part (one of ``PARTS``) and, for folds, fold from 1; sorted by recording.
        warnings: one line for each level of a trait that too few speakers have.
    """

    parts: pd.DataFrame
    warnings: tuple[str, ...] = ()

    def part_of(self, recordings: Sequence[str]) -> NDArray[np.object_]:
        """Return the part of each recording.

        Raises:
            SplitError: names the recordings that the split does not know.
        """
        parts = self.parts.set_index("recording")["part"].reindex(list(recordings))
        unknown = list(parts.index[parts.isna()])
        if unknown:
            raise SplitError(f"The split has no part for these recordings: {list_some(unknown)}.")
        return parts.to_numpy(dtype=object)

    @property
    def sha256(self) -> str:
        """The hash of the file that ``write_split`` writes."""
        return hashlib.sha256(self.to_csv().encode()).hexdigest()

    def to_csv(self) -> str:
        """Return the text of split.csv: the same for the same parts, whatever the machine."""
        return csv_text(self.parts)


def split_speakers(table: RecordingTable, split: SplitSettings, seed: int) -> Split:
    """Put each speaker of a table into a part.

    Random parts, folds and a validation part that has to be carved out are stratified over the levels of all traits
    at once (see :func:`lalia.data.stratify.stratify`). Their sizes count speakers. They change with the seed, not with
    the order of the table's rows.

    Args:
        table: the recordings, with the column ``given_part`` for a :class:`~lalia.settings.ColumnSplit`.
        split: the kind of split.
        seed: of the random choices.

    Raises:
        SplitError: if there are too few speakers, a speaker is in two parts, or a given part or file does not fit.
    """
    if isinstance(split, FileSplit):
        return read_split(split.path, table, split.sha256)
    generator = np.random.default_rng(seed)
    presence = level_presence(table)
    folds: pd.Series[int] | None = None
    match split:
        case RandomSplit():
            speakers = _deal_parts(presence, [split.train, split.validation, split.test], PARTS, generator)
        case ColumnSplit():
            speakers = _given_parts(table, split.column)
        case FoldSplit(fold="all"):
            folds = _deal_folds(presence, split.folds, generator)
            return Split(_list_parts(table, folds.map(lambda _: "test"), folds), _warn_of_rare_levels(presence, folds))
        case FoldSplit():
            folds = _deal_folds(presence, split.folds, generator)
            speakers = folds.eq(split.fold).map({True: "test", False: "train"})
    if not isinstance(split, RandomSplit) and split.validation > 0 and "validation" not in set(speakers):
        speakers = _carve_validation(speakers, presence, split.validation, generator)
    return Split(_list_parts(table, speakers, folds), _warn_of_rare_levels(presence, speakers))


def split_inner(table: RecordingTable, folds: int, seed: int) -> tuple[Split, ...]:
    """Deal the speakers of a training part into inner folds: as many splits, each with another fold as validation.

    Args:
        table: the recordings of the training part alone.
        folds: how many.
        seed: of the dealing.

    Raises:
        SplitError: if there are fewer speakers than folds.
    """
    presence = level_presence(table)
    dealt = _deal_folds(presence, folds, np.random.default_rng([seed, 1]), "split.inner")
    parts = [dealt.eq(fold).map({True: "validation", False: "train"}) for fold in range(1, folds + 1)]
    return tuple(Split(_list_parts(table, part, dealt)) for part in parts)


def _list_parts(
    table: RecordingTable, part_of_speaker: "pd.Series[str]", folds: "pd.Series[int] | None"
) -> pd.DataFrame:
    parts = table.recordings[["recording", "speaker"]].sort_values("recording", ignore_index=True)
    parts["part"] = parts["speaker"].map(part_of_speaker)
    if folds is not None:
        parts["fold"] = parts["speaker"].map(folds)
    return parts


def read_given_parts(table: RecordingTable, split: SplitSettings) -> pd.DataFrame:
    """Return the parts that a column or a file gives, whether or not it keeps speakers whole.

    Args:
        table: the recordings, with the column ``given_part`` for a :class:`~lalia.settings.ColumnSplit`.
        split: of which kind; one that lalia makes itself gives nothing.

    Returns:
        Columns recording, speaker (of the table) and part, without recordings whose part is not known.
    """
    rows = table.recordings[["recording", "speaker"]]
    if isinstance(split, ColumnSplit):
        given = table.recordings["given_part"].fillna("").astype(str)
    elif isinstance(split, FileSplit):
        try:
            file = read_csv(split.path)
            given = file.drop_duplicates("recording").set_index("recording")["part"].reindex(rows["recording"])
        except (OSError, ValueError, KeyError) as cause:
            raise SplitError(f"Cannot read the split '{split.path}': {cause}.") from cause
        given = given.reset_index(drop=True).fillna("")
    else:
        return rows.iloc[:0].assign(part="")
    part = given.str.strip().str.lower().map(_PART_WORDS)
    return rows.assign(part=part)[part.notna()].reset_index(drop=True)


def write_split(split: Split, path: str | Path) -> None:
    """Write a split as CSV under its final name at once."""
    with replacing(path) as temporary:
        temporary.write_bytes(split.to_csv().encode())


def read_split(path: str | Path, table: RecordingTable | None = None, sha256: str | None = None) -> Split:
    """Read a split and check that it fits.

    Args:
        path: a file that ``write_split`` wrote.
        table: the recordings that it must hold, no more and no fewer, with the same speakers; None compares nothing.
        sha256: the hash that the file must have; None accepts any.

    Raises:
        SplitError: if the file cannot be read, has another hash, an unknown part, a recording twice or a speaker in
            two parts, or does not fit the table.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as cause:
        raise SplitError(f"Cannot read the split '{path}': {cause.strerror or cause}.") from cause
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise SplitError(
            f"{path.name} has changed: its sha256 is {found}, expected {sha256}. "
            "Bring back the file, or set split.sha256 to null to accept it."
        )
    parts = _parse_parts(content, path.name)
    if table is None:
        return Split(parts)
    _check_fits(parts, table, path.name)
    # where every fold is tested, the folds are what levels could lack
    place = "fold" if "fold" in parts and set(parts["part"]) == {"test"} else "part"
    place_of_speaker = parts.drop_duplicates("speaker").set_index("speaker")[place]
    return Split(parts, _warn_of_rare_levels(level_presence(table), place_of_speaker))


def _deal_parts(
    presence: pd.DataFrame, shares: Sequence[float], names: Sequence[str], generator: np.random.Generator
) -> "pd.Series[str]":
    """Deal the speakers into parts; a part with a share above 0 gets a speaker at least."""
    filled = [name for name, share in zip(names, shares, strict=True) if share > 0]
    if len(presence) < len(filled):
        raise SplitError(
            f"Too few speakers: {len(presence)} for {len(filled)} parts ({', '.join(filled)}). "
            "Add speakers, or set the share of a part to 0."
        )
    dealt = stratify(presence.to_numpy(), part_sizes(len(presence), shares), generator)
    return pd.Series(np.array(names, dtype=object)[dealt], index=presence.index)


def _deal_folds(
    presence: pd.DataFrame, folds: int, generator: np.random.Generator, setting: str = "split.folds"
) -> "pd.Series[int]":
    if len(presence) < folds:
        raise SplitError(f"Too few speakers: {len(presence)} for {folds} folds. Add speakers, or lower {setting}.")
    dealt = stratify(presence.to_numpy(), part_sizes(len(presence), [1 / folds] * folds), generator)
    return pd.Series(dealt + 1, index=presence.index)


def _carve_validation(
    part_of_speaker: "pd.Series[str]", presence: pd.DataFrame, share: float, generator: np.random.Generator
) -> "pd.Series[str]":
    """Move a stratified share of the training speakers into the validation part."""
    training = presence.loc[(part_of_speaker == "train").reindex(presence.index).to_numpy()]
    carved = _deal_parts(training, [1 - share, share], ["train", "validation"], generator)
    return carved.reindex(presence.index).fillna(part_of_speaker)


def _given_parts(table: RecordingTable, column: str) -> "pd.Series[str]":
    """Read the part of each speaker from the column ``given_part``."""
    recordings = table.recordings
    given = recordings["given_part"].fillna("").astype(str).str.strip().str.lower()
    empty = list(recordings.loc[given == "", "recording"])
    if empty:
        raise SplitError(
            f"Column '{column}' names no part for these recordings: {list_some(empty)}. "
            "Fill it, or leave these recordings out with data.exclude."
        )
    part = given.map(_PART_WORDS)
    unknown = sorted(set(recordings.loc[part.isna(), "given_part"]))
    if unknown:
        raise SplitError(
            f"Column '{column}' has values that are no parts: {list_some([repr(value) for value in unknown])}. "
            f"Known are {', '.join(_PART_WORDS)}, in any case."
        )
    _refuse_shared_speakers(recordings["speaker"], part, f"Column '{column}'")
    if "train" not in set(part):
        raise SplitError(f"Column '{column}' puts no recording into train.")
    part_of_speaker: pd.Series[str] = part.groupby(recordings["speaker"]).first()
    return part_of_speaker


def _refuse_shared_speakers(speakers: "pd.Series[str]", parts: "pd.Series[str]", where: str) -> None:
    names = parts.groupby(speakers).agg(lambda given: " and ".join(name for name in PARTS if name in set(given)))
    shared = names[names.str.contains(" and ")]
    if len(shared):
        shown = [f"'{speaker}' ({found})" for speaker, found in shared.items()]
        raise SplitError(
            f"{where} puts speakers into more than one part: {list_some(shown)}. "
            "All recordings of a speaker must be in the same part."
        )


def _parse_parts(content: bytes, where: str) -> pd.DataFrame:
    try:
        parts = read_csv(content)
    except ValueError as cause:  # pandas' parser errors and wrong encodings are ValueErrors
        raise SplitError(f"{where} is not a split: {cause}") from cause
    if list(parts.columns) not in (["recording", "speaker", "part"], ["recording", "speaker", "part", "fold"]):
        raise SplitError(
            f"{where} is not a split: its columns are {list_some(list(parts.columns))}; "
            "expected recording, speaker, part and perhaps fold."
        )
    unknown = sorted(set(parts["part"]) - set(PARTS))
    if unknown:
        raise SplitError(
            f"{where} has unknown parts: {list_some([repr(value) for value in unknown])}. Known are {', '.join(PARTS)}."
        )
    twice = list(parts.loc[parts["recording"].duplicated(), "recording"])
    if twice:
        raise SplitError(f"{where} names recordings twice: {list_some(twice)}.")
    _refuse_shared_speakers(parts["speaker"], parts["part"], where)
    if "fold" in parts:
        wrong = sorted(set(parts.loc[~parts["fold"].str.fullmatch("[1-9][0-9]*"), "fold"]))
        if wrong:
            raise SplitError(f"{where} has folds that are no numbers from 1: {list_some(wrong)}.")
        parts["fold"] = parts["fold"].astype(np.int64)
    return parts.sort_values("recording", ignore_index=True)


def _check_fits(parts: pd.DataFrame, table: RecordingTable, where: str) -> None:
    known, given = set(parts["recording"]), set(table.recordings["recording"])
    both = parts.merge(table.recordings[["recording", "speaker"]], on="recording", suffixes=("", "_now"))
    found = {
        "recordings of the table that it lacks": sorted(given - known),
        "recordings that the table lacks": sorted(known - given),
        "recordings of which the speaker has changed": list(
            both.loc[both["speaker"] != both["speaker_now"], "recording"]
        ),
    }
    problems = [f"{len(names)} {what} ({list_some(names)})" for what, names in found.items() if names]
    if problems:
        raise SplitError(f"{where} does not fit the data: {'; '.join(problems)}. Make it again with lalia split.")


def _warn_of_rare_levels(presence: pd.DataFrame, place_of_speaker: "pd.Series[Any]") -> tuple[str, ...]:
    """Warn of levels that few speakers have, or none in a part or fold."""
    place = place_of_speaker.reindex(presence.index)
    names: dict[Any, str] = {name: name for name in PARTS} | {
        fold: f"fold {fold}" for fold in sorted(set(place)) if fold not in PARTS
    }
    filled = [name for name in names if (place == name).any()]
    warnings = []
    for column, has_level in presence.items():
        trait, level = cast(tuple[str, float], column)
        total = int(has_level.sum())
        missing = [names[name] for name in filled if not (has_level & (place == name)).any()]
        notes = []
        if total < _FEW_SPEAKERS:
            notes.append(f"only {total} speaker{'' if total == 1 else 's'}" if total else "no speaker")
        if total and missing:
            notes.append(f"none in {' and '.join(missing)}")
        if notes:
            warnings.append(f"trait '{trait}', level {level:g}: {'; '.join(notes)}")
    return tuple(warnings)
