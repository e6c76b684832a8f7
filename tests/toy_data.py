"""Toy recordings on disk with ratings that a tiny rater can learn: a tone's pitch is one trait, noise the other."""

import numpy as np
import pandas as pd
import soundfile

from lalia.data.table import Flow, RecordingTable
from toy_rater import SCALE, TRAITS

NO_RATINGS = pd.DataFrame(columns=["recording", "rater", "trait", "rating"])


def make_table(folder, count=8, seed=0):
    random = np.random.default_rng(seed)
    rows, ratings = [], []
    for index in range(count):
        severity = random.integers(0, 2, size=2)
        seconds = 0.3 + 0.05 * (index % 4)
        time = np.arange(round(seconds * 16_000)) / 16_000
        tone = 0.3 * np.sin(2 * np.pi * (150 + 450 * severity[0]) * time)
        noise = (0.02 + 0.3 * severity[1]) * random.normal(size=len(time))
        path = folder / f"r{index}.wav"
        soundfile.write(path, (tone + noise).clip(-1, 1), 16_000)
        rows.append((f"r{index}", f"s{index // 2}", str(path), seconds))
        ratings.append(1.0 + 3.0 * severity)
    recordings = pd.DataFrame(rows, columns=["recording", "speaker", "path", "duration_seconds"])
    table = pd.DataFrame(np.array(ratings), columns=list(TRAITS))
    table.iloc[0, 1] = np.nan  # a missing rating in every test
    return RecordingTable(recordings, table, NO_RATINGS, SCALE, Flow(count, count // 2, (), pd.DataFrame(), ()))
