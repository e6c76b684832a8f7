"""The lists of reviewers, filled from a run's folder and by people."""

import csv
import io
import json
import re
from dataclasses import astuple

import pandas as pd
import pytest
import yaml

from lalia.errors import RunError
from lalia.report.answers import ANSWERS_FILE, read_answers, write_template
from lalia.report.checklist import BY_LALIA, BY_USER, FACTS, FAILED, OPEN, build_checklist, count_statuses, to_csv
from lalia.report.contents import read_contents
from lalia.report.facts import data, model, results
from lalia.report.items import load_lists
from lalia.report.page import write_report
from toy_report import EVIL, Page, change_json, make_run, metric

TRIPOD, CLAIM, DEVELOPMENT, EVALUATION = (one.name for one in load_lists())


@pytest.fixture
def toy(run_of_all_traits):
    return run_of_all_traits


def rows_of(folder, answers=None):
    return {(row.list, row.item): row for row in build_checklist(read_contents(folder), answers or {})}


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_lists_have_the_items_that_were_published():
    numbers = {one.name: [item.number for item in one] for one in load_lists()}
    tripod = numbers[TRIPOD]
    assert len(tripod) == len(set(tripod)) == 52
    assert sorted({int(re.match(r"\d+", number)[0]) for number in tripod}) == list(range(1, 28))
    assert numbers[CLAIM] == [str(number) for number in range(1, 45)]
    shared = ["1.1", "1.2", "1.3", "2.1", "2.2", "2.3", "2.4", "3.1", "3.2", "3.3", "3.4"]
    assert numbers[DEVELOPMENT] == [*shared, "4.1", "4.2", "4.3", "4.4", "4.5"]
    assert numbers[EVALUATION] == [*shared, "4.1", "4.2", "4.3", "4.4", "4.5", "4.6", "4.7"]


def test_every_fact_is_asked_for_and_every_one_that_is_asked_for_is_there():
    assert {item.fact for one in load_lists() for item in one if item.fact} == set(FACTS)


def test_a_finished_run_has_all_items_in_its_csv_and_its_report(toy):
    rows = read_csv((toy / "checklist.csv").read_text())
    assert [(row["list"], row["item"]) for row in rows] == [
        (one.name, item.number) for one in load_lists() for item in one
    ]
    assert {row["status"] for row in rows} == {BY_LALIA, OPEN, FAILED}
    text = Page((toy / "report.html").read_text()).text
    for row in rows:
        assert f"{row['item']} {row['domain']} {row['asks']} {row['status']}" in text
    for name, counts in count_statuses(build_checklist(read_contents(toy), {})).items():
        assert f"{name} {' '.join(map(str, counts))} {sum(counts)}" in text


def test_values_are_those_of_the_runs_files(toy):
    rows = rows_of(toy)
    manifest = json.loads((toy / "manifest.json").read_text())
    numbers = json.loads((toy / "metrics.json").read_text())["test"]
    settings = yaml.safe_load((toy / "config.yaml").read_text())
    history = pd.read_csv(toy / "history.csv")
    split = pd.read_csv(toy / "split.csv")
    said = {number: row.value for (name, number), row in rows.items() if name == TRIPOD}
    claim = {number: row.value for (name, number), row in rows.items() if name == CLAIM}

    assert manifest["hashes"]["split"] in said["12a"]
    for part, recordings in split.groupby("part"):
        assert f"{part} {len(recordings)} recordings of {recordings['speaker'].nunique()} speakers" in said["20a"]
    for trait, found in numbers["recording"]["traits"].items():
        counts = found["counts"]
        assert f"{trait} {counts['present']} of {counts['rated']}" in said["21"].partition("test: ")[2]
    macro = numbers["recording"]["macro"]
    assert f"AUC {macro['auc']['value']:.2f}, " in said["23a"]
    error = macro["mae"]
    assert f"error {error['value']:.2f} ({error['low']:.2f} to {error['high']:.2f})" in said["23a"]
    for name, version in manifest["versions"].items():
        assert f"{name} {version}" in claim["23"]
    adaptation = manifest["adaptation"]
    assert f"{adaptation['trainable_parameters']:,} of {adaptation['parameters']:,} parameters" in claim["22"]
    assert f"windows of {settings['audio']['window_seconds']:g} s" in said["7"]
    assert f"{len(history)} of at most {settings['train']['epochs']} epochs" in claim["25"]
    assert f"training loss of the last epoch {history['train_loss'].iloc[-1]:.2f}" in claim["25"]
    best = history.loc[history["is_best"], "epoch"].item()
    assert claim["26"].startswith(f"epoch {best}, by the loss")
    reasons = pd.DataFrame(manifest["flow"]["excluded_ratings"])["reason"].value_counts()
    for reason, count in reasons.items():
        assert f"{reason} ({count})" in said["11"]
    assert f"none of {split['speaker'].nunique()} speakers is in two parts" in claim["20"]


