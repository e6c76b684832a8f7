"""Who may come in to the app, and to which places."""

import asyncio
import json

import pytest

from lalia.app.gate import COOKIE, Gate

TOKEN = "a-token-of-more-than-16"


async def answer(scope, receive, send):
    """An app that says what it was given."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["type"].encode() + b" " + body})


def ask(gate, path, *, query="", host="127.0.0.1:7860", body=b"", pieces=1, kind="http", **headers):
    """Return the status, the headers and the body of an answer."""
    sent = []
    size = max(1, -(-len(body) // pieces))
    parts = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
    messages = [
        {"type": "http.request", "body": part, "more_body": place + 1 < len(parts)} for place, part in enumerate(parts)
    ]

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    given = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    asyncio.run(gate(scope, receive, send))
    if kind != "http":
        return sent
    if not sent:
        return None, {}, b""
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(each.get("body", b"") for each in sent[1:])


@pytest.fixture
def local(tmp_path):
    return Gate(answer, files=tmp_path, token=None, most_bytes=100)


@pytest.fixture
def guarded(tmp_path):
    return Gate(answer, files=tmp_path, token=TOKEN, most_bytes=100)


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "[::1]:7860"])
def test_without_a_token_this_machine_may_come_by_its_own_names(local, host):
    status, headers, _ = ask(local, "/", host=host)
    assert status == 200
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert headers[b"cache-control"] == b"no-store"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[::2]"])
def test_another_name_is_refused(local, host):
    assert ask(local, "/", host=host)[0] == 403


def test_the_page_of_another_site_cannot_send_anything(local, guarded):
    for gate, host in ((local, "127.0.0.1:7860"), (guarded, "lab.example")):
        cookie = f"{COOKIE}={TOKEN}"
        assert ask(gate, "/gradio_api/upload", host=host, cookie=cookie, origin=f"http://{host}")[0] == 200
        for origin in ("http://evil.example", "http://127.0.0.1:1", "null", "", f"http://{host}.evil.example"):
            assert ask(gate, "/gradio_api/upload", host=host, cookie=cookie, origin=origin)[0] == 403


def test_with_a_token_nobody_comes_without_it(guarded):
    for path, query, cookie in [
        ("/", "", ""),
        ("/", "token=wrong", ""),
        ("/", "token=", ""),
        ("/", "", f"{COOKIE}="),
        ("/", "", f"{COOKIE}={TOKEN}x"),
        ("/", "", f"other={TOKEN}"),
        ("/", "", '=;"'),
        ("/config", f"token={TOKEN}", ""),
        ("/gradio_api/upload", "", ""),
    ]:
        status, headers, body = ask(guarded, path, query=query, host="lab.example", cookie=cookie)
        assert status == 401, (path, query, cookie)
        assert b"set-cookie" not in headers
        assert TOKEN.encode() not in body


def test_the_token_in_the_address_becomes_a_cookie_that_opens(guarded):
    status, headers, _ = ask(guarded, "/", query=f"token={TOKEN}", host="lab.example")
    assert (status, headers[b"location"]) == (303, b"/")
    cookie = headers[b"set-cookie"].decode()
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert ask(guarded, "/", host="lab.example", cookie=cookie.partition(";")[0])[0] == 200


def test_a_file_is_open_only_in_the_folder_of_uploads(local, tmp_path):
    (tmp_path / "link.wav").symlink_to("/etc/passwd")
    prefix = "/gradio_api/file="
    assert ask(local, f"{prefix}{tmp_path}/a/b.wav")[0] == 200
    for path in (
        "/etc/passwd",
        f"{tmp_path}/../x",
        f"{tmp_path}/%2e%2e/x",
        f"{tmp_path}x/a",
        "a.wav",
        "",
        "http://127.0.0.1/",
        f"{tmp_path}/link.wav",
    ):
        assert ask(local, prefix + path)[0] == 404, path


@pytest.mark.parametrize(
    "path", ["/docs", "/gradio_api/proxy=http://x", "/monitoring", "/gradio_api/run/a", "/assets/../x"]
)
def test_other_places_are_closed(local, path):
    assert ask(local, path)[0] == 404


def test_a_request_that_is_too_large_is_refused(local):
    assert ask(local, "/gradio_api/upload", body=b"x" * 100, content_length="100")[2] == b"http.request " + b"x" * 100
    assert ask(local, "/gradio_api/upload", content_length="101")[0] == 413
    assert ask(local, "/gradio_api/upload", content_length="many")[0] == 413
    # without a length, the app sees a client that went away
    _, _, body = ask(local, "/gradio_api/upload", body=b"x" * 101, pieces=4)
    assert body.startswith(b"http.disconnect")


def join(gate, value, **more):
    return ask(gate, "/gradio_api/queue/join", body=json.dumps(value).encode(), **more)


def test_only_uploaded_files_are_passed_on(tmp_path):
    gate = Gate(answer, files=tmp_path, token=None, most_bytes=10_000)
    own = {"data": [{"path": f"{tmp_path}/a.wav", "url": "http://127.0.0.1:7860/gradio_api/file=a.wav"}]}
    assert join(gate, own, pieces=3)[2] == b"http.request " + json.dumps(own).encode()
    for path in ("/etc/passwd", "http://x/a.wav", f"{tmp_path}/../a.wav", "a.wav", "", None, 3, ["/etc/passwd"], {}):
        for value in ({"path": path}, [{"a": {"path": path}}], {"data": [[{"path": path}]]}):
            assert join(gate, value)[0] == 403, value
    assert ask(gate, "/gradio_api/queue/join", body=b"{")[0] == 400
    assert ask(gate, "/gradio_api/queue/join", body=b"[" * 9_000)[0] == 400


def test_sockets_are_closed(local):
    assert ask(local, "/", kind="websocket") == [{"type": "websocket.close", "code": 1008}]
