"""A run on a corpus whose every field would like to be more than text, without a network: what it leaves behind."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from lalia.data.splits import read_split
from lalia.evaluation.predictions import read_predictions
from toy_hostile import CANARIES, write_hostile_corpus
from toy_report import Page

TESTS = Path(__file__).parent
_TEXTS = {".csv", ".html", ".json", ".md", ".svg", ".yaml", ".yml", ".out", ".err"}

# where what was planted may be found: in what holds the data of a run, and else nowhere; docs/privacy.md says the same
_OF_RUN = ("run/data.csv", "run/manifest.json", "run/predictions.csv", "run/split.csv")
_GROUPS = ("run/audit/subgroups.csv", "run/audit/subgroups.json", "audit/audit.json", "audit/quality_differences.csv")
ALLOWED = {
    "id": {*_OF_RUN, "audit/quality.csv"},
    "speaker": {"run/predictions.csv", "run/split.csv", "audit/quality.csv"},
    "date": set(),
    # a group that the table names, of several people or else hidden
    "task": {
        *(*_GROUPS, "run/metrics.json", "run/report.html", "run/checklist.csv", "run/model/README.md"),
        *("pushed/README.md", "lalia.out"),
    },
    "site": {*_GROUPS, "run/report.html", "lalia.out", "lalia.err"},
    # a rater that has a head in the model
    "rater": {"run/manifest.json", "run/model/config.json", "run/model-last/config.json"},
    "comment": set(),
    # given on the command line, and so the id of what is rated
    "file": {"rated.csv", "lalia.out"},
    "stranger": {"run/manifest.json", "lalia.out", "lalia.err"},
    "excluded": {"run/config.yaml", "run/manifest.json"},
    "unreadable": {"run/manifest.json"},
    "folder": {"run/config.yaml", "lalia.out"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All that the commands have written, and what they were given."""
    folder = tmp_path_factory.mktemp("hostile")
    config = write_hostile_corpus(folder / "given")
    place = folder / "made"
    place.mkdir()
    paths = (TESTS / "no_network", TESTS, *filter(None, [os.environ.get("PYTHONPATH")]))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "LALIA_TRIED": str(folder / "tried"),
        "XDG_CACHE_HOME": str(place / "cache"),
    }
    # as on a machine of a user: nothing is told to stay offline
    environment.pop("HF_HUB_OFFLINE", None)
    with (place / "lalia.out").open("w") as out, (place / "lalia.err").open("w") as err:
        subprocess.run(
            [*_without_network(), sys.executable, str(TESTS / "hostile_commands.py"), str(config), str(place)],
            env=environment,
            cwd=place,
            stdout=out,
            stderr=err,
            check=False,
            timeout=300,
        )
    (run,) = (place / "runs").iterdir()
    given = pd.read_csv(config.parent / "metadata.csv", dtype=str, keep_default_na=False)
    return SimpleNamespace(place=place, run=run, given=given, config=config, tried=folder / "tried")


def _without_network():
    """Return what starts a process that has no network at all, nothing where the system does not allow that."""
    command = ["unshare", "--map-root-user", "--net"]
    is_allowed = shutil.which("unshare") and not subprocess.run([*command, "true"], capture_output=True).returncode
    return command if is_allowed else []


def files_of(made):
    """Yield the name of each file that was made, as in ``ALLOWED``, and what it holds; not those of the demo."""
    for path in sorted(path for path in made.place.rglob("*") if path.is_file()):
        if (made.place / "demo") not in path.parents:
            name = path.relative_to(made.place).as_posix().replace(f"runs/{made.run.name}/", "run/")
            yield name, path.read_bytes()


def test_the_commands_do_their_work_without_a_network(made):
    codes = json.loads((made.place / "codes.json").read_text())
    said = (made.place / "lalia.err").read_text()
    assert codes == dict.fromkeys(codes, 0) | {"an error": 2}, said
    assert "Traceback" not in said


def test_nothing_is_sent_to_other_machines(made):
    assert not made.tried.exists(), made.tried.read_text()


@pytest.mark.parametrize(
    "call", ["socket.create_connection((name, 80), 1)", "urllib.request.urlopen(f'http://{name}')"]
)
def test_the_guard_of_the_network_notes_what_is_tried(tmp_path, call):
    tries = "import socket, urllib.request\nfor name in ('10.0.0.1', 'huggingface.co'):"
    tries += f"\n    try: {call}\n    except OSError: pass"
    environment = os.environ | {"PYTHONPATH": str(TESTS / "no_network"), "LALIA_TRIED": str(tmp_path / "tried")}
    subprocess.run([sys.executable, "-c", tries], env=environment, check=True, timeout=60)
    assert len(re.findall("^(getaddrinfo|connect) ", (tmp_path / "tried").read_text(), re.MULTILINE)) == 2


