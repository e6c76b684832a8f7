"""From rating cells to ratings: which columns hold them, what each cell means on the scale, raters combined."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lalia.data.readers import list_rows
from lalia.errors import list_some, suggest
from lalia.settings import DataSettings, LongRaters, ScaleSettings

# Python's float() would also take 1_000, nan and the digits of other scripts
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+", re.ASCII)


@dataclass(frozen=True)
class RatingCells:
    """The cells that hold ratings, those that are not empty.

    Args:
        traits: the traits, in the order of the settings or of the table's columns; those of a long table by name.
        cells: the index ``row`` as in :func:`~lalia.data.readers.read_cells`, and the columns recording, rater (``""``
            where there is only one, unnamed), trait, column (of the table) and text; and repeat (text) where the
            settings name its column.
        problems: what is wrong, one sentence each.
    """

    traits: tuple[str, ...]
    cells: pd.DataFrame
    problems: tuple[str, ...]


def find_ratings(cells: pd.DataFrame, data: DataSettings, taken: Collection[str]) -> RatingCells:
    """Find the ratings in a table: one column per trait, one per trait and rater, or a long table.

    In a pattern such as ``{trait}_r{rater}`` the trait is as long as it can be (``slow_rate_r1`` is rater 1 of
    ``slow_rate``), and a column that is named like a trait with raters (``slow_rate`` itself) is no rater's. Where
    the settings name no traits, nor is a column whose trait and rater both occur only there (``sample_rate``), unless
    there is nothing else.

    Args:
        cells: the table as text.
        data: traits, scale, raters, and the column of the recording's id.
        taken: columns that hold something else.
    """
    if isinstance(data.raters, LongRaters):
        return _from_long(cells, data, data.raters)
    if data.raters is None:
        columns = {trait: (trait, "") for trait in data.traits}
        problems = [
            f"data.traits: '{trait}' is not a column.{suggest(trait, [c for c in cells if c not in taken])}"
            for trait in columns
            if trait not in cells
        ]
        if not columns:
            problems = [_name_candidates(cells, data.scale, taken)]
    else:
        columns = _match_pattern(data.raters, [str(column) for column in cells if column not in taken])
        columns = columns if data.traits else _without_loners(columns)
        found = {trait for trait, _ in columns.values()}
        problems = [
            f"data.traits: no column of '{trait}' fits data.raters '{data.raters}'.{suggest(trait, found)}"
            for trait in data.traits
            if trait not in found
        ]
        if not columns:
            problems = [f"data.raters: no column fits the pattern '{data.raters}'. {_list_columns(cells)}"]
    traits = tuple(dict.fromkeys(data.traits or [trait for trait, _ in columns.values()]))
    columns = {column: found for column, found in columns.items() if column in cells and found[0] in traits}
    return RatingCells(traits, _from_columns(cells, data.columns.recording, columns), tuple(problems))


def read_ratings(cells: pd.DataFrame, scale: ScaleSettings) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Read rating cells through the scale: a missing code, a value to recode, a level, or a problem.

    Numbers are compared as numbers (``1.0`` is level 1), text codes as text. A decimal comma is a problem, because
    ``1,000`` would be two numbers.

    Args:
        cells: as in :class:`RatingCells`.
        scale: levels, missing codes, values to recode.

    Returns:
        ratings: recording, rater, trait and rating, sorted; not those that are missing. Where the cells have repeats,
            also repeat: 1 for a rater's first rating of a recording and trait, 2 for the next.
        excluded: recording, trait, rater, value (the cell) and reason, of codes that mean missing and of values that
            were recoded.
        problems: one sentence per column with cells that mean nothing on the scale.
    """
    cells = cells.reset_index(names="row")
    codes, texts = pd.factorize(cells["text"].to_numpy(dtype=object))
    meanings = [_interpret(str(text), scale) for text in texts]
    ratings = np.array([np.nan if rating is None else rating for rating, _ in meanings], dtype=np.float64)[codes]
    reasons = np.array([reason for _, reason in meanings], dtype=object)[codes]
    has_rating, has_reason = ~np.isnan(ratings), np.array([bool(reason) for _, reason in meanings], dtype=bool)[codes]

    kept = cells.loc[has_rating, ["recording", "rater", "trait"]].assign(rating=ratings[has_rating])
    excluded = cells.loc[has_reason, ["recording", "trait", "rater", "text"]].rename(columns={"text": "value"})
    excluded["reason"] = reasons[has_reason]
    wrong = cells.loc[~has_rating & ~has_reason]
    problems = [_outside(str(column), group, scale) for column, group in wrong.groupby("column", sort=False)]
    order = ["recording", "trait", "rater"]
    if "repeat" in cells:
        kept = _count_repeats(kept.assign(repeat=cells.loc[has_rating, "repeat"]))
    kept = kept.sort_values([name for name in (*order, "repeat") if name in kept], ignore_index=True)
    return kept, excluded.sort_values(order, ignore_index=True), problems


