"""Object stores on this machine, for tests: moto's S3 and an emulator of GCS, with what can go wrong on the way there.

The libraries that read them run unchanged. Everything is kept in memory and ends with the test.
"""

import http.client
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

# before gcsfs is imported: an emulator knows nothing of its other protocol
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

pytest.importorskip("s3fs", reason="pip install 'lalia[cloud]'")
pytest.importorskip("moto", reason="pip install 'lalia[dev]'")

KEY, SECRET = "AKIACANARYCANARY", "canary/secret/that/nobody/may/see"
BUCKET = "studies"


@dataclass
class Faults:
    """What goes wrong with requests, by a pattern of ``METHOD path``.

    Attributes:
        busy: how often such a request is answered with 503.
        dropped: how often the connection ends in the middle of the answer.
        garbled: how often the answer's body has a byte turned, with the length and the tag of the right one.
        denied: patterns that are answered with 403.
        before: called once before such a request is passed on, with the store as it is then.
        requests: all that were asked.
    """

    busy: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    garbled: dict[str, int] = field(default_factory=dict)
    denied: list[str] = field(default_factory=list)
    before: dict[str, object] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def take(self, faults: dict[str, int], request: str) -> bool:
        """Return whether a fault is due, and count it."""
        for pattern, left in faults.items():
            if left and fnmatchcase(request, pattern):
                faults[pattern] = left - 1
                return True
        return False

    def asked_for(self, pattern: str) -> list[str]:
        """Return the requests that match."""
        return [request for request in self.requests if fnmatchcase(request, pattern)]


class Store:
    """A bucket of a store, written and read without what goes wrong.

    Args:
        files: the file system that sees the store itself.
        scheme: of its URLs.
        faults: of the way there that lalia takes.
    """

    def __init__(self, files, scheme, faults):
        self.files, self.scheme, self.faults = files, scheme, faults

    def url(self, name=""):
        return f"{self.scheme}://{BUCKET}/{name}".rstrip("/")

    def put(self, name, content):
        self.files.pipe_file(f"{BUCKET}/{name}", content)

    def put_folder(self, folder, name):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def get(self, name):
        return self.files.cat_file(f"{BUCKET}/{name}")

    def names(self, folder=""):
        prefix = f"{BUCKET}/{folder}".rstrip("/") + "/"
        return sorted(name.removeprefix(prefix) for name in self.files.find(prefix) if name != prefix)

    def remove(self, name):
        self.files.rm_file(f"{BUCKET}/{name}")


@contextmanager
def s3_store() -> Iterator[Store]:
    """Run moto's S3 on a free port, and before it what makes faults, until the block ends."""
    import s3fs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from moto.server import ThreadedMotoServer
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with _faulty((host, port)) as (address, faults), _environment(_s3_environment(address)):
            files = s3fs.S3FileSystem(
                key=KEY, secret=SECRET, endpoint_url=f"http://{host}:{port}", use_listings_cache=False
            )
            files.makedirs(BUCKET, exist_ok=True)  # moto keeps one state for all its servers
            yield Store(files, "s3", faults)
            _forget_file_systems()
    finally:
        server.stop()


def _s3_environment(address):
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def gcs_store() -> Iterator[Store]:
    """Run an emulator of GCS on a free port, and before it what makes faults, until the block ends."""
    pytest.importorskip("gcsfs")
    pytest.importorskip("gcp_storage_emulator")
    import gcsfs
    from gcp_storage_emulator.server import create_server

    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    server.start()
    host, port = server._api._httpd.server_address
    try:
        with _faulty((host, port)) as (address, faults), _environment({"STORAGE_EMULATOR_HOST": address}):
            gcsfs.GCSFileSystem.clear_instance_cache()
            files = gcsfs.GCSFileSystem(
                token="anon", endpoint_url=f"http://{host}:{port}", use_listings_cache=False, project="p"
            )
            yield Store(files, "gs", faults)
            _forget_file_systems()
    finally:
        server.stop()


@contextmanager
def _environment(values):
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    _forget_file_systems()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
        _forget_file_systems()


def _forget_file_systems():
    """Have fsspec make file systems anew: those that it keeps know another address."""
    import fsspec

    for scheme in ("s3", "gs"):
        fsspec.get_filesystem_class(scheme).clear_instance_cache()


@contextmanager
def _faulty(upstream):
    """Pass requests on to a server, but for the faults."""
    faults = Faults()
    handler = type("Handler", (_Proxy,), {"upstream": upstream, "faults": faults})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that gives up ends its connection
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", faults
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def _pass_on(self):
        request = f"{self.command} {self.path}"
        faults = self.faults
        faults.requests.append(request)
        body = self._read_body()
        for pattern in [each for each in faults.before if fnmatchcase(request, each)]:
            faults.before.pop(pattern)()
        if any(fnmatchcase(request, pattern) for pattern in faults.denied):
            return self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        if faults.take(faults.busy, request):
            return self._answer(503, b"<Error><Code>SlowDown</Code></Error>")
        connection = http.client.HTTPConnection(*self.upstream, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        if body:
            headers["Content-Length"] = str(len(body))
        connection.request(self.command, self.path, body=body or None, headers=headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        drops = faults.take(faults.dropped, request)
        if content and faults.take(faults.garbled, request):
            content = bytes([content[0] ^ 255]) + content[1:]
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            checksum = name.lower().startswith("x-amz-checksum")
            if name.lower() not in ("transfer-encoding", "content-length", "connection") and not checksum:
                self.send_header(name, value)
        length = response.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if self.command == "HEAD":
            return None
        self.wfile.write(content[: len(content) // 2] if drops else content)
        if drops:
            self.close_connection = True
        return None

    def _read_body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = _pass_on
