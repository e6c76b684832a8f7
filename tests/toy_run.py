"""A small corpus on disk and the settings of a quick run on it."""

import shutil

from lalia.config import load_config
from lalia.data import voice
from lalia.data.synth import write_corpus

# two of the corpus's six: what a run says of each takes longer than training
TRAITS = ("breathy", "slow_rate")
QUICK = (
    "train.epochs=2",
    "train.early_stopping=null",
    "model.encoder={random: whisper, layers: 1, width: 16, heads: 2, config: {max_source_positions: 200}}",
    "split={train: 0.5, validation: 0.25, test: 0.25}",
    "train.batch_seconds=20",
    f"data.traits={list(TRAITS)}",
)
ALL_TRAITS = f"data.traits={list(voice.TRAITS)}"


def write_toy_corpus(folder, speakers=8):
    write_corpus(folder, speakers=speakers, recordings_per_speaker=2, seed=1)
    return folder


def quick_settings(corpus, runs, *overrides):
    return load_config(corpus / "run.yaml", [*QUICK, f"runs={runs}", *overrides])


def copy_run(run, folder):
    """Return a copy of a finished run, to be changed."""
    return shutil.copytree(run, folder / run.name)
