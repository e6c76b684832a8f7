"""The command line called within the test's own process."""

import signal
import sys

import pytest

from lalia.cli import main


def call_lalia(*arguments: object) -> int:
    """Run a command as its script does, and return its exit code; signals are handled afterwards as before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lalia", *map(str, arguments)])
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as left:
                main()
        finally:
            signal.signal(signal.SIGTERM, before)
    return left.value.code
