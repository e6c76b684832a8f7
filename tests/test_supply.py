"""Licences of what lalia depends on, and what is made of the package index's advisories."""

import json
import re
import runpy
import threading
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUPPLY = runpy.run_path(str(ROOT / "docs" / "make_supply.py"))


@contextmanager
def index(answers):
    """Give the address of a package index on this machine that knows the advisories of some versions."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            _, _, name, version, _ = self.path.split("/")
            found = answers.get((name, version))
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(b"" if found is None else json.dumps({"vulnerabilities": found}).encode())

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def metadata(**fields):
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


def test_all_that_lalia_needs_is_under_a_licence_that_fits():
    licences = SUPPLY["list_licences"]()
    assert sum(needed_by == "lalia" for _, needed_by in licences.values()) > 40
    assert SUPPLY["find_unfit"](licences) == []


def test_the_page_of_dependencies_has_each_with_its_licence():
    page = (ROOT / "docs" / "supply.md").read_text(encoding="utf-8")
    assert page.startswith(SUPPLY["HEAD"])
    rows = dict(re.findall(r"^\| (\S+) \| (.+?) \|", page, re.MULTILINE))
    for name, (licence, needed_by) in SUPPLY["list_licences"]().items():
        if needed_by == "lalia" and not name.startswith(SUPPLY["OF_TORCH"]):
            assert rows.get(name) == licence, f"{name}: python docs/make_supply.py"


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"License_Expression": "MIT OR Apache-2.0"}, "MIT OR Apache-2.0"),
        ({"License": "MPL-2.0 AND MIT"}, "MPL-2.0 AND MIT"),
        ({"Classifier": "License :: OSI Approved :: Apache Software License"}, "Apache-2.0"),
        ({"License": "3-Clause BSD License\nCopyright"}, "BSD-3-Clause"),
        ({"Classifier": "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"}, "unknown"),
        ({"Classifier": "License :: Free for non-commercial use"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_licence_is_read_from_what_metadata_say(fields, licence):
    assert SUPPLY["find_licence"](metadata(**fields)) == licence


def test_a_licence_that_does_not_fit_is_found():
    licences = {"a": ("GPL-3.0-only", "lalia"), "b": ("MIT", "lalia"), "c": ("unknown", "[track]"), "av": ("x", "[f]")}
    assert SUPPLY["find_unfit"](licences) == ["a (lalia): GPL-3.0-only", "c ([track]): unknown"]


def test_advisories_of_installed_versions_are_told_and_withdrawn_ones_are_not():
    known = {"id": "PYSEC-1", "aliases": ["CVE-2030-1"], "fixed_in": ["2.1"], "link": "https://x", "withdrawn": None}
    with index({("a", "2.0"): [known, known | {"withdrawn": "2031-01-01"}], ("c", "1"): []}) as address:
        told = list(SUPPLY["find_advisories"]({"a": "2.0+cpu", "b": "1", "c": "1"}, address))
    assert told == [
        "a 2.0+cpu: PYSEC-1, CVE-2030-1; mended in 2.1. https://x",
        f"note: b 1 is not known to {address}",
    ]


def test_an_index_that_cannot_be_asked_is_said_so(capsys):
    with index({}) as address:
        pass
    assert SUPPLY["check"](address) == 0
    assert f"Advisories: NOT CHECKED, {address} cannot be asked" in capsys.readouterr().out
