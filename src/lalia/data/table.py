"""The metadata table as it is used: checked recordings, their ratings, and what became of the rest."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lalia.data.flow import Flow, FlowStep
from lalia.data.formats.recognise import open_source
from lalia.data.ratings import combine_ratings, find_ratings, read_ratings
from lalia.data.readers import read_cells
from lalia.data.recordings import read_rows, select_rows
from lalia.errors import TableError
from lalia.limits import Limits
from lalia.scale import Scale
from lalia.settings import DataSettings

__all__ = ["Flow", "FlowStep", "RecordingTable", "read_cells", "read_table"]


@dataclass(frozen=True, eq=False)
class RecordingTable:
    """Recordings with their speakers, audio files, covariates and ratings.

    Args:
        recordings: a row per recording, sorted by id: recording, speaker, path (absolute, or a URL), date and task
            (None where absent), the covariates under their names (text, None where empty), and given_part where it was
            asked for.
        ratings: the raters combined: a float column per trait, NaN where nobody rated; rows as in ``recordings``.
        rater_ratings: each rating of each rater: recording, rater (``""`` for a single unnamed one), trait, rating;
            of a rater's repeated ratings the first.
        scale: what the ratings mean.
        flow: what was dropped or left out on the way here.
        covariates: the names of the covariates.
        repeats: what raters gave a recording again: recording, rater, trait, repeat (from 2 on), rating.
    """

    recordings: pd.DataFrame
    ratings: pd.DataFrame
    rater_ratings: pd.DataFrame
    scale: Scale
    flow: Flow
    covariates: tuple[str, ...] = ()
    repeats: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=["recording", "rater", "trait", "repeat", "rating"])
    )

    @property
    def traits(self) -> tuple[str, ...]:
        """The traits, in the order of the columns of ``ratings``."""
        return tuple(str(trait) for trait in self.ratings.columns)

    @property
    def raters(self) -> tuple[str, ...]:
        """The names of the raters, sorted; ``""`` is a single unnamed one."""
        return tuple(sorted({str(rater) for rater in self.rater_ratings["rater"]}))

    @property
    def speakers(self) -> int:
        """The number of speakers."""
        return int(self.recordings["speaker"].nunique())

    def select(self, keep: ArrayLike) -> "RecordingTable":
        """Keep some rows; the flow stays as it is.

        Args:
            keep: True for each row to keep, shape (recordings,).
        """
        rows = np.asarray(keep, dtype=bool)
        recordings = self.recordings[rows].reset_index(drop=True)
        is_kept = self.rater_ratings["recording"].isin(recordings["recording"])
        return replace(
            self,
            recordings=recordings,
            ratings=self.ratings[rows].reset_index(drop=True),
            rater_ratings=self.rater_ratings[is_kept].reset_index(drop=True),
            repeats=self.repeats[self.repeats["recording"].isin(recordings["recording"])].reset_index(drop=True),
        )

    def drop(self, reasons: Mapping[str, str]) -> "RecordingTable":
        """Leave recordings out and say so in the flow.

        Args:
            reasons: recording id to reason.

        Raises:
            KeyError: if an id is not in the table.
        """
        unknown = set(reasons) - set(self.recordings["recording"])
        if unknown:
            raise KeyError(f"not in the table: {sorted(unknown)}")
        flow = self.flow.drop(self.recordings, reasons)
        return replace(self.select(~self.recordings["recording"].isin(list(reasons))), flow=flow)

    def add_columns(self, columns: pd.DataFrame) -> "RecordingTable":
        """Add what was measured of the recordings, such as their duration.

        Args:
            columns: a row for each recording, in any order, with its id under ``recording``.

        Raises:
            KeyError: if a recording has no row.
            TableError: if the table already has a column of one of the names.
        """
        both = [name for name in columns if name in self.recordings and name != "recording"]
        if both:
            raise TableError(f"The names {both} are needed for what is measured. Rename these columns of the metadata.")
        added = columns.set_index("recording").loc[list(self.recordings["recording"])].reset_index(drop=True)
        return replace(self, recordings=pd.concat([self.recordings, added], axis=1))

    def content_hash(self) -> str:
        """Return the SHA-256 of what the table says, whatever the order of its rows and the place of the files.

        It covers ids, speakers, dates, tasks, covariates, given parts and all ratings, not what ``add_columns`` added.
        """
        digest = hashlib.sha256()
        known, *single = self._content()
        frames = [(known, ["recording"]), *((frame, ["recording", "trait", "rater"]) for frame in single)]
        for frame, order in frames:
            digest.update(frame.sort_values(order).to_csv(index=False, lineterminator="\n").encode())
        return digest.hexdigest()

    def row_hashes(self) -> dict[str, str]:
        """Return for each recording the SHA-256 of what the table says of it, as for ``content_hash``."""
        known, *single = self._content()
        lines: dict[str, list[str]] = {recording: [] for recording in known["recording"]}
        for frame in (known, *(each.sort_values(["recording", "trait", "rater"]) for each in single)):
            for recording, *values in frame.itertuples(index=False, name=None):
                lines[recording].append(json.dumps([str(value) for value in values]))
        return {recording: hashlib.sha256("\n".join(of).encode()).hexdigest() for recording, of in lines.items()}

    def _content(self) -> list[pd.DataFrame]:
        """Return what the table says of each recording, each single rating, and repeated ones if there are any."""
        names = ["recording", "speaker", "date", "task", *self.covariates, "given_part"]
        columns = [name for name in dict.fromkeys(names) if name in self.recordings]
        known = pd.concat([self.recordings[columns], self.ratings.add_prefix("rating of ")], axis=1)
        repeats = [self.repeats.sort_values("repeat", kind="stable")] if len(self.repeats) else []
        return [known, self.rater_ratings[["recording", "rater", "trait", "rating"]], *repeats]


def read_table(
    data: DataSettings,
    *,
    part_column: str | None = None,
    seed: int = 0,
    limits: Limits = Limits(),  # noqa: B008
) -> RecordingTable:
    """Read the metadata and check it against the settings and the folder of the recordings.

    Recordings that ``data.tasks``, ``data.exclude`` and ``data.limit`` leave out are dropped before the rest is
    checked, so that a quick try needs only its own audio files. Recordings without any rating are kept.

    Args:
        data: where the table and the recordings are, and what the columns mean.
        part_column: the column of given parts; it comes back as ``given_part``.
        seed: chooses the speakers that ``data.limit`` keeps, the same ones on any order of the rows.
        limits: of recordings that have to be decoded to cut what the table names out of them.

    Raises:
        TableError: lists every problem of the table, its ratings and the audio files at once.
        DataError: if a place is neither a path nor a URL of a store that is known.
        StorageError: if what is at a URL cannot be read.
    """
    source = open_source(data, limits)
    cells, data = source.cells, source.data
    rows = read_rows(cells, data, part_column)
    if data.columns.recording not in cells:
        raise TableError(_list_problems(source.name, rows.problems))
    kept, flow, problems = select_rows(rows.frame, data, seed)
    audio = source.find_audio(kept, rows.frame["path"])
    rated = find_ratings(cells, data, rows.taken)
    ratings, excluded, outside = read_ratings(rated.cells[rated.cells["recording"].isin(kept["recording"])], data.scale)
    problems = [*rows.problems, *problems, *audio.problems, *rated.problems, *outside]
    if problems:
        # a file that no row names may be the one that another row misses
        raise TableError(_list_problems(source.name, [*problems, *audio.notes]))

    recordings = _finish(kept.assign(path=audio.paths), data)
    table = RecordingTable(
        recordings,
        combine_ratings(ratings, recordings["recording"], rated.traits, data.combine),
        ratings,
        data.scale.build(),
        replace(flow, excluded_ratings=excluded, notes=audio.notes),
        tuple(dict.fromkeys(data.covariates)),
    )
    if "repeat" in ratings:
        is_first = ratings["repeat"] == 1
        firsts = ratings[is_first].drop(columns="repeat").reset_index(drop=True)
        repeats = ratings.loc[~is_first, list(table.repeats.columns)].reset_index(drop=True)
        table = replace(table, rater_ratings=firsts, repeats=repeats)
    table = table.drop(audio.missing)
    if not len(table.recordings):
        raise TableError(
            f"{source.name}: none of its recordings has an audio file in '{source.folder}'. Set data.audio_dir."
        )
    unrated = int(table.ratings.isna().all(axis=1).sum())
    if unrated:
        note = f"recordings without any rating: {unrated}"
        table = replace(table, flow=replace(table.flow, notes=(*table.flow.notes, note)))
    return table


def _finish(rows: pd.DataFrame, data: DataSettings) -> pd.DataFrame:
    """Sort recordings by id, put their columns in order, and turn empty cells into None."""
    rows = rows.sort_values("recording", ignore_index=True)
    needed, optional = ("recording", "speaker", "path"), ("date", "task", *data.covariates, "given_part")
    columns = {name: list(rows[name]) for name in needed}
    columns |= {name: [text or None for text in rows[name]] for name in optional if name in rows}
    return pd.DataFrame(columns, dtype=object)


def _list_problems(name: str, problems: Sequence[str]) -> str:
    """Say one problem in a sentence, several in a list, 40 at most."""
    sentences = [problem if problem.endswith((".", "?")) else f"{problem}." for problem in problems]
    if len(sentences) == 1:
        return f"{name}, {sentences[0]}"
    more = [f"and {len(sentences) - 40} more"] if len(sentences) > 40 else []
    return "\n- ".join([f"{name} has {len(sentences)} problems:", *sentences[:40], *more])
