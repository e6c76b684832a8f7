"""From the rows of a table to recordings: ids, speakers and tasks checked, and those that the settings keep."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lalia.data.flow import Flow
from lalia.data.readers import list_rows
from lalia.errors import list_some, suggest
from lalia.settings import DataSettings, LongRaters

# a covariate of such a name would hide what every table of recordings has
_OWN_COLUMNS = ("recording", "speaker", "path", "date", "task", "given_part")


@dataclass(frozen=True)
class Rows:
    """The recordings of a table as text, before anything is dropped.

    Args:
        frame: a row per recording under its first row number: recording, speaker, path (what names the audio file: an
            id or a relative path), date, task, the covariates, and given_part where it was asked for. An empty cell is
            ``""``, a column that is not there holds None.
        taken: the columns of the table that hold something else than ratings.
        problems: what is wrong, one sentence each.
    """

    frame: pd.DataFrame
    taken: tuple[str, ...]
    problems: tuple[str, ...]


def read_rows(cells: pd.DataFrame, data: DataSettings, part_column: str | None) -> Rows:
    """Take the columns that describe recordings, one row per recording, and check the ids.

    Args:
        cells: the table as text; of a long table the rows of a recording must agree in these columns.
        data: which columns hold what.
        part_column: the column that becomes given_part, or None.
    """
    problems: list[str] = []
    sources: dict[str, str] = {}
    for setting, name, column in _wanted_columns(data, part_column):
        if setting == "data.covariates" and name in _OWN_COLUMNS:
            if name not in ("date", "task") or sources.get(name) != column:
                problems.append(f"data.covariates: '{name}' is a name that lalia needs. Rename the column")
        elif column in cells:
            sources[name] = column
        else:
            known = [str(name) for name in cells]
            hint = suggest(column, known) or f" The columns are {list_some(known, most=20)}"
            problems.append(f"{setting}: '{column}' is not a column.{hint}")
    frame = pd.DataFrame({name: cells[column] for name, column in sources.items()}, index=cells.index, dtype=object)
    for name in ("recording", "speaker", "path", "date", "task"):
        if name not in frame:
            frame[name] = None
    if "recording" in sources:
        frame, found = _one_row_each(frame, sources, data)
        problems += found
    return Rows(frame, tuple(sources.values()), tuple(problems))


def select_rows(rows: pd.DataFrame, data: DataSettings, seed: int) -> tuple[pd.DataFrame, Flow, list[str]]:
    """Keep the recordings that ``data.tasks``, ``data.exclude`` and ``data.limit`` leave.

    Args:
        rows: as in :class:`Rows`.
        data: tasks, exclude, limit.
        seed: chooses the speakers that the limit keeps.

    Returns:
        The rows that are kept, the flow up to here, and what is wrong, one sentence each.
    """
    named = rows.loc[rows["speaker"] != "", "speaker"]
    flow = Flow(recordings_in=rows["recording"].nunique(), speakers_in=named.nunique())
    problems = _check_names("data.exclude", data.exclude, rows["recording"], "recording")
    if data.tasks and data.columns.task is None:
        problems.append("data.tasks: name the column of the tasks in data.columns.task")
    elif data.tasks and rows["task"].notna().any():
        problems += _check_names("data.tasks", data.tasks, rows["task"], "task")
        leaves = ~rows["task"].isin(data.tasks)
        flow, rows = _leave_out(flow, rows, leaves, "task not in data.tasks")
    flow, rows = _leave_out(flow, rows, rows["recording"].isin(data.exclude), "listed in data.exclude")
    if not len(rows) and not problems:
        problems.append("data.tasks and data.exclude leave no recording")

    speakerless = rows.index[rows["speaker"] == ""]
    if len(speakerless):
        problems.append(f"column '{data.columns.speaker}': no speaker in {list_rows(list(speakerless))}")
    problems += _find_twins(rows["speaker"], "speakers")
    if data.limit is not None and len(rows):
        leaves = ~rows["speaker"].isin(_choose_speakers(rows["speaker"], data.limit, seed))
        flow, rows = _leave_out(flow, rows, leaves, "beyond data.limit")
    return rows, flow, problems


def _wanted_columns(data: DataSettings, part_column: str | None) -> list[tuple[str, str, str]]:
    """List the setting that names a column, what the column is called here, and in the table."""
    columns = data.columns
    named = [
        ("data.columns.recording", "recording", columns.recording),
        ("data.columns.speaker", "speaker", columns.speaker),
        ("data.columns.date", "date", columns.date),
        ("data.columns.task", "task", columns.task),
        ("data.columns.path", "path", columns.path if data.layout == "path" else None),
        ("split.column", "given_part", part_column),
        *(("data.covariates", name, name) for name in dict.fromkeys(data.covariates)),
    ]
    return [(setting, name, column) for setting, name, column in named if column is not None]


def _one_row_each(frame: pd.DataFrame, sources: dict[str, str], data: DataSettings) -> tuple[pd.DataFrame, list[str]]:
    problems = []
    nameless = frame.index[frame["recording"] == ""]
    if len(nameless):
        problems.append(f"column '{sources['recording']}': no recording id in {list_rows(list(nameless))}")
        frame = frame[frame["recording"] != ""]
    if "path" not in sources:
        frame = frame.assign(path=frame["recording"])
    checked = frame[~frame["recording"].isin(data.exclude)]
    if isinstance(data.raters, LongRaters):
        problems += _find_disagreement(checked, sources)
    else:
        twice = checked[checked["recording"].duplicated(keep=False)]
        shown = [f"'{name}' in {list_rows(list(rows.index))}" for name, rows in twice.groupby("recording")]
        if shown:
            problems.append(
                f"column '{sources['recording']}': ids that stand more than once: {list_some(shown)}. "
                "Keep one row of each, or set data.raters: {column: ...} if each row is one rating"
            )
    problems += _find_twins(checked["recording"], "ids")
    return frame.drop_duplicates("recording"), problems


def _find_disagreement(frame: pd.DataFrame, sources: dict[str, str]) -> list[str]:
    """Find the recordings of a long table whose rows say different things about the recording itself."""
    problems = []
    for name, column in sources.items():
        if name == "recording":
            continue
        first = frame.groupby("recording", sort=False)[name].transform("first")
        differs = frame[frame[name] != first]
        shown = [
            f"recording '{recording}', row {row}: '{here}', before '{before}'"
            for row, recording, here, before in zip(
                differs.index, differs["recording"], differs[name], first[frame[name] != first], strict=True
            )
        ]
        if shown:
            problems.append(
                f"column '{column}': the rows of a recording must agree, {len(differs)} differ ({list_some(shown, 3)})"
            )
    return problems


def _find_twins(names: pd.Series, what: str) -> list[str]:
    """Find names that differ only by case, or only in how an accent is encoded."""
    unique = pd.Series(sorted({str(name) for name in names.dropna()} - {""}), dtype=object)
    keys = unique.map(lambda name: unicodedata.normalize("NFC", str(name).casefold()))
    twins = unique[keys.duplicated(keep=False)].groupby(keys)
    shown = [" and ".join(repr(name) for name in group) for _, group in twins]
    return [f"{what} that differ only by case: {list_some(shown)}. Make them equal, or rename one"] if shown else []


def _check_names(setting: str, names: Iterable[str], known: pd.Series, what: str) -> list[str]:
    choices = sorted({str(name) for name in known.dropna()} - {""})
    return [
        f"{setting}: no row has the {what} '{name}'.{suggest(name, choices) or f' There are {list_some(choices)}.'}"
        for name in names
        if name not in choices
    ]


def _leave_out(flow: Flow, rows: pd.DataFrame, leaves: pd.Series, reason: str) -> tuple[Flow, pd.DataFrame]:
    return flow.drop(rows, dict.fromkeys(rows.loc[leaves, "recording"], reason)), rows[~leaves]


def _choose_speakers(speaker_of_row: pd.Series, limit: int, seed: int) -> Sequence[str]:
    """Choose speakers at random whose recordings together come nearest to the limit, at least one speaker."""
    counts = speaker_of_row.fillna("").value_counts().sort_index()
    shuffled = counts.iloc[np.random.default_rng(seed).permutation(len(counts))]
    total = shuffled.cumsum().to_numpy()
    return [str(speaker) for speaker in shuffled.index[: int(np.argmin(np.abs(total - limit))) + 1]]
