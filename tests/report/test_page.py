"""The report of a small made-up run, told from its folder alone."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lalia.errors import RunError
from lalia.report.contents import hash_id
from lalia.report.page import write_report
from toy_report import EVIL, METRICS, Page, change_json, make_run, metric


def read(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its report: to be read, not changed."""
    run = make_run(tmp_path_factory.mktemp("plain") / "run")
    write_report(run)
    return run


def read_written(run: Path) -> Page:
    return Page((run / "report.html").read_text(encoding="utf-8"))


def test_report_is_written_with_the_checklist_and_nothing_else_is_left(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    before = {path.name for path in run.iterdir()}
    assert write_report(run) == run / "report.html"
    assert {path.name for path in run.iterdir()} == before | {"report.html", "checklist.csv", "checklist-answers.yaml"}


def test_same_files_give_the_same_bytes(plain: Path) -> None:
    first = (plain / "report.html").read_bytes()
    assert write_report(plain).read_bytes() == first


def test_report_needs_no_torch(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    code = "import sys; from lalia.report import page; page.write_report(sys.argv[1]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_text_of_users_is_escaped_everywhere(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", traits=(EVIL, "slow_rate"), report={"show_ids": True})

    def poison(manifest: dict[str, Any]) -> None:
        manifest["flow"]["dropped"][0]["reason"] = EVIL
        manifest["flow"]["notes"] = [EVIL]
        manifest["machine"] = {EVIL: EVIL}
        manifest["stopped"] = EVIL
        manifest["thresholds"][EVIL]["reason"] = EVIL

    change_json(run / "manifest.json", poison)
    change_json(
        run / "metrics.json",
        lambda numbers: numbers["test"]["recording"]["macro"].update(auc=metric(None, reason=EVIL)),
    )
    table = pd.read_csv(run / "predictions.csv")
    table["recording"] = EVIL + table["recording"]
    table.to_csv(run / "predictions.csv", index=False)

    page = read(run)

    assert "script" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(EVIL) > 10


def test_page_loads_nothing(plain: Path) -> None:
    page = read_written(plain)
    html = (plain / "report.html").read_text()
    assert "://" not in html
    assert not {"script", "link", "iframe", "object", "img"} & set(page.tags)
    assert all(value.startswith("#") for _, name, value in page.attributes if name in ("href", "src"))
    assert not re.findall(r"url\((?!#)|@import", html)
    policy = next(value for _, name, value in page.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_ids_in_the_page_are_unique_and_every_reference_leads_to_one(plain: Path) -> None:
    page = read_written(plain)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    inside = {value[1:] for _, name, value in page.attributes if name == "href"}
    clips = {value[5:-1] for _, name, value in page.attributes if name == "clip-path"}
    labels = {value for _, name, value in page.attributes if name == "aria-labelledby"}
    assert inside | clips | labels <= set(ids)


def test_every_figure_has_a_role_and_a_text(plain: Path) -> None:
    page = read_written(plain)
    figures = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-label"]
    # 2 metrics for 2 units, 3 of training, 1 of depths, 3 for each of 2 traits
    assert len(figures) == page.tags.count("svg") == page.tags.count("figure") == 14
    assert all(len(text) > 20 for text in figures)
    assert sum(tag == "svg" and value == "img" for tag, _, value in page.attributes) == 14


def test_every_table_has_a_caption_and_every_heading_a_scope(plain: Path) -> None:
    page = read_written(plain)
    assert page.tags.count("table") == page.tags.count("caption") == 8 + 5
    assert page.tags.count("th") == sum(tag == "th" and name == "scope" for tag, name, _ in page.attributes)


def test_neither_recordings_nor_speakers_nor_paths_are_named_by_default(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    change_json(run / "manifest.json", lambda manifest: manifest["warnings"].append("recording 'test-001' is odd"))
    page = read(run)
    html = (run / "report.html").read_text()
    for secret in ("test-00", "train-0", "speakertest", "train-short", "train-secret", "nobody-knows", "anna"):
        assert secret not in html
    assert hash_id("test-003") in page.text
    assert "recordings in the folder that no row names: 1 trait" in page.text
    assert f"recording '{hash_id('test-001')}' is odd" in page.text


def test_ids_are_shown_where_the_settings_ask_for_them(tmp_path: Path) -> None:
    page = read(make_run(tmp_path / "run", report={"show_ids": True}))
    assert "test-003" in page.text
    assert "nobody-knows.wav" in page.text


def test_disagreements_are_the_ten_largest(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", report={"show_ids": True})
    table = pd.read_csv(run / "predictions.csv")
    table["score"] = table["rating"].astype(float)
    table.loc[(table["recording"] == "test-003") & (table["trait"] == "slow_rate"), "score"] = 1.25  # rated 4
    table.loc[(table["recording"] == "train-003"), "score"] = 1.0  # another part
    table.to_csv(run / "predictions.csv", index=False)
    text = read(run).text
    assert "Difference test-003 slow_rate 4.00 1.25 −2.75" in text
    assert "train-003" not in text


def test_every_value_of_the_headline_part_is_on_the_page(plain: Path) -> None:
    text = read_written(plain).text
    numbers = json.loads((plain / "metrics.json").read_text())["test"]
    for branch in (numbers, *numbers["baselines"].values(), numbers["raters"]):
        for unit in ("recording", "speaker"):
            for metrics in branch[unit]["traits"].values():
                for name in METRICS:
                    found = metrics[name]
                    assert f" {found['value']:.2f} {found['low']:.2f} to {found['high']:.2f} " in text


def test_headline_rows_stand_in_order_of_the_sources(plain: Path) -> None:
    text = read_written(plain).text
    macro = json.loads((plain / "metrics.json").read_text())["test"]["recording"]["macro"]["auc"]
    shown = f"mean of all traits model {macro['value']:.2f} {macro['low']:.2f} to {macro['high']:.2f} "
    assert shown in text
    found = re.findall(
        r"mean of all traits model .*? duration alone .*? most frequent answer .*? between raters ", text
    )
    assert len(found) == 2


def test_undefined_value_is_a_dash_with_its_reason(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    reason = "only one class among the 8 rated recordings"
    undefined = metric(None, reason=reason)
    change_json(
        run / "metrics.json", lambda numbers: numbers["test"]["recording"]["traits"]["slow_rate"].update(auc=undefined)
    )
    text = read(run).text
    assert "slow_rate model – 1 " in text
    assert text.count(f"the value is undefined: {reason}") == 2  # below the headline and below the trait


def test_run_without_test_part_reports_the_validation_part(tmp_path: Path) -> None:
    text = read(make_run(tmp_path / "run", parts=("train", "validation"))).text
    assert "Result on the validation part" in text
    assert "There is no test part" in text


def test_run_with_training_alone_warns(tmp_path: Path) -> None:
    text = read(make_run(tmp_path / "run", parts=("train",))).text
    assert "the numbers say nothing about new ones" in text


@pytest.mark.parametrize("history", ["", "\n", "epoch,train_loss\n"])
def test_run_without_an_epoch_has_no_curve(tmp_path: Path, history: str) -> None:
    run = make_run(tmp_path / "run")
    (run / "history.csv").write_text(history)
    text = read(run).text
    assert "No epoch was trained" in text


def test_history_without_validation_shows_the_training_loss(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    pd.DataFrame({"epoch": [1], "train_loss": [0.7], "validation_loss": [None]}).to_csv(
        run / "history.csv", index=False
    )
    page = read(run)
    assert "Loss" in page.text
    assert "in validation" not in page.text


def test_run_without_raters_and_layer_mix_leaves_them_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    change_json(run / "metrics.json", lambda numbers: numbers["test"].pop("raters"))
    change_json(run / "manifest.json", lambda manifest: manifest.update(layer_weights=None))
    text = read(run).text
    assert "most frequent answer between raters" not in text
    assert "Depths of the encoder" not in text


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ("last", "its last depth"),
        ("weighted", "a learned mix of all its depths"),
        (7, "its depth 7"),
        (-2, "its depth -2 (counted from the end)"),
        ([6, 9], "its depths 6, 9 side by side"),
        ("last-4", "its last 4 depths side by side"),
    ],
)
def test_page_says_which_depths_were_pooled(tmp_path: Path, layers: Any, said: str) -> None:
    run = make_run(tmp_path / "run", model={"encoder": "random:wavlm", "layers": layers, "pooling": "max"})
    assert f"{said}, max pooling over time, a head of kind ordinal" in read(run).text


def test_page_says_what_traits_share_and_what_stands_before_the_pooling(tmp_path: Path) -> None:
    head = {"transformer": {}, "groups": {"voice": ["hoarse_harsh"], "rate": ["slow_rate"]}}
    run = make_run(tmp_path / "run", model={"encoder": "random:wavlm", "head": head})
    assert (
        "mean pooling over time, a small transformer before the pooling, a head of kind ordinal whose traits share "
        "layers in the groups voice (hoarse_harsh), rate (slow_rate)"
    ) in read(run).text


def test_binary_head_is_compared_by_presence(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", model={"encoder": "random:wavlm", "head": "binary"})
    table = pd.read_csv(run / "predictions.csv")
    table.assign(score=table["probability"], level=None).to_csv(run / "predictions.csv", index=False)
    text = read(run).text
    assert "absent present" in text
    assert "The 10 largest differences between the probability of presence" in text


def test_trait_without_ratings_has_tables_but_no_figures(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    table = pd.read_csv(run / "predictions.csv")
    table.loc[table["trait"] == "slow_rate", "rating"] = None
    table.to_csv(run / "predictions.csv", index=False)
    page = read(run)
    assert "0 rated recordings of 0 speakers" in page.text
    assert page.tags.count("svg") == 11


def test_flow_and_excluded_ratings_are_counted(plain: Path) -> None:
    text = read_written(plain).text
    assert "In the table 27 13 Left out: too short 2 1 Kept 24 12 Part train 8 4" in text
    assert "hoarse_harsh -1 missing code 2" in text
    assert (
        "train hoarse_harsh 2 2 2 1 1 slow_rate 2 2 2 1 1 validation" in text
    )  # four levels, then those without rating


def test_missing_file_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "metrics.json").unlink()
    with pytest.raises(RunError, match=r"has no metrics\.json, so there is nothing to report"):
        write_report(run)


def test_broken_json_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "metrics.json").write_text("{")
    with pytest.raises(RunError, match=r"metrics\.json' is not valid JSON"):
        write_report(run)
