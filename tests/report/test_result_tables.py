"""What stands around a result on the page: chance, reliability, groups, confounds, abstention, other runs."""

import json

import pytest

from lalia.report.page import write_report
from toy_report import Page, change_json, make_run, metric


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def text_of(run):
    html = write_report(run).read_text(encoding="utf-8")
    return Page(html.partition("<main")[2].partition("<script>")[0]).text


def html_of(run):
    return (run / "report.html").read_text(encoding="utf-8")


def in_test_part(run, **branches):
    change_json(run / "metrics.json", lambda numbers: numbers["test"].update(branches))


def test_what_is_not_known_has_no_section(run):
    html = write_report(run).read_text(encoding="utf-8")
    for name in ("groups", "decisions", "compared"):
        assert f'id="{name}"' not in html
        assert f'href="#{name}"' not in html
    assert "The data of this run were not audited" in html


def test_chance_stands_beside_the_numbers_of_speakers(run):
    found = {"value": 0.8765, "low": 0.2123, "high": 0.7891, "p": 0.0004, "n": 4}
    undefined = {"value": None, "low": None, "high": None, "p": None, "n": 4, "reason": "one class"}
    in_test_part(run, chance={"slow_rate": {"auc": found, "spearman": undefined}})
    assert "slow_rate 0.88 0.21 to 0.79 < 0.001 – 1" in text_of(run)


def test_reliability_of_the_raters_is_shown(run):
    names = ("krippendorff_alpha", "pairwise_qwk", "icc_a1", "icc_ak")
    in_test_part(run, reliability={"slow_rate": {name: metric(0.6 + place / 10) for place, name in enumerate(names)}})
    assert "slow_rate 0.60 0.55 to 0.65 0.70 0.65 to 0.75 0.80 0.75 to 0.85 0.90 0.85 to 0.95" in text_of(run)


def test_tasks_are_shown_beside_each_other(run):
    in_test_part(run, tasks={"reading": {"recording": {"macro": {"auc": metric(0.66)}, "traits": {}}}})
    assert "mean of all traits reading 0.66 0.61 to 0.71" in text_of(run)


def test_groups_are_drawn_and_those_of_few_people_stay_hidden(run):
    (run / "audit").mkdir()
    place = {"part": "test", "attribute": "sex"}
    shown = place | {"group": "female", "speakers": 7.0, "recordings": 20.0, "trait": "macro"}
    rows = [shown | {"metric": name} | metric(0.7) for name in ("auc", "balanced_accuracy", "spearman", "mae")]
    rows.append(place | {"group": "male", "trait": None, "metric": None, "reason": "not shown: fewer than 5 speakers"})
    rows.append(shown | {"part": "train", "group": "other"})
    (run / "audit" / "subgroups.json").write_text(json.dumps({"groups": rows}))
    text = text_of(run)
    assert "sex female 7 20 0.70 0.65 to 0.75 0.70" in text
    assert "male – 1" in text
    assert "not shown: fewer than 5 speakers" in text
    assert "other" not in text.partition("Groups of speakers")[2].partition("What else could")[0]
    assert 'id="groups-auc-figure_1"' in html_of(run)


def test_the_best_that_hears_nothing_stands_beside_the_model(run):
    def change(numbers):
        numbers["test"]["baselines"]["majority"]["recording"]["traits"]["slow_rate"]["auc"] = metric(0.9123)

    change_json(run / "metrics.json", change)
    assert "0.86 to 0.97 most frequent answer" in text_of(run)


def test_what_an_audit_found_is_told_without_naming_anybody(run):
    (run / "audit").mkdir()
    audit = {
        "findings": [{"check": "few_speakers", "sentence": "Speaker 'speakertest1' is in two.", "recordings": ["x"]}],
        "notes": ["Voices were not compared"],
        "shared_speakers": [{"speaker": "speakertest1"}],
        "duplicates": [{"recording": "test-001"}, {"recording": "test-002"}],
        "confounds": {"snr": {"macro": {"auc": metric(0.77), "spearman": metric(0.4)}}},
        "learning_curve": {"8": {"macro": {"auc": metric(0.61)}}},
    }
    (run / "audit" / "audit.json").write_text(json.dumps(audit))
    text = text_of(run)
    assert "few speakers: Speaker" in text
    assert "speakers in two parts: 1; recordings that are there twice: 2; pairs of speakers who sound alike: 0" in text
    assert "snr mean of all traits 0.77 0.72 to 0.82 0.40 0.35 to 0.45" in text
    assert "8 speakers 0.61 0.56 to 0.66" in text
    assert "speakertest1" not in html_of(run)


