"""The lists of items as rows: filled by lalia, by the user, to be filled, or failed; as CSV and for the report."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Final

from lalia.files import write_text
from lalia.report.answers import Answers, read_answers, write_template
from lalia.report.contents import Contents
from lalia.report.facts import data, model, results
from lalia.report.facts.fact import Fact, FactOf
from lalia.report.items import Item, load_lists
from lalia.safe_text import as_lines
from lalia.settings import ReportSettings

CHECKLIST_FILE: Final = "checklist.csv"
BY_LALIA, BY_USER, OPEN, FAILED = STATUSES = ("filled by lalia", "filled by the user", "to be filled", "failed")
FACTS: Final[dict[str, FactOf]] = {**data.FACTS, **model.FACTS, **results.FACTS}


@dataclass(frozen=True)
class Row:
    """An item and what is known of it.

    Attributes:
        list: the name of its list.
        item: its number.
        domain: its section.
        asks: what it asks for.
        status: one of ``STATUSES``.
        value: what the run says, empty where it says nothing.
        source: the files of the run that say so.
        answer: the user's, empty where there is none.
    """

    list: str
    item: str
    domain: str
    asks: str
    status: str
    value: str
    source: str
    answer: str


def build_checklist(contents: Contents, answers: Answers) -> list[Row]:
    """Return a row for every item of every list.

    An answer fills what only people know, and what is not in the run but may be elsewhere. What the run's own numbers
    say is bad stays failed, with the answer beside it. No recording or speaker is named, whatever the settings say.

    Args:
        contents: of the run.
        answers: of ``read_answers``.
    """
    hidden = replace(contents, settings=contents.settings.model_copy(update={"report": ReportSettings()}))
    facts = {name: fact(hidden) for name, fact in FACTS.items()}
    return [
        _fill(one.name, item, facts[item.fact] if item.fact else None, answers.get((one.name, item.number), ""))
        for one in load_lists()
        for item in one
    ]


def write_checklist(folder: Path, contents: Contents) -> list[Row]:
    """Write ``checklist.csv`` into a run's folder, and beside it a file for answers where there is none yet.

    Raises:
        RunError: if the answers cannot be read, or are to items that there are not.
    """
    rows = build_checklist(contents, read_answers(folder))
    write_text(folder / CHECKLIST_FILE, to_csv(rows))
    write_template(folder)
    return rows


def to_csv(rows: Sequence[Row]) -> str:
    """Return the rows as CSV, no cell of which a spreadsheet would compute."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Row))
    writer.writerows([as_lines(cell) for cell in astuple(row)] for row in rows)
    return text.getvalue()


def count_statuses(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Return for each list how many items have each status, in the order of ``STATUSES``."""
    counted = Counter((row.list, row.status) for row in rows)
    return {name: [counted[name, status] for status in STATUSES] for name in dict.fromkeys(row.list for row in rows)}


def _fill(name: str, item: Item, fact: Fact | None, answer: str) -> Row:
    if fact is not None and fact.state == "known":
        status = BY_LALIA
    elif fact is not None and fact.state == "failed":
        status = FAILED
    elif answer:
        status = BY_USER
    else:
        status = FAILED if fact is not None and fact.state == "absent" else OPEN
    value, source = ("", "") if fact is None else (fact.value, fact.source)
    return Row(name, item.number, item.domain, item.asks, status, value, source, answer)