def test_few_speakers_and_missing_intervals_are_failures(toy):
    rows = rows_of(toy)
    assert rows[TRIPOD, "10"].status == rows[CLAIM, "21"].status == rows[EVALUATION, "4.2"].status == FAILED
    assert rows[TRIPOD, "10"].value.startswith("2 rated speakers in the test part")
    assert rows[CLAIM, "37"].status == FAILED
    assert "without an interval: AUC per recording (mean)" in rows[CLAIM, "37"].value
    assert rows[CLAIM, "33"].status == FAILED
    assert rows[CLAIM, "32"].status == BY_LALIA


def test_no_id_and_no_path_is_in_the_checklist(toy, tmp_path):
    split = pd.read_csv(toy / "split.csv")
    run = make_run(tmp_path / "run", report={"show_ids": True})
    change_json(run / "manifest.json", lambda manifest: manifest["warnings"].append("recording 'test-001' is odd"))
    write_report(run)
    for folder, secrets in (
        (toy, {*split["recording"], *split["speaker"]}),
        (run, {"test-001", "speakertest", "anna"}),
    ):
        text = (folder / "checklist.csv").read_text()
        for secret in (*secrets, str(folder.parent), "/home"):
            assert secret not in text


def test_a_good_run_fails_in_nothing_but_what_it_lacks(tmp_path):
    run = make_run(tmp_path / "run")
    table = pd.read_csv(run / "predictions.csv")
    many = [table.assign(recording=table["recording"] + f"-{n}", speaker=table["speaker"] + f"-{n}") for n in range(8)]
    pd.concat(many).to_csv(run / "predictions.csv", index=False)
    pd.DataFrame({"recording": ["a", "b"], "speaker": ["1", "2"], "part": ["train", "test"]}).to_csv(
        run / "split.csv", index=False
    )
    failed = {place for place, row in rows_of(run).items() if row.status == FAILED}
    # one split, one seed, one table, and no measure of calibration in the made-up numbers
    assert failed == {(CLAIM, "30"), (CLAIM, "33"), (EVALUATION, "4.7")}


@pytest.mark.parametrize("parts", [("train", "validation"), ("train",)])
def test_a_run_without_a_test_part_fails_where_one_is_asked_for(tmp_path, parts):
    rows = rows_of(make_run(tmp_path / "run", parts=parts))
    for place in ((TRIPOD, "12a"), (TRIPOD, "10"), (TRIPOD, "23a"), (CLAIM, "32"), (CLAIM, "37"), (EVALUATION, "4.1")):
        assert rows[place].status == FAILED, place
    part = "validation part, which chose epoch" if "validation" in parts else "training part"
    assert part in rows[EVALUATION, "4.1"].value
    assert (rows[DEVELOPMENT, "4.5"].status == FAILED) == ("validation" not in parts)


def test_undefined_metrics_are_failures_with_their_reason(tmp_path):
    run = make_run(tmp_path / "run")
    assert rows_of(run)[CLAIM, "37"].status == BY_LALIA
    undefined = metric(None, reason="only one class")
    change_json(
        run / "metrics.json", lambda numbers: numbers["test"]["recording"]["traits"]["slow_rate"].update(auc=undefined)
    )
    row = rows_of(run)[CLAIM, "37"]
    assert (row.status, row.value.split(";")[0]) == (FAILED, "undefined: AUC of slow_rate (only one class)")


def test_a_speaker_in_two_parts_is_a_failure(tmp_path):
    run = make_run(tmp_path / "run")
    assert "split.csv is missing" in rows_of(run)[CLAIM, "20"].value
    table = pd.DataFrame({"recording": ["a", "b"], "speaker": ["1", "1"], "part": ["train", "test"]})
    table.to_csv(run / "split.csv", index=False)
    row = rows_of(run)[CLAIM, "20"]
    assert (row.status, row.value) == (FAILED, "1 of 1 speakers are in two parts")


