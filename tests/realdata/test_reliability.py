"""The five raters of speechocean762."""

import os
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from lalia.config import load_config
from lalia.data.table import read_table
from lalia.evaluation.reliability import rater_reliability

DATA = Path(os.environ.get("LALIA_REAL_DATA", Path(__file__).parents[3] / "shared" / "data")) / "speechocean762"
EXAMPLE = Path(__file__).parents[2] / "examples" / "speechocean762.yaml"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the recordings of speechocean762 are not there")


def test_agreement_of_five_raters():
    settings = load_config(EXAMPLE, [f"data.metadata={DATA / 'metadata.csv'}", f"data.audio_dir={DATA}"])
    table = read_table(settings.data)
    parts = table.recordings[["recording", "speaker"]].assign(part="test")
    found = rater_reliability(table, SimpleNamespace(parts=parts), replicates=200)["test"]
    for trait in table.traits:
        given = table.rater_ratings[table.rater_ratings["trait"] == trait]
        matrix = given.pivot(index="recording", columns="rater", values="rating")
        assert matrix.shape == (500, 5) and matrix.notna().all(axis=None)
        kappas = [
            cohen_kappa_score(matrix[a], matrix[b], labels=range(11), weights="quadratic")
            for a, b in combinations(matrix, 2)
        ]
        assert found[trait]["pairwise_qwk"]["value"] == pytest.approx(np.mean(kappas))
        for estimate in found[trait].values():
            assert 0.3 < estimate["low"] < estimate["value"] < estimate["high"] < 1
        # the mean of five people is more reliable than one of them
        assert found[trait]["icc_ak"]["value"] > found[trait]["icc_a1"]["high"]
