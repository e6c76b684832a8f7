"""On speechocean762: the official parts hold, and duration alone rates speech, less well than people do."""

import os
from pathlib import Path

import pandas as pd
import pytest

from lalia.data.splits import split_speakers
from lalia.data.table import read_table
from lalia.evaluation.audit import nuisance_baselines, rater_agreement
from lalia.evaluation.evaluate import evaluate, fit_decisions
from lalia.settings import ColumnSettings, ColumnSplit, DataSettings, ScaleSettings

DATA = Path(os.environ.get("LALIA_REAL_DATA", Path(__file__).parents[3] / "shared" / "data")) / "speechocean762"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real recordings are not here")


@pytest.fixture(scope="module")
def table():
    settings = DataSettings(
        metadata=str(DATA / "metadata.csv"),
        layout="path",
        columns=ColumnSettings(recording="utt", path="file"),
        traits=("accuracy", "fluency", "prosodic"),
        scale=ScaleSettings(levels=tuple(range(11)), present_from=8),
        raters="{trait}_r{rater}",
    )
    seconds = pd.read_csv(DATA / "metadata.csv", dtype={"utt": str})[["utt", "duration_s"]]
    seconds = seconds.rename(columns={"utt": "recording", "duration_s": "duration_seconds"})
    return read_table(settings, part_column="split").add_columns(seconds)


@pytest.fixture(scope="module")
def split(table):
    return split_speakers(table, ColumnSplit(column="split", validation=0.2), seed=42)


def test_the_official_test_part_stays_and_validation_comes_out_of_training(table, split):
    given = table.recordings.set_index("recording")["given_part"]
    parts = split.parts.set_index("recording")["part"]
    assert (parts == "test").equals(given == "test")
    speakers = split.parts.groupby("part")["speaker"].nunique()
    assert speakers.to_dict() == {"test": 125, "train": 100, "validation": 25}


def test_duration_rates_speech_and_people_agree_better(table, split):
    duration = nuisance_baselines(table, split)["duration"]
    decisions = fit_decisions(duration[duration["part"] == "validation"], table.traits, table.scale)
    thresholds = {trait: decision.threshold for trait, decision in decisions.items()}
    by_duration = evaluate(duration, table.scale, thresholds, replicates=200)["test"]["recording"]["macro"]
    people = rater_agreement(table, split, replicates=200)["test"]["recording"]["macro"]
    assert 0.5 < by_duration["spearman"]["value"] < 0.7
    assert people["spearman"]["low"] > by_duration["spearman"]["value"]
