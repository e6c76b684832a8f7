"""A decoder process in which files with certain names do harm: from faulty_decoder import serve."""

import ctypes
import os
import signal
import time
from pathlib import Path

from lalia.data import decoder
from lalia.data.decoder import decode_blocks
from lalia.limits import Limits

PROGRAM = "from faulty_decoder import serve"


def segfault(path: Path) -> None:
    ctypes.string_at(0)


def kill(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(path: Path) -> None:
    os._exit(3)


def hang(path: Path) -> None:
    time.sleep(600)


def swell(path: Path) -> None:
    held = []
    for _ in range(64):
        held.append(bytearray(b"x") * 2**26)
        time.sleep(0.01)


def chatter(path: Path) -> None:
    # onto what the answers would go through, were it not for a copy
    os.write(1, b"libraries print")
    print("so do we", flush=True)


def write_a_file(path: Path) -> None:
    path.with_suffix(".written").write_text("x")


def raise_an_error(path: Path) -> None:
    raise AssertionError("in a\nlibrary")


HARM = {each.__name__: each for each in (segfault, kill, leave, hang, swell, chatter, write_a_file, raise_an_error)}


def _decode_with_harm(path: str, limits: Limits, *more):
    if Path(path).stem in HARM:
        HARM[Path(path).stem](Path(path))
    return decode_blocks(path, limits, *more)


def serve(shared: int | None) -> None:
    decoder.decode_blocks = _decode_with_harm
    decoder.serve(shared)
