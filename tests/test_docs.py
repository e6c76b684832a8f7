"""Documentation that a command writes is as the command would write it now."""

import re
import runpy
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from adaptation_check import ADAPTATIONS
from lalia.measures.metrics import ALL_METRICS
from lalia.settings import ADAPT_SHORTHANDS, AdaptSettings
from toy_encoders import ENCODERS, FAMILIES, make_encoder

ROOT = Path(__file__).parents[1]


def test_the_page_of_settings_is_true():
    render = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))["render"]
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == render()


def test_the_page_of_encoders_shows_every_encoder_and_adaptation_with_a_result():
    page = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    found, trained = page.split("## What the tests found")[1].split("## What each adaptation trains")
    rows = {cells[0]: cells[1:] for cells in map(cells_of, found.splitlines()) if len(cells) == 5}
    assert list(rows)[2:] == list(ENCODERS)
    for name in ENCODERS:
        assert rows[name][3].startswith(f"{make_encoder(name).min_samples} samples")
    table = [cells for cells in map(cells_of, trained.splitlines()) if len(cells) > 1]
    assert table[0][1:] == list(ADAPTATIONS)
    assert [cells[0] for cells in table[2:]] == FAMILIES
    assert not re.search("failed|not tested", found + trained)


def test_the_table_of_short_names_is_what_the_settings_read():
    page = (ROOT / "docs" / "adaptation.md").read_text(encoding="utf-8")
    table = page.split("## Short names")[1].split("## Adapters")[0]
    rows = [cells_of(line) for line in table.splitlines() if line.startswith("| `")]
    read = TypeAdapter(AdaptSettings).validate_python
    shown = {}
    for short, written_out, _ in rows:
        given = yaml.safe_load(short.strip("`"))
        shown[given if isinstance(given, str) else given["kind"]] = yaml.safe_load(written_out.strip("`"))
        assert read(given) == read(yaml.safe_load(written_out.strip("`")))
    assert list(shown) == list(ADAPT_SHORTHANDS)


def test_every_promise_of_reliability_has_its_test_and_every_test_of_faults_its_promise():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| .+ \| `(test_\w+)` \|$", page, re.MULTILINE)
    assert len(named) == len(set(named)) == page.count("\n| ") - 1
    tests = {
        path: re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE) for path in ROOT.glob("tests/**/*.py")
    }
    assert {*named} <= {name for names in tests.values() for name in names}
    of_faults = {name for path, names in tests.items() if path.parent.name == "faults" for name in names}
    assert of_faults <= {*named}


def test_every_number_of_an_evaluation_is_explained():
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`([a-z0-9_]+)`", page))
    assert not {metric.name for metric in ALL_METRICS} - explained
    reliability = {"krippendorff_alpha", "pairwise_qwk", "icc_a1", "icc_ak", "intra_rater_qwk", "intra_rater_icc"}
    assert reliability <= explained
    for branch in ("baselines", "raters", "reliability", "chance", "decision_curve", "tasks", "thresholds"):
        assert f'["{branch}"]' in page, branch


def test_every_adaptation_in_the_first_table_can_be_read():
    page = (ROOT / "docs" / "adaptation.md").read_text(encoding="utf-8")
    rows = [cells_of(line) for line in page.split("## Short names")[0].splitlines() if line.startswith("| `")]
    kinds = {TypeAdapter(AdaptSettings).validate_python(yaml.safe_load(row[0].strip("`"))).kind for row in rows}
    assert kinds == {"frozen", "partial", "full", "lora", "adalora", "ia3", "soft_prompt"}


def cells_of(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
