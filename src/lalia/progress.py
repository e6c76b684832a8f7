"""How long work tells of itself: silent here, a bar or plain lines where the command line shows it."""


class Progress:
    """Takes note of progress and shows nothing.

    The command line gives one that draws; its methods are the whole protocol.
    """

    def start(self, title: str, total: int) -> None:
        """Begin a stage of ``total`` units; it ends the one before."""

    def advance(self, note: str = "") -> None:
        """Count one unit as done, with a few words on it."""

    def say(self, line: str) -> None:
        """Show a line that stays."""


class NotesOnce(Progress):
    """Hands everything on, but a note on the data only the first time: runs on the same data repeat theirs.

    Args:
        progress: gets what is left.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._said: set[str] = set()

    def start(self, title: str, total: int) -> None:
        """Begin a stage."""
        self._progress.start(title, total)

    def advance(self, note: str = "") -> None:
        """Count one unit as done."""
        self._progress.advance(note)

    def say(self, line: str) -> None:
        """Show a line, unless it is a note that was shown."""
        if line.startswith("Note: ") and line in self._said:
            return
        self._said.add(line)
        self._progress.say(line)