def _count_repeats(kept: pd.DataFrame) -> pd.DataFrame:
    """Turn what tells repeats apart, in the order of numbers where all are numbers, into 1, 2, ..."""
    texts = kept["repeat"].astype(str)
    are_numbers = texts.map(lambda text: _NUMBER.fullmatch(text) is not None).all()
    place = texts.astype(np.float64) if are_numbers and len(texts) else texts
    order = kept.assign(repeat=place).sort_values(["recording", "trait", "rater", "repeat"]).index
    counted = kept.loc[order].groupby(["recording", "trait", "rater"]).cumcount() + 1
    return kept.assign(repeat=counted)


def combine_ratings(ratings: pd.DataFrame, recordings: pd.Series, traits: Sequence[str], how: str) -> pd.DataFrame:
    """Combine the raters' ratings into one per recording and trait.

    Args:
        ratings: columns recording, rater, trait and rating, each rating once; where there is a column repeat, the
            ratings of one rater are combined first, so that nobody counts twice.
        recordings: the ids, one per row of what comes back.
        traits: the columns of what comes back.
        how: ``median``, ``mean``, or ``majority``: the level that most raters gave, and among equally frequent ones
            the lower of the two in the middle.

    Returns:
        One float column per trait, NaN where nobody rated; the index of ``recordings``.
    """
    if "repeat" in ratings:
        keys = ["recording", "rater", "trait"]
        given = pd.DataFrame({"place": ratings.groupby(keys).ngroup(), "rating": ratings["rating"]})
        firsts = ratings.drop_duplicates(keys).sort_values(keys)
        ratings = firsts.assign(rating=_combine(given, how).to_numpy())
    rows = pd.Index(recordings).get_indexer(pd.Index(ratings["recording"]))
    places = rows * len(traits) + pd.Index(traits).get_indexer(pd.Index(ratings["trait"]))
    given = pd.DataFrame({"place": places, "rating": ratings["rating"].to_numpy(dtype=np.float64)})
    combined = _combine(given, how)
    values = np.full(len(recordings) * len(traits), np.nan)
    values[combined.index.to_numpy(dtype=np.int64)] = combined.to_numpy(dtype=np.float64)
    return pd.DataFrame(values.reshape(len(recordings), len(traits)), index=recordings.index, columns=list(traits))


def _combine(given: pd.DataFrame, how: str) -> "pd.Series[float]":
    """Return one rating for each place, rising."""
    if how == "majority":
        return _find_majority(given).sort_index()
    grouped = given.groupby("place")["rating"]
    return grouped.median() if how == "median" else grouped.mean()


def _find_majority(given: pd.DataFrame) -> "pd.Series[float]":
    counts = given.groupby(["place", "rating"]).size().rename("count").reset_index()
    tied = counts[counts["count"] == counts.groupby("place")["count"].transform("max")]
    by_place = tied.groupby("place")["rating"]
    middle = (by_place.transform("size") - 1) // 2
    return tied[by_place.cumcount() == middle].set_index("place")["rating"]


def _interpret(text: str, scale: ScaleSettings) -> tuple[float | None, str | None]:
    """Return the rating of a cell and why it is not taken as it is; neither if the cell means nothing."""
    number = float(text) if _NUMBER.fullmatch(text) else None
    if text in scale.missing or (number is not None and number in scale.missing):
        return None, f"missing code {text if number is None else f'{number:g}'}"
    if number is not None and number in scale.recode:
        return float(scale.recode[number]), f"recoded to {scale.recode[number]:g}"
    if number is not None and number in scale.levels:
        return number, None
    return None, None


def _outside(column: str, cells: pd.DataFrame, scale: ScaleSettings) -> str:
    """Say which cells of a column mean nothing on the scale, in which rows, and what to do."""
    rows_of_value = cells.groupby("text", sort=False)["row"].agg(list)
    shown = [f"{list_rows(rows)}: {text}" for text, rows in rows_of_value.items()]
    levels = ", ".join(f"{level:g}" for level in scale.levels)
    if list(scale.levels) == list(range(int(scale.levels[0]), int(scale.levels[-1]) + 1)):
        levels = f"{scale.levels[0]:g}-{scale.levels[-1]:g}"
    message = (
        f"column '{column}': {len(cells)} rating{'s' * (len(cells) != 1)} outside {levels} ({list_some(shown, most=3)})"
    )
    texts = [str(text) for text in rows_of_value.index]
    if any(_DECIMAL_COMMA.fullmatch(text) for text in texts):
        return f"{message}. Write decimals with a point"
    codes = [f"{float(text):g}" if _NUMBER.fullmatch(text) else f"'{text}'" for text in texts]
    verb, pronoun = ("means", "it") if len(codes) == 1 else ("mean", "them")
    advice = f'If {list_some(codes, most=3)} {verb} "not rated", add {pronoun} to data.scale.missing'
    are_numbers = all(_NUMBER.fullmatch(text) for text in texts)
    return f"{message}. {advice}{'; if a level, to data.scale.recode' if are_numbers else ''}"


