"""A row of the table: what is compared, its target, what was measured, and whether that reaches it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Row:
    """One comparison.

    Args:
        what: is compared, in words.
        side: against what: Trainer, one forward, or nothing.
        measured: the ratio, or the slope.
        target: that it has to reach or must not pass; for a slope both ends.
        kind: ``times less``: the other side takes that many times as much; ``times``: lalia takes that many times the
            other; ``throughput``: lalia's share of the other's; ``slope``.
        note: seconds and what was extrapolated.
        cpu: the same ratio in processor time, where it was taken.
    """

    what: str
    side: str
    measured: float
    target: float | tuple[float, float]
    kind: Literal["times less", "times", "throughput", "slope"]
    note: str = ""
    cpu: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the target is reached, at the precision that is shown."""
        value = round(self.measured, 2)
        if isinstance(self.target, tuple):
            return self.target[0] <= value <= self.target[1]
        return value <= self.target if self.kind == "times" else value >= self.target

    @property
    def target_in_words(self) -> str:
        """The target as the table shows it."""
        if isinstance(self.target, tuple):
            return f"slope {self.target[0]:g} to {self.target[1]:g}"
        return {
            "times less": f"at least {self.target:g} times less",
            "times": f"at most {self.target:g} x",
            "throughput": f"at least {self.target:g}",
        }[self.kind]

    @property
    def measured_in_words(self) -> str:
        """What was measured as the table shows it."""
        return {
            "times less": f"{self.measured:.2f} times less",
            "times": f"{self.measured:.2f} x",
            "throughput": f"{self.measured:.2f}",
            "slope": f"slope {self.measured:.3f}",
        }[self.kind]

    @property
    def verdict(self) -> str:
        """The word ok or MISSED."""
        return "ok" if self.is_met else "MISSED"

    def to_json(self) -> dict[str, Any]:
        """Return all that the row says."""
        return {**asdict(self), "met": self.is_met}


def write_table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table.

    Example:
        >>> print(write_table([Row("a run", "Trainer", 25.0, 20.0, "times less", cpu=24.0)]))
        | what | against | target | measured | in processor time | |
        |---|---|---|---|---|---|
        | a run | Trainer | at least 20 times less | 25.00 times less | 24.00 | ok |
    """
    lines = ["| what | against | target | measured | in processor time | |", "|---|---|---|---|---|---|"]
    for row in rows:
        cpu = "" if row.cpu is None else f"{row.cpu:.2f}"
        cells = (row.what, row.side, row.target_in_words, row.measured_in_words, cpu, row.verdict)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
