"""What the command line shows: progress as bars on a terminal or as plain lines elsewhere, and tables."""

import os
import sys
import time
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from lalia.errors import printable
from lalia.progress import Progress

PLAIN_SECONDS = 10.0


class _Bars(Bars):
    """Bars with what is noted of each below it, so that neither takes the other's room."""

    def get_renderables(self) -> Iterable[RenderableType]:
        for task in self.tasks:
            yield self.make_tasks_table([task])
            if task.fields["note"]:
                yield Text(f"  {task.fields['note']}", no_wrap=True, overflow="ellipsis")


class BarProgress(Progress):
    """A bar for the stage under way, lines that stay above it."""

    def __init__(self) -> None:
        self._bars = _Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "BarProgress":
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def start(self, title: str, total: int) -> None:
        """Show a new bar in place of the old one."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(printable(title), total=total, note="")

    def advance(self, note: str = "") -> None:
        """Move the bar."""
        if self._task is not None:
            self._bars.update(self._task, advance=1, note=printable(note))

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bars.console.print(Text(printable(line)))


class LineProgress(Progress):
    """Plain lines on stderr: each stage, and where a stage has come to every ten seconds."""

    def __enter__(self) -> "LineProgress":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def start(self, title: str, total: int) -> None:
        """Name a new stage."""
        self._title, self._total, self._done = title, total, 0
        self._shown = time.monotonic()

    def advance(self, note: str = "") -> None:
        """Count, and print now and then."""
        self._done += 1
        if time.monotonic() - self._shown > PLAIN_SECONDS:
            self._shown = time.monotonic()
            self.say(f"{self._title}: {self._done} of {self._total} {note}".rstrip())

    def say(self, line: str) -> None:
        """Print a line."""
        sys.stderr.write(f"{printable(line)}\n")
        sys.stderr.flush()


class SilentProgress(Progress):
    """Nothing: of several processes that train together, the first one shows what happens."""

    def __enter__(self) -> "SilentProgress":
        return self

    def __exit__(self, *exception: object) -> None:
        pass


def show_progress() -> BarProgress | LineProgress | SilentProgress:
    """Return bars for a terminal, plain lines for anything else, nothing beside a first process."""
    if not is_first_process():
        return SilentProgress()
    return BarProgress() if sys.stderr.isatty() else LineProgress()


def is_first_process() -> bool:
    """Return whether this is the first of the processes that were started together, or alone."""
    return os.environ.get("RANK", "0") == "0"


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on stdout; what the cells hold is text, never markup, and moves no cursor."""
    table = Table(title=_text(title), title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(_text(column), justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*(_text(str(cell)) for cell in row))
    width = None if sys.stdout.isatty() else 120
    Console(width=width, highlight=False).print(table)


def _text(cell: str) -> Text:
    return Text("\n".join(printable(line) for line in cell.split("\n")))
