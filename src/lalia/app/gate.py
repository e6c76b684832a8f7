"""What stands between a client and the app: who may come in, and to which places."""

import hmac
import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE: Final = "lalia_token"
LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "::1")

# the app's own pages and what its components ask for; everything else of Gradio stays closed
_OPEN_PATHS = (
    "/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt",
    "/gradio_api/info", "/gradio_api/app_id", "/gradio_api/startup-events", "/gradio_api/upload",
    "/gradio_api/upload_progress", "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/reset",
    "/gradio_api/cancel", "/gradio_api/login_check", "/gradio_api/user", "/gradio_api/heartbeat",
)  # fmt: skip
_OPEN_FOLDERS = ("/assets/", "/static/", "/svelte/", "/gradio_api/heartbeat/", "/gradio_api/file=")
_FILE_PREFIX, _JOIN_PATH = "/gradio_api/file=", "/gradio_api/queue/join"
_MOST_JOIN_BYTES = 1_000_000
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
        b"connect-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'; "
        b"object-src 'none'",
    ),
]


class Gate:
    """Lets a request through to the app, or answers it.

    Args:
        app: the app behind.
        files: the folder that alone may be read from.
        token: which a client must have; None asks for none, and then only the machine itself may come, by its own
            names, so that no page of another site can reach the app through a name that it controls.
        most_bytes: of a request's body.
    """

    def __init__(self, app: Application, *, files: Path, token: str | None, most_bytes: int) -> None:
        self._app = app
        self._files = files.resolve()
        self._token = token
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if self._token is None and _host_of(headers.get("host", "")) not in LOCAL_HOSTS:
            await _refuse(send, 403, "This app answers on this machine alone.")
        elif headers.get("origin", "").partition("://")[2] != headers.get("host") and "origin" in headers:
            await _refuse(send, 403, "This app answers to its own page alone.")
        elif self._token is not None and not self._has_cookie(headers):
            await self._ask_for_token(scope, send)
        elif not self._is_open(scope["path"]):
            await _refuse(send, 404, "There is nothing here.")
        elif not headers.get("content-length", "0").isdigit() or int(headers.get("content-length", "0")) > (
            self._most_bytes
        ):
            await _refuse(send, 413, "This is more than the app takes.")
        elif scope["path"] == _JOIN_PATH:
            await self._join(scope, self._counting(receive), send)
        else:
            await self._app(scope, self._counting(receive), _adding_headers(send))

    async def _join(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request to compute that names no file but uploaded ones: no other path, and no address."""
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > _MOST_JOIN_BYTES:
                await _refuse(send, 413, "This is more than the app takes.")
                return
        try:
            named = list(_paths_in(json.loads(body)))
        except (ValueError, RecursionError):
            await _refuse(send, 400, "This is not JSON.")
            return
        if not all(isinstance(path, str) and self._is_own_file(path) for path in named):
            await _refuse(send, 403, "Only uploaded files can be rated.")
            return
        parts = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def again() -> MutableMapping[str, Any]:
            part = next(parts, None)
            return await receive() if part is None else part

        await self._app(scope, again, _adding_headers(send))

    def _is_own_file(self, path: str) -> bool:
        asked = Path(path)
        return asked.is_absolute() and asked.resolve().is_relative_to(self._files)

    def _has_cookie(self, headers: dict[str, str]) -> bool:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return found is not None and self._is_token(found.value)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self._token or "").encode())

    async def _ask_for_token(self, scope: Scope, send: Send) -> None:
        """Take the token from the address once, as a cookie that no script reads and no other site sends."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] != "/" or not self._is_token(given):
            await _refuse(send, 401, "Open the address that lalia app has printed: it ends with the token.")
            return
        cookie = f"{COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/"
        await _respond(send, 303, b"", [(b"location", b"/"), (b"set-cookie", cookie.encode())])

    def _is_open(self, path: str) -> bool:
        if path.startswith(_FILE_PREFIX):
            asked = path.removeprefix(_FILE_PREFIX)
            # whoever decodes it once more must not come out elsewhere
            return self._is_own_file(asked) and self._is_own_file(unquote(asked))
        return path in _OPEN_PATHS or (path.startswith(_OPEN_FOLDERS) and ".." not in unquote(path))

    def _counting(self, receive: Receive) -> Receive:
        left = self._most_bytes

        async def counted() -> MutableMapping[str, Any]:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            # a body without a length, in pieces: the app sees a client that went away
            return message if left >= 0 else {"type": "http.disconnect"}

        return counted


def _paths_in(value: Any) -> Iterator[Any]:
    """Yield what stands under ``path`` anywhere in JSON."""
    if isinstance(value, dict):
        if "path" in value:
            yield value["path"]
        for inner in value.values():
            yield from _paths_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _paths_in(inner)


def _host_of(header: str) -> str:
    """Return the host of a Host header without its port."""
    return header[1:].partition("]")[0] if header.startswith("[") else header.partition(":")[0]


def _adding_headers(send: Send) -> Send:
    async def added(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *_HEADERS]
        await send(message)

    return added


async def _refuse(send: Send, status: int, text: str) -> None:
    await _respond(send, status, f"{text}\n".encode(), [(b"content-type", b"text/plain; charset=utf-8")])


async def _respond(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length, *_HEADERS]})
    await send({"type": "http.response.body", "body": body})
