"""The app as a server: bound to this machine unless a token guards it, its files in a folder that goes with it."""

import contextlib
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from lalia.app.browse import Browser
from lalia.app.gate import LOCAL_HOSTS, Gate
from lalia.app.pages import Pages, build_pages, check_gradio, import_gradio, mount_options
from lalia.app.rating import Limits
from lalia.build import load_rater
from lalia.errors import ConfigError
from lalia.model.rater import SpeechRater
from lalia.model.saved_rater import find_rater
from lalia.progress import Progress

SHORTEST_TOKEN: Final = 16
KEEP_SECONDS: Final = 900.0
"""How long an uploaded file stays, so that it can be played again."""
_SWEEP_SECONDS = 30.0


def serve(
    run: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: str | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> None:
    """Run the app on a finished run, or a saved rater, until a signal ends it.

    Args:
        run: the folder of the run; without its other files there are no recordings to browse.
        host: the address to listen at. Any other than this machine's own needs a token, and gets one if none is given.
        port: 0 takes a free one.
        token: which each client must have.
        limits: on what is uploaded.
        progress: is told the address.

    Raises:
        ConfigError: if Gradio is not installed, the token is too short, or the address cannot be listened at.
        RaterError: if there is no rater in the folder.
        LaliaError: if the files of the run cannot be read.
    """
    check_gradio()
    progress, limits = progress or Progress(), limits or Limits()
    token = choose_token(host, token)
    listening = _listen(host, port)
    try:
        rater = load_rater(run).eval()
        with _own_files() as files:
            import uvicorn

            app = build_app(rater, _browse(Path(run)), files=files, token=token, limits=limits)
            config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="on")
            shown = f"[{host}]" if ":" in host else host
            address = f"http://{shown}:{listening.getsockname()[1]}/" + (f"?token={token}" if token else "")
            # who opens the address now waits until the app is ready, and is not sent away
            listening.listen()
            progress.say(f"Listening at {address} (Ctrl-C ends it)")
            uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()


def build_app(rater: SpeechRater, browser: Browser | None, *, files: Path, token: str | None, limits: Limits) -> Gate:
    """Return the app behind its gate.

    Args:
        rater: in eval mode.
        browser: of the run, None without.
        files: the folder for what is uploaded, which is ``GRADIO_TEMP_DIR``.
        token: which a client must have; None lets this machine alone come.
        limits: on what is uploaded.
    """
    gr = import_gradio()
    from fastapi import FastAPI

    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    blocks = build_pages(Pages(rater, browser, limits))
    app: Any = gr.mount_gradio_app(outer, blocks, path="/", **mount_options(limits))
    # a request of uploads may hold all files of a batch
    return Gate(app, files=files, token=token, most_bytes=int(limits.megabytes * 1e6 * limits.files))


def choose_token(host: str, token: str | None) -> str | None:
    """Return the token that clients need at an address, a new one where it needs one and has none.

    Raises:
        ConfigError: if a token is given that is too short, or has other characters than letters, digits, - and _.

    Example:
        >>> choose_token("127.0.0.1", None) is None, len(choose_token("0.0.0.0", None))
        (True, 32)
    """
    if token is None:
        return None if host in LOCAL_HOSTS else secrets.token_urlsafe(24)
    if len(token) < SHORTEST_TOKEN or not token.replace("-", "").replace("_", "").isalnum() or not token.isascii():
        raise ConfigError(
            f"The token must be at least {SHORTEST_TOKEN} letters, digits, - or _. Leave LALIA_APP_TOKEN out for a"
            " random one."
        )
    return token


def sweep(files: Path, older_than_seconds: float) -> None:
    """Delete what lies in a folder for longer, and the folders that are empty then."""
    limit = time.time() - older_than_seconds
    for path in sorted(files.rglob("*"), reverse=True):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime <= limit:
                path.rmdir() if path.is_dir() else path.unlink()


@contextlib.contextmanager
def _own_files() -> Iterator[Path]:
    """Give a folder for Gradio's files that is swept now and then, and deleted at the end."""
    before = os.environ.get("GRADIO_TEMP_DIR")
    ended = threading.Event()
    with tempfile.TemporaryDirectory(prefix="lalia-app-", ignore_cleanup_errors=True) as name:
        files = Path(name).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(files)

        def keep_sweeping() -> None:
            while not ended.wait(_SWEEP_SECONDS):
                sweep(files, KEEP_SECONDS)

        sweeper = threading.Thread(target=keep_sweeping, daemon=True)
        sweeper.start()
        try:
            yield files
        finally:
            ended.set()
            sweeper.join()
            os.environ.pop("GRADIO_TEMP_DIR", None)
            if before is not None:
                os.environ["GRADIO_TEMP_DIR"] = before


def _browse(run: Path) -> Browser | None:
    folder = find_rater(run).parent
    needed = ("config.yaml", "predictions.csv", "metrics.json", "manifest.json", "history.csv")
    return Browser(folder) if all((folder / name).is_file() for name in needed) else None


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address, before a rater is loaded for nothing."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        if os.name != "nt":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except OSError as cause:
        raise ConfigError(f"Cannot listen at {host}, port {port}: {cause.strerror}. Give another --port.") from cause
    return listening