def test_weights_by_level_without_calibration_are_a_failure(tmp_path):
    weighted = {"loss": {"level_weights": "inverse_frequency"}}
    bad = rows_of(make_run(tmp_path / "bad", train=weighted))[DEVELOPMENT, "4.4"]
    assert bad.status == FAILED
    mended = make_run(tmp_path / "mended", train=weighted, decisions={"calibration": "platt"})
    assert rows_of(mended)[DEVELOPMENT, "4.4"].status == BY_LALIA


@pytest.mark.parametrize(
    ("names", "status"),
    [((), FAILED), (("calibration_slope",), OPEN), (("calibration_slope", "net_benefit"), BY_LALIA)],
)
def test_calibration_and_net_benefit_complete_the_measures(tmp_path, names, status):
    run = make_run(tmp_path / "run")
    more = {name: metric(0.9) for name in names}
    change_json(run / "metrics.json", lambda numbers: numbers["test"]["recording"]["macro"].update(more))
    assert rows_of(run)[EVALUATION, "4.7"].status == status


def test_a_test_part_that_was_given_may_come_from_elsewhere(tmp_path):
    run = make_run(tmp_path / "run", split={"kind": "column", "column": "part"})
    rows = rows_of(run)
    assert rows[CLAIM, "33"].status == rows[TRIPOD, "16"].status == OPEN
    assert rows_of(run, {(CLAIM, "33"): "Clinic B"})[CLAIM, "33"].status == BY_USER


def test_groups_of_an_audit_are_shown_and_hidden_ones_counted(tmp_path):
    run = make_run(tmp_path / "run")
    before = rows_of(run)
    assert before[TRIPOD, "23b"].status == before[TRIPOD, "23a"].status == OPEN
    place = {"part": "test", "attribute": "sex", "speakers": 7, "trait": "macro", "metric": "auc"}
    rows = [place | metric(0.7) | {"group": "f"}, {"part": "test", "attribute": "sex", "group": "m", "reason": "few"}]
    (run / "audit").mkdir()
    (run / "audit" / "subgroups.json").write_text(json.dumps({"min_speakers": 5, "groups": rows}))
    after = rows_of(run)
    assert after[TRIPOD, "23b"].status == after[TRIPOD, "23a"].status == BY_LALIA
    assert (
        after[TRIPOD, "23b"].value
        == "by group: sex f AUC 0.70 (0.65 to 0.75) of 7 speakers, 1 of few people, not shown"
    )


def test_answers_come_back_and_survive(tmp_path):
    run = make_run(tmp_path / "run")
    given = f"{TRIPOD}:\n  3a: To rate voices.\n  17: |\n    Board X\n    No. 5\n{EVALUATION}:\n  1.1: Two clinics\n"
    (run / ANSWERS_FILE).write_text(given)
    for _ in range(2):
        page = Page(write_report(run).read_text())
        assert (run / ANSWERS_FILE).read_text() == given
    rows = {(row["list"], row["item"]): row for row in read_csv((run / "checklist.csv").read_text())}
    assert {place for place, row in rows.items() if row["status"] == BY_USER} == {
        (TRIPOD, "3a"),
        (TRIPOD, "17"),
        (EVALUATION, "1.1"),
    }
    assert rows[TRIPOD, "17"]["answer"] == "Board X\nNo. 5"
    assert rows[TRIPOD, "18a"]["status"] == OPEN
    assert f"{BY_USER} To rate voices." in page.text


def test_an_answer_explains_a_failure_and_fills_what_may_be_elsewhere(tmp_path):
    answers = {(CLAIM, "21"): "All there were", (CLAIM, "33"): "Tested in B", (CLAIM, "23"): "and R 4"}
    rows = rows_of(make_run(tmp_path / "run"), answers)
    assert (rows[CLAIM, "21"].status, rows[CLAIM, "21"].answer) == (FAILED, "All there were")
    assert rows[CLAIM, "33"].status == BY_USER
    assert (rows[CLAIM, "23"].status, rows[CLAIM, "23"].answer) == (BY_LALIA, "and R 4")