def _match_pattern(pattern: str, columns: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return trait and rater of each column that fits a pattern such as ``{trait}_r{rater}``."""
    expression = ""
    for piece in re.split(r"(\{trait\}|\{rater\})", pattern):
        name = piece.strip("{}")
        if piece not in ("{trait}", "{rater}"):
            expression += re.escape(piece)
        elif f"(?P<{name}>" in expression:
            expression += f"(?P={name})"
        else:
            # the trait takes as much as it can, the rater as little
            expression += "(?P<trait>.+)" if name == "trait" else "(?P<rater>.+?)"
    matches = {column: match for column in columns if (match := re.fullmatch(expression, column, re.DOTALL))}
    traits = {match["trait"] for match in matches.values()}
    return {column: (match["trait"], match["rater"]) for column, match in matches.items() if column not in traits}


def _without_loners(columns: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Leave out what fits the pattern by chance: a trait with one rater, who rates nothing else."""
    traits = Counter(trait for trait, _ in columns.values())
    raters = Counter(rater for _, rater in columns.values())
    kept = {name: found for name, found in columns.items() if traits[found[0]] > 1 or raters[found[1]] > 1}
    return kept or columns


def _from_columns(cells: pd.DataFrame, recording: str, columns: dict[str, tuple[str, str]]) -> pd.DataFrame:
    texts = cells[list(columns)].to_numpy(dtype=object)
    places, rows = np.nonzero(texts.T != "")
    names = np.array([(column, *found) for column, found in columns.items()], dtype=object).reshape(-1, 3)
    values: dict[str, Any] = {
        "recording": cells[recording].to_numpy(dtype=object)[rows],
        "rater": names[places, 2],
        "trait": names[places, 1],
        "column": names[places, 0],
        "text": texts[rows, places],
    }
    return pd.DataFrame(values, index=cells.index[rows], dtype=object)


def _from_long(cells: pd.DataFrame, data: DataSettings, long: LongRaters) -> RatingCells:
    wanted = {"column": long.column, "trait": long.trait, "rating": long.rating}
    keys = ["recording", "rater", "trait"]
    if long.repeat is not None:
        wanted["repeat"] = long.repeat
        keys.append("repeat")
    absent = [
        f"data.raters.{key}: '{column}' is not a column.{suggest(column, list(cells)) or ' ' + _list_columns(cells)}"
        for key, column in wanted.items()
        if column not in cells
    ]
    columns = [data.columns.recording, long.column, long.trait, long.rating]
    if absent:
        return RatingCells((), pd.DataFrame(columns=["recording", "rater", "trait", "text", "column"]), tuple(absent))
    rated = cells[columns].set_axis(["recording", "rater", "trait", "text"], axis=1).assign(column=long.rating)
    if long.repeat is not None:
        rated = rated.assign(repeat=cells[long.repeat])
    rated = rated[rated["text"] != ""]
    names = sorted({str(trait) for trait in cells[long.trait]} - {""})
    traits = tuple(dict.fromkeys(data.traits or names))
    problems = [
        f"data.traits: '{trait}' is not in the column '{long.trait}'.{suggest(trait, names)}"
        for trait in traits
        if trait not in names
    ]
    unnamed = rated.index[rated["trait"] == ""]
    if len(unnamed):
        problems.append(f"column '{long.trait}': a rating without a trait in {list_rows(list(unnamed))}")
    rated = rated[rated["trait"].isin(traits)]
    twice = rated[rated.duplicated(keys, keep=False)]
    shown = [
        f"recording '{recording}', rater '{rater}', trait '{trait}' in {list_rows(list(group.index))}"
        for (recording, rater, trait, *_), group in twice.groupby(keys)
    ]
    if shown:
        advice = "Keep one of each"
        if long.repeat is None:
            advice += ", or name the column that tells a rater's repeats apart in data.raters.repeat"
        problems.append(f"ratings that stand more than once: {list_some(shown, most=3)}. {advice}")
    return RatingCells(traits, rated, tuple(problems))


def _name_candidates(cells: pd.DataFrame, scale: ScaleSettings, taken: Collection[str]) -> str:
    """Say that traits must be named, and which columns look like ratings."""
    candidates = []
    for column in cells:
        texts = [text for text in pd.unique(cells[column]) if text != ""]
        if column not in taken and texts and all(_interpret(text, scale) != (None, None) for text in texts):
            candidates.append(str(column))
    if not candidates:
        return f"data.traits is empty, and no column has only ratings of data.scale. {_list_columns(cells)}"
    return f"data.traits is empty. Columns that fit data.scale: {list_some(candidates, most=50)}"


def _list_columns(cells: pd.DataFrame) -> str:
    return f"The columns are {list_some([str(column) for column in cells], most=20)}"
