"""A table of very many recordings, whose files are hard links to a few."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

TRAITS = ("breathy", "hoarse", "slow", "monopitch", "strained", "nasal")
RECORDINGS_PER_SPEAKER = 20

_FILES_PER_FOLDER = 1_000
# ext4 allows 65,000 links to a file
_LINKS_PER_FILE = 20_000


def write_big_corpus(folder: Path, recordings: int, form: str = "csv", seed: int = 0) -> Path:
    """Write audio and a wide table with six traits, an age and a site; return the settings of a run."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(recordings)
    names = [f"{number // _FILES_PER_FOLDER:04d}/r{number:07d}.wav" for number in numbers]
    source = ""
    for number, name in zip(numbers.tolist(), names, strict=True):
        if number % _FILES_PER_FOLDER == 0:
            (folder / name).parent.mkdir(parents=True)
        if number % _LINKS_PER_FILE == 0:
            source = str(folder / name)
            soundfile.write(source, rng.normal(0, 0.05, 4_000), 16_000)
        else:
            os.link(source, folder / name)
    speakers = numbers // RECORDINGS_PER_SPEAKER
    severity = rng.normal(size=(speakers[-1] + 1, len(TRAITS)))[speakers] + rng.normal(
        0, 0.5, (recordings, len(TRAITS))
    )
    levels = 1 + np.digitize(severity, [0.0, 0.7, 1.4])
    table = pd.DataFrame({"recording": names, "speaker": [f"s{speaker:06d}" for speaker in speakers]})
    table["age"] = (30 + speakers % 50).astype(str)
    table["site"] = [f"site{speaker % 9}" for speaker in speakers]
    for place, trait in enumerate(TRAITS):
        table[trait] = levels[:, place].astype(str)
        table.loc[rng.random(recordings) < 0.02, trait] = ""
    metadata = folder / f"metadata.{form}"
    if form == "csv":
        table.to_csv(metadata, index=False)
    elif form == "parquet":
        table.to_parquet(metadata, index=False)
    else:
        table.to_json(metadata, orient="records", lines=True)
    run = folder / "run.yaml"
    run.write_text(
        f"""data:
  metadata: {metadata.name}
  layout: path
  covariates: [age, site]
  traits: [{", ".join(TRAITS)}]
model:
  encoder: {{random: wavlm, layers: 1, width: 16, heads: 2}}
  adapt: frozen
"""
    )
    return run
