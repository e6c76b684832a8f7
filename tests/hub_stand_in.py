"""A stand-in of Hugging Face's hub on this machine: the parts of its HTTP API that downloads and uploads call.

huggingface_hub itself runs unchanged against it. Everything is kept in memory and ends with the test.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub
import pytest
from huggingface_hub import close_session

TOKEN = "hf_a-token-that-may-write"
READ_TOKEN = "hf_a-token-that-may-only-read"


@dataclass
class Repository:
    """A repository of models.

    Attributes:
        files: per commit, its files by name.
        branches: branch or tag to commit.
        gated: whether its files are refused.
        private: whether it is shown without a token.
        broken: a status that every request is answered with, 0 for none.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    broken: int = 0

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Store files as a new commit of a branch and return its hash."""
        sha = hashlib.sha1(repr((sorted(files.items()), len(self.files))).encode()).hexdigest()
        self.files[sha] = files
        self.branches[branch] = sha
        return sha

    def find(self, revision: str) -> str | None:
        """Return the commit of a revision, None where there is none."""
        return self.branches.get(revision, revision if revision in self.files else None)


class StandIn:
    """The hub: repositories by id, and the requests that it was sent."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self.endpoint = ""

    def add_folder(self, name: str, folder: Path, branch: str = "main") -> str:
        """Store a folder's files as a commit of a repository and return its hash."""
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return self.repositories.setdefault(name, Repository()).commit(files, branch)

    def asked_for(self, pattern: str) -> list[str]:
        """Return the paths of the requests that were sent, those that match."""
        return [path for _, path in self.requests if fnmatchcase(path, pattern)]


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """Run the stand-in on a free port of this machine until the block ends."""
    hub = StandIn()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        close_session()
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


def use_endpoint(monkeypatch: pytest.MonkeyPatch, endpoint: str, cache: Path, *, offline: bool = False) -> None:
    """Let huggingface_hub ask this endpoint, keep what it gets in a folder of the test, and know no token."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    close_session()


class _Handler(BaseHTTPRequestHandler):
    hub: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._read(send_body=False)

    def do_GET(self) -> None:
        self._read(send_body=True)

    def do_POST(self) -> None:
        path, body = self._path(), self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/validate-yaml":
            return self._answer({"warnings": [], "errors": []})
        if "/paths-info/" in path:
            return self._describe_paths(path, parse_qs(body.decode())["paths"])
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token != TOKEN:
            known = token == READ_TOKEN
            return self._refuse(
                403 if known else 401, "", "no write access" if known else "Invalid username or password."
            )
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        name, _, action = path.removeprefix("/api/models/").rpartition("/main")[0].rpartition("/")
        if action == "preupload":
            files = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                for each in json.loads(body)["files"]
            ]
            return self._answer({"files": files})
        return self._commit(name, body)

    def _path(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        return path

    def _read(self, *, send_body: bool) -> None:
        path = self._path()
        api = path.startswith("/api/models/")
        parts = path.removeprefix("/api/models").strip("/").split("/")
        name, rest = "/".join(parts[:2]), parts[2:]
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not self.headers.get("Authorization")):
            return self._refuse(401, "RepoNotFound", "Invalid username or password.")
        if repository.broken:
            return self._refuse(repository.broken, "", "out of order")
        revision = rest[1] if len(rest) > 1 else "main"
        commit = repository.find(revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if api and rest[:1] == ["tree"]:
            return self._answer([_describe(file, content) for file, content in repository.files[commit].items()])
        if api:
            return self._answer({"id": name, "sha": commit, "private": repository.private, "siblings": []})
        if repository.gated:
            return self._refuse(403, "GatedRepo", "Access to model is restricted.")
        return self._send_file(repository.files[commit]["/".join(rest[2:])], commit, send_body=send_body)

    def _describe_paths(self, path: str, wanted: list[str]) -> None:
        name, _, revision = path.removeprefix("/api/models/").partition("/paths-info/")
        repository = self.hub.repositories[name]
        files = repository.files[repository.find(revision) or ""]
        self._answer([_describe(file, files[file]) for file in wanted if file in files])

    def _create(self, asked: dict[str, str | None]) -> None:
        name = f"{asked['organization'] or 'me'}/{asked['name']}"
        if name in self.hub.repositories:
            return self._refuse(409, "", "You already created this model repo", url=f"{self.hub.endpoint}/{name}")
        repository = self.hub.repositories[name] = Repository(private=asked.get("visibility") == "private")
        repository.commit({})
        return self._answer({"url": f"{self.hub.endpoint}/{name}", "name": name, "id": name})

    def _commit(self, name: str, body: bytes) -> None:
        files = {}
        for line in body.splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
        sha = self.hub.repositories[name].commit(files)
        self._answer({"commitUrl": f"{self.hub.endpoint}/{name}/commit/{sha}", "commitOid": sha, "success": True})

    def _answer(self, values: object, status: int = 200, **headers: str) -> None:
        self._send(status, json.dumps(values).encode(), {"Content-Type": "application/json", **headers})

    def _refuse(self, status: int, code: str, message: str, **values: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self._send(status, json.dumps({"error": message, **values}).encode(), headers)

    def _send_file(self, content: bytes, commit: str, *, send_body: bool) -> None:
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        self._send(200, content, headers, send_body=send_body)

    def _send(self, status: int, body: bytes, headers: dict[str, str], *, send_body: bool = True) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if send_body and self.command != "HEAD":
            self.wfile.write(body)


def _describe(file: str, content: bytes) -> dict[str, str | int]:
    oid = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    return {"type": "file", "path": file, "size": len(content), "oid": oid}