def test_the_file_to_fill_in_names_every_item_and_answers_none(tmp_path):
    template = yaml.safe_load(write_template(tmp_path).read_text())
    assert {name: [str(number) for number in given] for name, given in template.items()} == {
        one.name: [item.number for item in one] for one in load_lists()
    }
    assert read_answers(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CLAIM:\n  45: x\n", r"has 1 problem: CLAIM has no item '45' \(did you mean '44'\?\)"),
        (
            "TRIPOD+AI:\n  3: x\n  99: y\n",
            r"2 problems: TRIPOD\+AI has no item '3' \(did you mean '3a'\?\), .* item '99' \(did you mean '27a'\?\)",
        ),
        ("PROBAST+AI evaluation:\n  4.8: x\n", r"no item '4.8' \(did you mean '4.7'\?\)"),
        ("CLAIM:\n  title: x\n", "CLAIM has no item 'title'[.]"),
        ("TRIPOD-AI:\n  1: x\n", r"'TRIPOD-AI' is no list \(did you mean 'TRIPOD\+AI'\?\)"),
        ("CLAIM:\n  1: [a]\n", "CLAIM 1: the answer must be text"),
        ("CLAIM: yes\n", "CLAIM must hold items and their answers"),
        ("- a\n", "it must hold lists such as"),
        ("CLAIM:\n  1: a\n  1: b\n", "'1' stands twice"),
        ("CLAIM:\n  1: &a b\n  2: *a\n", "aliases are not allowed"),
        ("CLAIM: {1: x", "is not valid YAML"),
    ],
)
def test_answers_that_fit_no_item_are_refused(tmp_path, text, message):
    (tmp_path / ANSWERS_FILE).write_text(text)
    with pytest.raises(RunError, match=message):
        read_answers(tmp_path)


def test_hostile_text_stays_text(tmp_path):
    run = make_run(tmp_path / "run", traits=(EVIL, "slow_rate"))
    formulas = ['=HYPERLINK("x")', "+1", "-2+3", "@SUM(A1)", "＝1", "\t=1"]
    answers = {str(number): text for number, text in enumerate([EVIL, *formulas], start=2)}
    (run / ANSWERS_FILE).write_text(yaml.safe_dump({CLAIM: answers}))
    page = Page(write_report(run).read_text())
    assert "script" not in page.tags
    text = (run / "checklist.csv").read_text()
    rows = {(row["list"], row["item"]): row for row in read_csv(text)}
    assert rows[CLAIM, "2"]["answer"] == EVIL
    assert [rows[CLAIM, str(number)]["answer"] for number in range(3, 9)] == [f"'{one.strip()}" for one in formulas]
    for row in csv.reader(io.StringIO(text)):
        assert not [cell for cell in row if cell.lstrip()[:1] and cell.lstrip()[:1] in "=+-@＝＋－＠"]
    assert EVIL in rows[TRIPOD, "1"]["value"]


def test_csv_brings_every_row_back(tmp_path):
    rows = list(rows_of(make_run(tmp_path / "run")).values())
    assert [tuple(row.values()) for row in read_csv(to_csv(rows))] == [astuple(row) for row in rows]


def test_facts_tell_chance_reliability_how_often_the_test_part_was_evaluated_and_abstention(tmp_path):
    run = make_run(tmp_path / "run", decisions={"abstain": {"kind": "entropy", "coverage": 0.8}})

    def add(metrics):
        chance = {"auc": {"value": 0.8, "p": 0.01}, "spearman": {"value": 0.2, "p": 0.3}}
        agreed = {"krippendorff_alpha": {"value": 0.61}, "intra_rater_qwk": {"value": 0.72}, "icc_a1": {"value": None}}
        left = {"coverage": {"value": 0.8}, "risk": {"value": 0.1}}
        metrics["test"] |= {"chance": {"a": chance}, "reliability": {"a": agreed}, "abstention": {"a": left}}

    change_json(run / "metrics.json", add)
    change_json(run / "manifest.json", lambda manifest: manifest.update(test_evaluations=3))
    contents = read_contents(run)
    assert "beyond chance (p of 0.05 or less" in results.uncertainty(contents).value
    assert "AUC of 1 of 1 traits, Spearman of 0 of 1 traits" in results.uncertainty(contents).value
    assert "evaluated 3 times: its numbers are too good" in results.internal(contents).value
    said = data.agreement(contents).value
    assert "between raters: Krippendorff's alpha 0.61 over the traits" in said
    assert "a rater with themselves: quadratic kappa 0.72 over the traits" in said
    assert "left open (entropy): a 0.80 decided, 0.10 of them wrongly" in model.output(contents).value


def test_a_run_without_chance_reliability_and_abstention_says_so(tmp_path):
    contents = read_contents(make_run(tmp_path / "run"))
    assert "no test of significance" in results.uncertainty(contents).value
    assert "of a rater with themselves: not measured" in data.agreement(contents).value
    assert "every recording is decided" in model.output(contents).value
