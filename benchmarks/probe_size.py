"""Time probes of a large encoder: python -m benchmarks.probe_size [RECORDINGS [DEPTHS [TRAITS [WIDTH]]]]."""

import resource
import sys
import time

import numpy as np
import pandas as pd

from lalia.data.table import Flow, RecordingTable
from lalia.evaluation.probe import probe_vectors
from lalia.scale import Scale


def main(recordings: int = 2000, depths: int = 25, traits: int = 36, width: int = 1024) -> None:
    """Probe noise in which every trait stands in every depth a little, with every rating and with a twentieth gone."""
    random = np.random.default_rng(0)
    speaker = np.arange(recordings) % (recordings // 5)
    latent = random.normal(size=(recordings // 5, traits))[speaker]
    ratings = pd.DataFrame(1.0 + np.digitize(latent, [-0.3, 0.5, 1.2]), columns=[f"trait {n}" for n in range(traits)])
    vectors = random.normal(size=(recordings, depths, width)).astype(np.float32)
    vectors[:, :, :traits] += 0.3 * latent[:, np.newaxis].astype(np.float32)
    rows = pd.DataFrame({"recording": [f"r{n:05d}" for n in range(recordings)], "speaker": [f"s{n}" for n in speaker]})
    single = pd.DataFrame({"recording": [], "rater": [], "trait": [], "rating": []})
    some = ratings.mask(random.random(ratings.shape) < 0.05)
    for name, given in (("every rating given", ratings), ("1 in 20 ratings missing, in every trait other ones", some)):
        table = RecordingTable(rows, given, single, Scale((1.0, 2.0, 3.0, 4.0), 2.0), Flow(recordings, recordings // 5))
        begun = time.perf_counter()
        probe_vectors(vectors, range(depths), table, folds=5)
        seconds = time.perf_counter() - begun
        print(f"{depths} depths x {traits} traits x 5 folds, {recordings} recordings, width {width}, {name}:", end=" ")
        print(
            f"{seconds / 60:.1f} minutes, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB", flush=True
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
