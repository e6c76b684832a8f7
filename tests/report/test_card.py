"""The model card of a saved rater, told from the files of its folder and its run."""

import re
from dataclasses import replace

import pandas as pd
import pytest
import yaml

from lalia.model.encoders.load import load_encoder
from lalia.model.saved_rater import read_config
from lalia.report.card import render_card, write_card
from toy_rater import make_encoder, make_rater
from toy_report import make_run

GAP = re.compile(r"\*\*\[to fill in: [^\]]+\]\*\*")


@pytest.fixture
def run(tmp_path):
    folder = make_run(tmp_path / "run", traits=("breathy", "slow_rate"))
    make_rater(pooling="attention", thresholds={"breathy": 0.25}).save_pretrained(folder / "model")
    return folder


@pytest.fixture
def config(tmp_path):
    make_rater(layers="weighted").save_pretrained(tmp_path / "model")
    return read_config(tmp_path / "model")


def read_header(card):
    return yaml.safe_load(card.split("---")[1])


def test_the_header_is_what_hugging_face_reads(config):
    source = replace(config.encoder, name="microsoft/wavlm-base-plus", revision="0123abcd")
    card = render_card(config.model_copy(update={"encoder": source}))
    assert card.startswith("---\n")
    assert read_header(card) == {
        "library_name": "lalia",
        "pipeline_tag": "audio-classification",
        "tags": ["lalia", "speech", "clinical-speech", "speech-assessment"],
        "base_model": "microsoft/wavlm-base-plus",
        "base_model_relation": "finetune",
    }
    assert "# license: to fill in" in card
    assert "revision `0123abcd`" in card


def test_only_an_encoder_from_the_hub_is_a_base_model(config):
    card = render_card(config)
    assert "base_model" not in read_header(card)
    assert "Encoder: a wavlm that began with random weights" in card


def test_an_encoder_from_a_folder_stays_unnamed(tmp_path):
    make_encoder("hubert").model.save_pretrained(tmp_path / "anna-hubert")
    rater = make_rater(encoder=load_encoder(tmp_path / "anna-hubert", normalize=True))
    rater.save_pretrained(tmp_path / "model")
    card = render_card(read_config(tmp_path / "model"))
    assert "a hubert from a local folder" in card
    assert "anna" not in card


def test_the_card_of_a_run_has_its_counts_numbers_and_intervals(run):
    path = write_card(run)
    card = path.read_text(encoding="utf-8")
    assert path == run / "model" / "README.md"
    assert "| `breathy` | 0.25 |" in card
    assert re.search(r"\| test \| \d+ \| \d+ \|", card)
    assert re.search(r"SHA-256 of the split: `\w+`", card)
    assert re.search(r"\| `breathy` \| model \| 0\.\d\d \(0\.\d\d to 0\.\d\d\) \|", card)
    assert re.search(r"\| mean of all traits \| duration alone \| 0\.\d\d", card)
    assert "a head of kind ordinal" in card


def test_a_card_holds_no_id_and_no_path(run):
    card = write_card(run).read_text(encoding="utf-8")
    table = pd.read_csv(run / "predictions.csv")
    assert not [name for name in {*table["recording"], *table["speaker"]} if name in card]
    assert not [secret for secret in ("anna", "train-", "nobody-knows", "metadata", str(run.parent)) if secret in card]


def test_what_is_not_known_is_a_gap_and_not_left_out(config, run):
    bare, full = render_card(config), write_card(run).read_text()
    headings = re.findall(r"^## .*$", full, re.MULTILINE)
    assert re.findall(r"^## .*$", bare, re.MULTILINE) == headings
    assert len(GAP.findall(bare)) > len(GAP.findall(full)) > 8
    for heading in ("## Intended use", "## Training data", "## Results", "## Licence, citation, contact"):
        assert GAP.search(bare.split(heading)[1].split("\n## ")[0]), heading


def test_the_same_files_give_the_same_card(run):
    first = write_card(run).read_bytes()
    assert write_card(run).read_bytes() == first


def test_every_row_of_a_table_has_as_many_cells_as_its_heading(run):
    card = write_card(run).read_text()
    for block in re.findall(r"(?:^\|.*\|\n)+", card, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_a_trait_with_an_evil_name_stays_a_name(tmp_path):
    name = "a|b`<script>\n# c"
    make_rater(traits=(name, "slow_rate")).save_pretrained(tmp_path / "model")
    card = render_card(read_config(tmp_path / "model"))
    assert "`a\\|b'<script> # c`" in card
    assert "\n# c" not in card


def test_the_example_of_the_card_is_python(config):
    compile(re.search(r"```python\n(.*?)```", render_card(config), re.DOTALL)[1], "card", "exec")
