"""The main job learns what is in the audio, and nothing where there is nothing to learn."""

import json

import numpy as np
import pandas as pd
import pytest

from lalia.config import load_config
from lalia.data.splits import read_split
from lalia.data.synth import write_corpus
from lalia.data.voice import TRAITS
from lalia.prepare import split_recordings
from lalia.run import train

SMALLER = ("train.epochs=14", "train.early_stopping=null")


def permute_ratings(corpus, settings, seed):
    """Give each speaker that is trained or validated on the ratings of another one; the test part keeps its own."""
    table = pd.read_csv(corpus / "metadata.csv", dtype=str, keep_default_na=False)
    parts = split_recordings(settings).parts.set_index("recording")["part"]
    columns = [name for name in table if name.rpartition("_r")[0] in TRAITS]
    seen = table[table["id"].map(parts) != "test"]
    speakers = seen["speaker"].unique()
    rows_of = {speaker: rows.index.to_numpy() for speaker, rows in seen.groupby("speaker")}
    original = table[columns].to_numpy().copy()
    values = original.copy()
    for speaker, other in zip(speakers, np.random.default_rng(seed).permutation(speakers), strict=True):
        values[rows_of[speaker]] = original[rows_of[other]]
    table[columns] = values
    table.to_csv(corpus / "metadata.csv", index=False)


def macro_auc(run):
    return json.loads((run / "metrics.json").read_text())["test"]["recording"]["macro"]["auc"]["value"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, speakers=72)
    return folder


def test_traits_are_heard_in_held_out_speakers_and_permuted_ratings_teach_nothing(corpus, tmp_path):
    settings = load_config(corpus / "run.yaml", [*SMALLER, f"runs={tmp_path}"])
    heard = train(settings)
    assert macro_auc(heard) >= 0.75

    # one permutation may lean on a trait by chance, the more so the fewer the speakers: chance is what several come to
    table = (corpus / "metadata.csv").read_bytes()
    # the parts stay those of the true ratings: stratifying anew would tell the test part of the permutation
    kept = f"split={{kind: file, path: {heard / 'split.csv'}}}"
    deaf = []
    for seed in (1, 2, 3):
        (corpus / "metadata.csv").write_bytes(table)
        permute_ratings(corpus, settings, seed)
        deaf.append(train(load_config(corpus / "run.yaml", [*SMALLER, f"runs={tmp_path}", kept])))
        assert read_split(deaf[-1] / "split.csv").parts.equals(read_split(heard / "split.csv").parts)
    assert 0.4 <= np.mean([macro_auc(run) for run in deaf]) <= 0.6
