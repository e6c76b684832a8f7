"""Finished runs compared on the command line."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from lalia.cli import app
from lalia.errors import RunError
from lalia.run import train
from lalia.run_compare import compare
from toy_run import quick_settings


@pytest.fixture(scope="module")
def runs(finished_corpus, finished_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    others = ("model.head=binary", "seed=5")
    return [finished_run, *(train(quick_settings(finished_corpus, folder, other)) for other in others)]


def test_two_runs_are_compared_and_the_files_hold_it(runs, tmp_path):
    outcome = CliRunner().invoke(app, ["compare", str(runs[0]), str(runs[1]), "--out", str(tmp_path / "out")])
    assert outcome.exit_code == 0, outcome.output
    assert "compared with" in outcome.output and "difference (95 %)" in outcome.output
    table = pd.read_csv(tmp_path / "out" / "compare.csv")
    first, second = (json.loads((run / "metrics.json").read_text())["test"] for run in runs[:2])
    for row in table[table["trait"] != "macro"].to_dict("records"):
        for key, tree in (("first", first), ("second", second)):
            expected = tree[row["unit"]]["traits"][row["trait"]][row["metric"]]["value"]
            both = all(
                each[row["unit"]]["traits"][row["trait"]][row["metric"]]["value"] is not None
                for each in (first, second)
            )
            assert (row[key] == pytest.approx(expected)) if both else row[key] != row[key]
    written = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert len(written["differences"]) == len(table)
    assert (tmp_path / "out" / "compare.svg").read_text().startswith("<?xml")


def test_runs_over_other_speakers_are_refused(runs, tmp_path):
    with pytest.raises(RunError, match="were evaluated on different speakers"):
        compare([runs[0], runs[2]], tmp_path / "out")
    with pytest.raises(RunError, match="needs two runs or more"):
        compare([runs[0]], tmp_path / "out")
    with pytest.raises(RunError, match="A run is named twice"):
        compare([runs[0], runs[0]], tmp_path / "out")
    assert not (tmp_path / "out").exists()
