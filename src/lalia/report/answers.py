"""What people answer to the items of the lists: a file in the run's folder that lalia reads and never changes."""

import re
from pathlib import Path

from lalia.errors import RunError, list_some, nearest_choice
from lalia.files import write_text
from lalia.report.items import load_lists
from lalia.strict_yaml import parse_yaml

ANSWERS_FILE = "checklist-answers.yaml"
Answers = dict[tuple[str, str], str]

_HEAD = """\
# Your answers to what the lists ask and lalia cannot know. Write them between the quotes, or below a | for several
# lines, and then: lalia report RUN. What stays "" is a gap in the report. lalia writes this file once and never again.
"""


def read_answers(folder: Path) -> Answers:
    """Read the answers in a run's folder, by list and item; an empty one is none.

    Raises:
        RunError: if the file cannot be read, or lists every list and item in it that there is not, with the nearest.
    """
    path = folder / ANSWERS_FILE
    if not path.is_file():
        return {}
    try:
        values = parse_yaml(path.read_text(encoding="utf-8-sig"), as_text=True) or {}
    except ValueError as cause:  # not UTF-8 too
        raise RunError(f"'{path}' is not valid YAML: {cause}") from cause
    except OSError as cause:
        raise RunError(f"Cannot read '{path}': {cause.strerror or cause}.") from cause
    known = {one.name: [item.number for item in one] for one in load_lists()}
    answers, problems = {}, []
    if not isinstance(values, dict):
        values, problems = {}, ["it must hold lists such as 'TRIPOD+AI:', with items below them"]
    for name, given in values.items():
        if name not in known:
            near = nearest_choice(name, known)
            problems.append(f"'{name}' is no list" + (f" (did you mean '{near}'?)" if near else ""))
        elif isinstance(given, dict):
            for number, answer in given.items():
                if number not in known[name]:
                    problems.append(f"{name} has no item '{number}'{_nearest_item(number, known[name])}")
                elif not isinstance(answer, str):
                    problems.append(f"{name} {number}: the answer must be text")
                elif answer.strip():
                    answers[name, number] = answer.strip()
        elif given:
            problems.append(f"{name} must hold items and their answers, such as '1: ...'")
    if problems:
        n = len(problems)
        raise RunError(f"'{path}' has {n} problem{'s' * (n > 1)}: {list_some(problems, most=20)}.")
    return answers


def write_template(folder: Path) -> Path:
    """Write a file to fill in into a run's folder; one that is there stays as it is."""
    path = folder / ANSWERS_FILE
    if not path.exists():
        lines = [_HEAD]
        for one in load_lists():
            lines.append(f"{one.name}:  # {one.source}")
            for item in one:
                lines += [f"  # {item.domain}: {item.asks}", f'  {item.number}: ""']
            lines.append("")
        write_text(path, "\n".join(lines))
    return path


def _nearest_item(number: str, items: list[str]) -> str:
    """Name the item whose number is closest: first its main number, then its letter or what stands after the point."""
    place = _place(number)
    if place is None:
        return ""

    def distance(item: str) -> tuple[int, ...]:
        return tuple(abs(a - b) for a, b in zip(_place(item) or (0, 0), place, strict=True))

    return f" (did you mean '{min(items, key=distance)}'?)"


def _place(number: str) -> tuple[int, int] | None:
    """Return the two parts of an item's number: (3, 1) of 3a, (4, 7) of 4.7, (44, 0) of 44."""
    found = re.search(r"([0-9]{1,4})[. ]*([0-9]{1,4}|[A-Za-z])?", number)
    if found is None:
        return None
    rest = found[2] or "0"
    return int(found[1]), int(rest) if rest.isdigit() else ord(rest.lower()) - ord("a") + 1
