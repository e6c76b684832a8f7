"""Time the intervals of all metrics: python -m benchmarks.intervals [RECORDINGS [TRAITS [REPLICATES [SPEAKERS]]]]."""

import sys
import time

import numpy as np
import pandas as pd

from lalia.evaluation.evaluate import REPLICATES, evaluate
from lalia.measures.metrics import ALL_METRICS
from lalia.scale import Scale

# what an evaluation of 36 traits and 2,000 recordings may take on two cores
MOST_SECONDS = 60


def main(recordings: int = 2000, traits: int = 36, replicates: int = REPLICATES, speakers: int = 80) -> None:
    """Evaluate scores with noise, per recording and per speaker, and say how long it takes."""
    random = np.random.default_rng(0)
    speaker = np.arange(recordings) % speakers
    tables = []
    for trait in range(traits):
        latent = random.normal(size=speakers)[speaker] + random.normal(size=recordings)
        score = np.clip(2.5 + latent + random.normal(size=recordings), 1, 4)
        tables.append(
            pd.DataFrame(
                {
                    "recording": [f"r{n:05d}" for n in range(recordings)],
                    "speaker": [f"s{n}" for n in speaker],
                    "part": "test",
                    "trait": f"trait {trait}",
                    "rating": 1.0 + np.digitize(latent, [-0.5, 0.5, 1.2]),
                    "score": score,
                    "level": np.round(score),
                    "probability": 1 / (1 + np.exp(2.5 - score - 0.3 * random.normal(size=recordings))),
                }
            )
        )
    begun = time.perf_counter()
    evaluate(
        pd.concat(tables, ignore_index=True),
        Scale((1.0, 2.0, 3.0, 4.0), 2.0),
        {f"trait {trait}": 0.5 for trait in range(traits)},
        replicates=replicates,
    )
    seconds = time.perf_counter() - begun
    print(
        f"{len(ALL_METRICS)} metrics x {traits} traits x {replicates} replicates, {recordings} recordings of {speakers}"
        f" speakers, per recording and per speaker: {seconds:.1f} s (target {MOST_SECONDS} s)",
        flush=True,
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
