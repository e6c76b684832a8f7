"""Tables of many speakers for audits, without audio: what was measured is drawn."""

import numpy as np
import pandas as pd

from lalia.data.table import Flow, RecordingTable
from lalia.scale import Scale

SCALE = Scale((1.0, 2.0, 3.0, 4.0), present_from=2.0)
NO_RATINGS = pd.DataFrame(columns=["recording", "rater", "trait", "rating"])


def make_table(speakers=60, per_speaker=3, seed=0, covariates=True):
    """Return recordings whose ratings have nothing to do with what was measured of them."""
    random = np.random.default_rng(seed)
    count = speakers * per_speaker
    owner = np.repeat(np.arange(speakers), per_speaker)

    def of_speaker(values):
        return np.asarray(values)[owner]

    recordings = pd.DataFrame(
        {
            "recording": [f"r{number:04}" for number in range(count)],
            "speaker": [f"s{number:03}" for number in owner],
            "duration_seconds": random.uniform(2, 6, count),
            "level_db": of_speaker(random.normal(-25, 3, speakers)) + random.normal(0, 0.5, count),
            "silence_share": random.uniform(0, 0.4, count),
            "snr_db": random.normal(35, 4, count),
            "bandwidth_hz": random.normal(7900, 50, count),
            "clipping_share": 0.0,
            "rate_hz": 16_000,
        }
    )
    if covariates:
        recordings["site"] = of_speaker(random.choice(["north", "south"], speakers)).astype(object)
        recordings["age"] = of_speaker(random.integers(30, 80, speakers)).astype(str).astype(object)
    severity = of_speaker(random.permutation(np.arange(speakers) % 4)) + 1.0
    ratings = pd.DataFrame({"slow": severity, "hoarse": of_speaker(random.permutation(np.arange(speakers) % 4)) + 1.0})
    names = ("site", "age") if covariates else ()
    return RecordingTable(recordings, ratings, NO_RATINGS, SCALE, Flow(count, speakers), names)


def with_columns(table, **columns):
    from dataclasses import replace

    return replace(table, recordings=table.recordings.assign(**columns))