def test_what_was_planted_is_found_only_where_the_data_of_a_run_are(made):
    found = {field: set() for field in CANARIES}
    for name, content in files_of(made):
        if name.endswith(".pdf"):
            content += b"".join(map(_inflate, re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL)))
        for field, canary in CANARIES.items():
            if canary.encode() in content or canary in name:
                found[field].add(name)
    assert {field: found[field] - places for field, places in ALLOWED.items() if found[field] - places} == {}
    # the search finds what is there
    for field in ("id", "speaker", "rater", "folder"):
        assert found[field] == ALLOWED[field], field
    # the names of traits are the model's own
    assert "pushed/config.json" in found["trait"]


def _inflate(stream):
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return stream


def test_every_file_of_a_run_has_its_row_in_the_page_on_privacy(made):
    page = (TESTS.parent / "docs" / "privacy.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \|", page.split("## Elsewhere")[0], re.MULTILINE)
    shown = [pattern for row in rows for pattern in re.findall("`([^`]+)`", row)]
    written = [path.relative_to(made.run).as_posix() for path in made.run.rglob("*") if path.is_file()]
    assert [name for name in written if not any(fnmatch(name, pattern) for pattern in shown)] == []
    unseen = {pattern for pattern in shown if not any(fnmatch(name, pattern) for name in written)}
    assert unseen == {"explain/*", "folds/*", "inner/*", "choice.csv"}


def test_the_pushed_folder_and_the_cache_hold_nothing_of_anybody(made):
    kept = [name for name, _ in files_of(made) if name.startswith(("pushed/", "cache/lalia/"))]
    assert sum(name.startswith("pushed/") for name in kept) == 3
    assert len(kept) > 10
    personal = set(CANARIES) - {"trait", "task"}
    for name, content in files_of(made):
        if name in kept:
            assert not [field for field in personal if CANARIES[field].encode() in content], name


def test_no_file_holds_what_a_terminal_obeys(made):
    hidden = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
    looked_at = 0
    for name, content in files_of(made):
        if Path(name).suffix in _TEXTS:
            assert not hidden.search(content.decode()), name
            looked_at += 1
    assert looked_at > 40


@pytest.mark.parametrize("separator", [",", ";"])
def test_no_cell_of_any_table_is_a_formula(made, separator):
    tables = [(name, content.decode()) for name, content in files_of(made) if name.endswith(".csv")]
    assert len(tables) >= 13
    for name, text in tables:
        for row in csv.reader(io.StringIO(text), delimiter=separator):
            texts = [cell for cell in row if not re.fullmatch(r"-?[\d.,e-]*", cell)]
            assert not [cell for cell in texts if cell.strip().startswith(tuple("=+-@\t\r"))], name


def test_ids_come_back_from_the_tables_as_they_were(made):
    given = dict(zip(made.given["id"], made.given["speaker"], strict=True))
    for table in (read_predictions(made.run), read_split(made.run / "split.csv").parts):
        assert len(table)
        assert {name: given[name] for name in table["recording"]} == dict(
            zip(table["recording"], table["speaker"], strict=True)
        )


def test_the_page_of_hostile_names_has_no_element_of_theirs(made):
    page = Page((made.run / "report.html").read_text())
    assert page.tags.count("script") == 1
    assert not {"img", "iframe", "object", "embed", "link"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "<img src=x onerror=alert(1)>" in page.text


def test_markup_in_names_stays_out_of_the_card_and_the_figures(made):
    card = (made.run / "model" / "README.md").read_text()
    assert not re.search("<(?!!--)", card)
    drawn = list((made.run / "figures").glob("*.svg"))
    assert len(drawn) > 10
    assert not [path.name for path in drawn if re.search("<(script|img)", path.read_text())]


def test_folders_that_hold_data_are_closed_to_others(made):
    private = [made.run, made.place / "audit", made.place / "pushed", made.place / "cache" / "lalia" / "activations"]
    assert [oct(path.stat().st_mode & 0o777) for path in private] == ["0o700"] * 4
    assert not (made.place / "rated.csv").stat().st_mode & 0o077
