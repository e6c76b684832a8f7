"""What is known of a run before it trains: its table, its parts, its rater; all that ``lalia check`` shows."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from lalia.build import build_augmentation, build_rater
from lalia.data.audio import scan_recordings
from lalia.data.decoding import Decoded
from lalia.data.few_speakers import warn_of_few_speakers
from lalia.data.log_mel import LOG_MEL_COLUMN, N_BANDS, measure_log_mel
from lalia.data.scan_memory import ScanMemory
from lalia.data.splits import PARTS, Split, split_speakers
from lalia.data.table import RecordingTable, read_table
from lalia.data.trait_risks import warnings_for
from lalia.errors import AudioError, list_some
from lalia.model.rater import SpeechRater
from lalia.processes import Processes
from lalia.progress import Progress
from lalia.settings import ColumnSplit, DataSettings, RunSettings

READ_AT_MOST: Final = 10_000
"""So many recordings are read to look at them; of more, a sample."""
SAMPLE_SIZE: Final = 2_000
_KEPT_AT_ONCE = 50_000


@dataclass(frozen=True)
class Prepared:
    """All that is known before training: what ``lalia check`` shows.

    Attributes:
        table: the recordings that are kept, with what was measured of their audio.
        split: their parts.
        rater: built and adapted, not trained.
        data_hash: of the table's content and of the audio files; empty where not all of them were read.
        risks: levels that few speakers have, what augmentation may falsify and what it makes slow, a sentence each.
        sample: of more recordings than are read to look at them, those that were; None: all were.
    """

    table: RecordingTable
    split: Split
    rater: SpeechRater
    data_hash: str
    risks: tuple[str, ...] = ()
    sample: RecordingTable | None = None

    @property
    def read(self) -> "Prepared":
        """The same run with those recordings alone whose audio was read."""
        return self if self.sample is None else replace(self, table=self.sample, sample=None)

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
    most_read: int | None = None,
) -> Prepared:
    """Read the table, build the rater, decode every recording once, and make the parts.

    What was measured of a recording is kept in the user's cache folder, unless ``cache.max_gb`` is 0: it is decoded
    again where its file has changed since.

    Args:
        settings: of the run.
        progress: is told what happens.
        rater: takes the place of one that is built anew, for a run that has been trained.
        processes: which prepare together: the first one reads the recordings; None: this one is alone.
        scans: keeps the decoded recordings for the next run.
        most_read: where there are more recordings than so many, only ``SAMPLE_SIZE`` of them are read, drawn with the
            seed; None reads all. Training needs all.

    Raises:
        LaliaError: whatever a user has to mend before this run can train.
    """
    progress = progress or Progress()
    given = _read_table(settings)
    rater = rater or build_rater(settings, given.traits, given.raters)
    rater.preprocessing = replace(rater.preprocessing, limits=settings.audio.limits.build())
    is_sample = most_read is not None and len(given.recordings) > most_read
    to_read = _draw(given, settings.seed) if is_sample else given
    memory = ScanMemory(_describe_scan(rater)) if settings.cache.max_gb else None
    read = (scans or Scans()).get(
        settings.data,
        rater,
        lambda: (processes or Processes()).ask_first(
            lambda: add_audio(to_read, rater, unreadable=settings.data.unreadable, progress=progress, memory=memory)
        ),
    )
    table = _without_unusable(given, read) if is_sample else read
    split = split_speakers(table, settings.split, settings.seed)
    risks = warnings_for(build_augmentation(settings, rater.encoder), table.traits)
    if settings.augment.spec_augment is not None and rater.first_changing_depth > 1:
        risks.append(
            f"augment.spec_augment: the encoder is frozen up to depth {rater.first_changing_depth - 1}, and frames are "
            "hidden below: each epoch runs the whole encoder on the training part, whatever the cache holds."
        )
    few = warn_of_few_speakers(table, settings.audit.min_speakers)
    risks = risks if few is None else [few, *risks]
    if not is_sample:
        return Prepared(table, split, rater, _data_hash(table), tuple(risks))
    risks.append(
        f"the audio of {len(to_read.recordings):,} of {len(given.recordings):,} recordings was read, drawn at random:"
        " the others may be unusable or other than they seem. lalia train reads all, and so does lalia check --all."
    )
    return Prepared(table, split, rater, "", tuple(risks), replace(read, flow=table.flow))


def split_recordings(settings: RunSettings) -> Split:
    """Make the parts of a run from its table alone, without decoding its audio."""
    return split_speakers(_read_table(settings), settings.split, settings.seed)


def _read_table(settings: RunSettings) -> RecordingTable:
    part_column = settings.split.column if isinstance(settings.split, ColumnSplit) else None
    limits = settings.audio.limits.build()
    return read_table(settings.data, part_column=part_column, seed=settings.seed, limits=limits)


def _draw(table: RecordingTable, seed: int) -> RecordingTable:
    """Return some recordings of a table, the same ones each time."""
    keep = np.zeros(len(table.recordings), dtype=bool)
    keep[np.random.default_rng(seed).choice(len(keep), min(SAMPLE_SIZE, len(keep)), replace=False)] = True
    return table.select(keep)


def _without_unusable(given: RecordingTable, read: RecordingTable) -> RecordingTable:
    """Return a table without those of its recordings that reading some of them has dropped."""
    steps = read.flow.dropped[len(given.flow.dropped) :]
    if not steps:
        return given
    return given.drop({recording: step.reason for step in steps for recording in step.recordings})


def add_audio(
    table: RecordingTable,
    rater: SpeechRater,
    *,
    unreadable: str,
    progress: Progress,
    describe: Callable[[Decoded], Mapping[str, object]] = measure_log_mel,
    memory: ScanMemory | None = None,
) -> RecordingTable:
    """Decode every recording once; add duration, level, silence, hash and what ``describe`` measures to the table.

    Args:
        table: the recordings.
        rater: its preprocessing and encoder say what a recording has to be.
        unreadable: as ``data.unreadable``.
        progress: is told of each recording that is decoded.
        describe: measures more of each.
        memory: of what was measured before, with the same ``describe``; None decodes all.

    Raises:
        AudioError: names the recordings that cannot be used, unless ``unreadable`` is ``drop``; or if none is left.
    """
    scan = _scan(table.recordings[["recording", "path"]], rater, progress, describe, memory)
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


def _scan(
    recordings: pd.DataFrame,
    rater: SpeechRater,
    progress: Progress,
    describe: Callable[[Decoded], Mapping[str, object]],
    memory: ScanMemory | None,
) -> pd.DataFrame:
    """Return the columns of ``scan_recordings``, those that are known taken from the memory."""

    def scan(rows: pd.DataFrame) -> pd.DataFrame:
        return scan_recordings(
            rows,
            rater.preprocessing,
            min_seconds=rater.encoder.min_samples / rater.encoder.rate_hz,
            progress=progress.advance,
            describe=describe,
        )

    if memory is None:
        progress.start("reading recordings", len(recordings))
        return scan(recordings)
    identities, known = memory.recall(recordings["path"].tolist())
    places = np.setdiff1d(np.arange(len(recordings)), known.index.to_numpy())
    if len(places):
        progress.start("reading recordings", len(places))
    found = [known.assign(recording=recordings["recording"].to_numpy()[known.index])]
    # in pieces, so that what is stopped has not been for nothing
    for begin in range(0, len(places), _KEPT_AT_ONCE):
        piece = places[begin : begin + _KEPT_AT_ONCE]
        begun = time.time()
        rows = scan(recordings.iloc[piece]).set_index(piece)
        memory.keep(identities.iloc[piece], rows.drop(columns="recording"), begun)
        found.append(rows)
    return pd.concat([each for each in found if len(each)] or found).sort_index().reset_index(drop=True)


def _describe_scan(rater: SpeechRater) -> dict[str, Any]:
    """Return what the columns of a scan depend on besides the files."""
    return {
        "preprocessing": rater.preprocessing.describe(),
        "limits": asdict(rater.preprocessing.limits),
        "min_samples": rater.encoder.min_samples,
        "log_mel": [LOG_MEL_COLUMN, N_BANDS],
    }


def _data_hash(table: RecordingTable) -> str:
    audio = table.recordings.sort_values("recording")["sha256"]
    return hashlib.sha256("\n".join([table.content_hash(), *audio]).encode()).hexdigest()


def describe_flow(prepared: Prepared) -> dict[str, Any]:
    """Return the participant flow: in, dropped with reasons, kept, and per part the ratings of each level."""
    table = prepared.table
    part_of = prepared.split.part_of(list(table.recordings["recording"]))
    parts = {name: part_of == name for name in PARTS}
    levels = {trait: table.scale.nearest_level(table.ratings[trait]) for trait in table.traits}
    return {
        **table.flow.to_json(),
        "kept": _count(table.recordings["speaker"]),
        "parts": {
            name: {
                **_count(table.recordings["speaker"][rows]),
                "ratings": {
                    trait: {f"{level:g}": int((found[rows] == level).sum()) for level in table.scale.levels}
                    for trait, found in levels.items()
                },
            }
            for name, rows in parts.items()
        },
    }


def _count(speakers: "pd.Series[str]") -> dict[str, int]:
    return {"recordings": len(speakers), "speakers": int(speakers.nunique())}
