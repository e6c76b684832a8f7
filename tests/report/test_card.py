"""The model card of a finished run: what is known, the gaps, and when it is written anew."""

import json
import re
import shutil

import pandas as pd
import pytest
import yaml

from lalia.report.card import GAP, describe_rater, refresh_card

SECTIONS = [
    *("Intended use", "How to use", "Model", "Data", "Raters", "Results", "Groups of speakers", "Confounds", "Limits"),
    *("Compute", "Licences"),
]


@pytest.fixture
def run(run_of_all_traits, tmp_path):
    return shutil.copytree(
        run_of_all_traits, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "model-last")
    )


def sections(card):
    _, *found = re.split(r"^## (.+)$", card, flags=re.MULTILINE)
    return dict(zip(found[::2], found[1::2], strict=True))


def write_audit(run, groups=(), findings=()):
    (run / "audit").mkdir()
    (run / "audit" / "subgroups.json").write_text(json.dumps({"min_speakers": 5, "groups": list(groups)}))
    (run / "audit" / "audit.json").write_text(json.dumps({"findings": list(findings)}))


def test_every_section_is_there_and_what_nobody_knows_is_a_gap(run):
    found = sections((run / "model" / "README.md").read_text())
    assert list(found) == SECTIONS
    for section, asked in {
        "Intended use": ("Meant for", "Contact"),
        "Data": ("Speakers, languages",),
        "Raters": ("Number of raters", "Who they are"),
        "Groups of speakers": ("By age, sex, site",),
        "Confounds": ("Age, sex, site",),
        "Limits": ("Known failures",),
        "Compute": ("Energy",),
        "Licences": ("License:", "License of the encoder:", "Consent of the speakers"),
    }.items():
        for words in asked:
            assert re.search(rf"{words}.*{re.escape(GAP)}", found[section]), (section, words)


def test_numbers_are_those_of_the_runs_files(run):
    found = sections(describe_rater(run / "model"))
    manifest = json.loads((run / "manifest.json").read_text())
    numbers = json.loads((run / "metrics.json").read_text())["test"]
    assert f"SHA-256 {manifest['hashes']['split']}" in found["Data"]
    assert "In the table: 16 recordings of 8 speakers; left out: 0" in found["Data"]
    assert f"Seconds: {manifest['seconds']}," in found["Compute"]
    assert f"Processes: {manifest['processes']}" in found["Compute"]
    assert f"torch {manifest['versions']['torch']}" in found["Compute"]
    for name, tree in [*numbers["recording"]["traits"].items(), ("mean of the traits", numbers["recording"]["macro"])]:
        assert f"| {name} | {tree['auc']['value']:.2f} |" in found["Results"]
        assert (
            f"| {tree['mae']['value']:.2f} ({tree['mae']['low']:.2f} to {tree['mae']['high']:.2f}) |"
            in found["Results"]
        )
    assert (
        f"| duration | {numbers['baselines']['duration']['recording']['macro']['auc']['value']:.2f} |"
        in found["Confounds"]
    )
    assert f"spearman {numbers['raters']['recording']['macro']['spearman']['value']:.2f}" in found["Raters"]
    assert "several, combined by their median" in found["Raters"]
    assert "rest on 2 speakers, fewer than 30" in found["Limits"]


def test_groups_and_confounds_of_an_audit_come_in_and_hidden_groups_stay_hidden(run):
    place = {"part": "test", "attribute": "sex", "group": "f", "speakers": 7, "recordings": 9, "trait": "macro"}
    write_audit(
        run,
        [
            place | {"metric": "auc", "value": 0.7, "low": 0.6, "high": 0.8, "n": 6},
            place | {"metric": "mae", "value": None, "low": None, "high": None, "n": 0},
            {"part": "test", "attribute": "sex", "group": "<b>m", "reason": "not shown: fewer than 5 speakers"},
            place | {"part": "train", "group": "other", "metric": "auc", "value": 0.9, "low": None, "high": None},
        ],
        [
            {"check": "confounds", "sentence": "The site alone predicts slow_rate <script>: 0.81."},
            {"check": "duplicates", "sentence": "Recordings 'S001_1' and 'S002_1' are the same file."},
        ],
    )
    found = sections(describe_rater(run / "model"))
    assert "| sex | f | 7 | 0.70 (0.60 to 0.80) | - | - | - |" in found["Groups of speakers"]
    assert "| sex | 1 group | not shown: fewer than 5 speakers |" in " ".join(found["Groups of speakers"].split())
    assert "b m" not in found["Groups of speakers"]
    assert "other" not in found["Groups of speakers"]
    assert "- The site alone predicts slow_rate script : 0.81." in found["Confounds"]
    assert "S001" not in found["Confounds"]
    assert GAP not in found["Groups of speakers"] + found["Confounds"]


def test_a_card_names_no_recording_no_speaker_and_no_path(run, run_of_all_traits):
    split = pd.read_csv(run / "split.csv")
    card = (run / "model" / "README.md").read_text()
    for secret in (*split["recording"], *split["speaker"], str(run_of_all_traits.parents[1]), "metadata.csv"):
        assert secret not in card


def test_numbers_of_the_validation_part_are_said_to_flatter(run):
    numbers = json.loads((run / "metrics.json").read_text())
    del numbers["test"]
    (run / "metrics.json").write_text(json.dumps(numbers))
    found = sections(describe_rater(run / "model"))
    assert "On the validation part" in found["Results"]
    assert "the numbers flatter" in found["Results"]
    assert "There is no test part" in found["Limits"]


def test_a_card_is_written_anew_until_people_change_it(run):
    card = run / "model" / "README.md"
    before = card.read_text()
    assert refresh_card(run) == card
    assert card.read_text() == before
    write_audit(run, findings=[{"check": "confounds", "sentence": "The site alone predicts it."}])
    assert refresh_card(run) == card
    assert "The site alone" in card.read_text()
    filled = card.read_text().replace(f"Contact: {GAP}", "Contact: us")
    card.write_text(filled)
    assert refresh_card(run) is None
    assert card.read_text() == filled
    assert yaml.safe_load(filled.split("---\n")[1])["library_name"] == "lalia"
