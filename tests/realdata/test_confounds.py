"""On speechocean762: what no speech tells of pronunciation is known, and the audit finds it and nothing else."""

import os
from pathlib import Path

import pytest

from lalia.config import load_config
from lalia.run_audit import run_audit

DATA = Path(os.environ.get("LALIA_REAL_DATA", Path(__file__).parents[3] / "shared" / "data")) / "speechocean762"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real recordings are not here")

SETTINGS = """\
name: readings
data:
  layout: path
  columns: {recording: utt, path: file, speaker: speaker}
  covariates: [age, gender]
  traits: [accuracy, fluency, prosodic]
  scale: {levels: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], present_from: 8}
  raters: "{trait}_r{rater}"
split: {kind: column, column: split, validation: 0.2}
model:
  encoder: {random: whisper, layers: 1, width: 16, heads: 2}
  layers: last
"""


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    (folder / "run.yaml").write_text(SETTINGS.replace("data:\n", f"data:\n  metadata: {DATA / 'metadata.csv'}\n"))
    return run_audit(load_config(folder / "run.yaml", [f"runs={folder}", f"cache={{dir: {folder / 'cache'}}}"]))


def test_duration_alone_predicts_what_it_is_known_to(audit):
    # Pearson .48, .63 and .60 on these 500
    known = {"accuracy": 0.53, "fluency": 0.67, "prosodic": 0.63}
    for trait, value in known.items():
        assert audit.confounds["duration"][trait]["spearman"].value == pytest.approx(value, abs=0.04)


def test_nothing_else_is_told_of_but_rare_levels(audit):
    told = {finding.sentence for finding in audit.findings}
    assert all("duration" in one or one.startswith(("All nuisance variables", "Few people")) for one in told)
    assert audit.duplicates.empty
    assert audit.shared_speakers.empty


def test_a_split_of_recordings_would_flatter(audit):
    for trait in ("accuracy", "fluency", "prosodic"):
        found = audit.identity[trait]
        assert found.by_recording.value > found.by_speaker.value
        assert found.permuted.mean() > 0.53


def test_more_speakers_still_help(audit):
    values = [tree["macro"]["spearman"].value for tree in audit.curve.values()]
    assert list(audit.curve)[-1] == 200
    assert values[-1] > values[0] + 0.1
