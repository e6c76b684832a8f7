"""What is known of a run before it trains: its table, its parts, its rater; all that ``lalia check`` shows."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lalia.build import build_augmentation, build_rater
from lalia.data.audio import scan_recordings
from lalia.data.decoding import Decoded
from lalia.data.few_speakers import warn_of_few_speakers
from lalia.data.log_mel import measure_log_mel
from lalia.data.splits import PARTS, Split, split_speakers
from lalia.data.table import RecordingTable, read_table
from lalia.data.trait_risks import warnings_for
from lalia.errors import AudioError, list_some
from lalia.model.rater import SpeechRater
from lalia.processes import Processes
from lalia.progress import Progress
from lalia.settings import ColumnSplit, DataSettings, RunSettings


@dataclass(frozen=True)
class Prepared:
    """All that is known before training: what ``lalia check`` shows.

    Attributes:
        table: the recordings that are kept, with what was measured of their audio.
        split: their parts.
        rater: built and adapted, not trained.
        data_hash: of the table's content and of the audio files.
        risks: levels that few speakers have, what augmentation may falsify and what it makes slow, a sentence each.
    """

    table: RecordingTable
    split: Split
    rater: SpeechRater
    data_hash: str
    risks: tuple[str, ...] = ()

    def part(self, name: str, *, rated: bool = False) -> RecordingTable:
        """Return the recordings of a part, only those with a rating if asked."""
        keep = self.split.part_of(list(self.table.recordings["recording"])) == name
        if rated:
            keep &= self.table.ratings.notna().any(axis=1).to_numpy()
        return self.table.select(keep)

    def without_test(self) -> "Prepared":
        """Return the same run without the recordings of its test part."""
        in_test = self.split.part_of(list(self.table.recordings["recording"])) == "test"
        parts = self.split.parts
        split = replace(self.split, parts=parts[parts["part"] != "test"].reset_index(drop=True))
        return replace(self, table=self.table.select(~in_test), split=split)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know before training."""
        return (*self.table.flow.notes, *self.split.warnings, *self.risks)


class Scans:
    """The recordings that were decoded once already, for runs on the same data one after another."""

    def __init__(self) -> None:
        self._tables: dict[tuple[Any, ...], RecordingTable] = {}

    def get(self, settings: DataSettings, rater: SpeechRater, scan: Callable[[], RecordingTable]) -> RecordingTable:
        """Return the scanned table of these settings and this preprocessing; ``scan`` makes it the first time."""
        key = (settings.model_dump_json(), rater.preprocessing, rater.preprocessing.limits, rater.encoder.min_samples)
        if key not in self._tables:
            self._tables[key] = scan()
        return self._tables[key]


def prepare(
    settings: RunSettings,
    progress: Progress | None = None,
    rater: SpeechRater | None = None,
    processes: Processes | None = None,
    scans: Scans | None = None,
) -> Prepared:
    """Read the table, build the rater, decode every recording once, and make the parts.

    Args:
        settings: of the run.
        progress: is told what happens.
        rater: takes the place of one that is built anew, for a run that has been trained.
        processes: which prepare together: the first one reads the recordings; None: this one is alone.
        scans: keeps the decoded recordings for the next run.

    Raises:
        LaliaError: whatever a user has to mend before this run can train.
    """
    progress = progress or Progress()
    given = _read_table(settings)
    rater = rater or build_rater(settings, given.traits, given.raters)
    rater.preprocessing = replace(rater.preprocessing, limits=settings.audio.limits.build())
    table = (scans or Scans()).get(
        settings.data,
        rater,
        lambda: (processes or Processes()).ask_first(
            lambda: add_audio(given, rater, unreadable=settings.data.unreadable, progress=progress)
        ),
    )
    split = split_speakers(table, settings.split, settings.seed)
    risks = warnings_for(build_augmentation(settings, rater.encoder), table.traits)
    if settings.augment.spec_augment is not None and rater.first_changing_depth > 1:
        risks.append(
            f"augment.spec_augment: the encoder is frozen up to depth {rater.first_changing_depth - 1}, and frames are "
            "hidden below: each epoch runs the whole encoder on the training part, whatever the cache holds."
        )
    few = warn_of_few_speakers(table, settings.audit.min_speakers)
    risks = risks if few is None else [few, *risks]
    return Prepared(table, split, rater, _data_hash(table), tuple(risks))


def split_recordings(settings: RunSettings) -> Split:
    """Make the parts of a run from its table alone, without decoding its audio."""
    return split_speakers(_read_table(settings), settings.split, settings.seed)


def _read_table(settings: RunSettings) -> RecordingTable:
    part_column = settings.split.column if isinstance(settings.split, ColumnSplit) else None
    limits = settings.audio.limits.build()
    return read_table(settings.data, part_column=part_column, seed=settings.seed, limits=limits)


def add_audio(
    table: RecordingTable,
    rater: SpeechRater,
    *,
    unreadable: str,
    progress: Progress,
    describe: Callable[[Decoded], Mapping[str, object]] = measure_log_mel,
) -> RecordingTable:
    """Decode every recording once; add duration, level, silence, hash and what ``describe`` measures to the table.

    Raises:
        AudioError: names the recordings that cannot be used, unless ``unreadable`` is ``drop``; or if none is left.
    """
    progress.start("reading recordings", len(table.recordings))
    scan = scan_recordings(
        table.recordings[["recording", "path"]],
        rater.preprocessing,
        min_seconds=rater.encoder.min_samples / rater.encoder.rate_hz,
        progress=progress.advance,
        describe=describe,
    )
    problems: dict[str, str] = dict(scan.loc[scan["problem"] != "", ["recording", "problem"]].itertuples(index=False))
    if problems and unreadable == "stop":
        shown = [f"'{recording}': {problem}" for recording, problem in problems.items()]
        raise AudioError(
            f"{len(problems)} of {len(table.recordings)} recordings cannot be used: {list_some(shown, most=10)}. "
            "Mend them, list them in data.exclude, or set data.unreadable to drop."
        )
    table = table.drop(problems).add_columns(scan.drop(columns="problem"))
    if not len(table.recordings):
        raise AudioError("No recording is left: none of them can be read.")
    return table


def _data_hash(table: RecordingTable) -> str:
    audio = table.recordings.sort_values("recording")["sha256"]
    return hashlib.sha256("\n".join([table.content_hash(), *audio]).encode()).hexdigest()


def describe_flow(prepared: Prepared) -> dict[str, Any]:
    """Return the participant flow: in, dropped with reasons, kept, and per part the ratings of each level."""
    table = prepared.table
    parts = {name: prepared.part(name) for name in PARTS}
    return {
        **table.flow.to_json(),
        "kept": _count(table),
        "parts": {name: {**_count(part), "ratings": _levels(part)} for name, part in parts.items()},
    }


def _count(table: RecordingTable) -> dict[str, int]:
    return {"recordings": len(table.recordings), "speakers": int(table.recordings["speaker"].nunique())}


def _levels(table: RecordingTable) -> dict[str, dict[str, int]]:
    return {
        trait: {
            f"{level:g}": int((table.scale.nearest_level(table.ratings[trait]) == level).sum())
            for level in table.scale.levels
        }
        for trait in table.traits
    }