def test_abstention_shows_what_is_decided_and_how_often_wrongly(run):
    found = {"coverage": metric(0.7), "risk": metric(0.12), "risk_without": metric(0.2), "curve": [[1.0, 0.2]]}
    in_test_part(run, abstention={"slow_rate": found})
    rule = {"value": {"absent_to": 0.31, "present_from": 0.72}, "reason": None}
    change_json(run / "manifest.json", lambda manifest: manifest.update(decisions={"slow_rate": {"abstention": rule}}))
    text = text_of(run)
    assert "slow_rate 0.70 0.65 to 0.75 0.12 0.07 to 0.17 0.20 0.15 to 0.25 0.31 0.72" in text
    assert html_of(run).count('id="trait-2-slow-rate-coverage-figure_1"') == 1
    assert "trait-1-hoarse-harsh-coverage" not in html_of(run)


def test_other_runs_are_compared(run):
    (run / "compare").mkdir()
    row = {"unit": "recording", "first_run": "a", "second_run": "b", "trait": "macro", "metric": "auc"}
    row |= {"first": 0.61, "second": 0.72, "difference": 0.11, "low": -0.01, "high": 0.2, "p": 0.0444, "p_holm": 0.2}
    other = {"trait": "slow_rate", "second": None, "difference": None, "low": None, "high": None, "p": None}
    (run / "compare" / "compare.json").write_text(json.dumps({"differences": [row, row | other | {"p_holm": None}]}))
    text = text_of(run)
    assert "b compared with a, per recording mean of all traits, AUC 0.61 0.72 0.11 −0.01 to 0.20 0.044 0.200" in text
    assert "slow_rate, AUC 0.61 – 1 – 1 – –" in text


def test_bca_intervals_stand_beside_the_others(run):
    def change(numbers):
        numbers["test"]["recording"]["traits"]["slow_rate"]["auc"] |= {"bca_low": 0.111, "bca_high": 0.999}

    change_json(run / "metrics.json", change)
    text = text_of(run)
    assert "model, BCa interval" in text
    assert " 0.11 to 1.00 " in text


@pytest.mark.parametrize(("count", "said"), [(1, "evaluated once."), (3, "evaluated 3 times: whoever")])
def test_how_often_the_test_part_was_looked_at_is_told(run, count, said):
    change_json(run / "manifest.json", lambda manifest: manifest.update(test_evaluations=count))
    assert f"The test part was {said}" in text_of(run)


def test_net_benefit_is_drawn_where_it_is_known(run):
    undefined = {"value": None, "low": None, "high": None, "n": 8, "reason": "one class"}
    curve = {at: {"model": metric(0.3), "all": metric(0.2)} for at in ("0.1", "0.5")}
    in_test_part(run, decision_curve={"slow_rate": curve, "hoarse_harsh": {"0.1": {"model": undefined}}})
    write_report(run)
    assert 'id="trait-2-slow-rate-benefit-figure_1"' in html_of(run)
    assert "trait-1-hoarse-harsh-benefit" not in html_of(run)


def test_levels_have_how_true_their_probabilities_are(run):
    def change(numbers):
        traits = {"slow_rate": {"brier": metric(0.21), "calibration_slope": metric(0.83), "counts": {"rated": 8}}}
        numbers["test"]["recording"]["thresholds"] = {"3": {"traits": traits, "macro": {}}}

    change_json(run / "metrics.json", change)
    assert "3 or above 0.21 0.16 to 0.26 0.83 0.78 to 0.88" in text_of(run)


def test_repeats_of_raters_are_shown_only_where_there_are_some(run):
    in_test_part(run, reliability={"slow_rate": {"krippendorff_alpha": metric(0.6)}})
    assert "rater's repeats" not in text_of(run)
    in_test_part(run, reliability={"slow_rate": {"intra_rater_qwk": metric(0.6)}})
    assert "kappa of a rater's repeats" in text_of(run)
