"""What stands on a terminal: on a narrow one too, count, times and what is noted."""

import io
import re

import pytest
from rich.console import Console

from lalia import terminal
from lalia.terminal import BarProgress

NOTE = "loss 0.4321, rate 1.0e-04, 45 s audio/s, 1.5 GiB, 0:12:34 left"


def lines_of(bars):
    shown = io.StringIO()
    bars._bars.console.file = shown
    bars._bars.console.print(bars._bars.get_renderable())
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue()).splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_a_note_takes_no_room_from_the_bar(width, monkeypatch):
    monkeypatch.setattr(terminal, "Console", lambda stderr: Console(width=width, force_terminal=True))
    bars = BarProgress()
    bars.start("epoch 3 of 30", 34)
    (alone,) = lines_of(bars)
    assert re.fullmatch(r"epoch 3 of 30 .* 0/34 \S+ \S+", alone)
    bars.advance(NOTE)
    bar, note = lines_of(bars)
    assert re.fullmatch(r"epoch 3 of 30 .* 1/34 \d:\d\d:\d\d \S+", bar)
    assert note == f"  {NOTE}"


def test_names_in_a_note_are_no_markup(monkeypatch):
    monkeypatch.setattr(terminal, "Console", lambda stderr: Console(width=80, force_terminal=True))
    bars = BarProgress()
    bars.start("[red]", 2)
    bars.advance("[bold]a[/bold]")
    bar, note = lines_of(bars)
    assert bar.startswith("[red] ")
    assert note == "  [bold]a[/bold]"
