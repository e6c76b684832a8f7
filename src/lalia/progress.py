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
