"""The row of growth: how the time from files to a trained rater rises with the number of recordings."""

import numpy as np

from benchmarks.bench import Bench
from benchmarks.corpus import Corpus, write_noise
from benchmarks.ours import empty_cache, make_settings, train
from benchmarks.results import Row

# small, so that many recordings are done in a minute, but not so small that starting up would show
ENCODER = {"random": "wavlm", "layers": 2, "width": 128, "heads": 4}
SECONDS = 2.0


def measure_growth(bench: Bench) -> list[Row]:
    """Fit a line to the logarithms of recordings and seconds, the better of two trials (in the quick table one)."""
    sizes = bench.sizes.growth
    corpora = [write_noise(bench.folder / f"growth-{size}", size, seconds=SECONDS) for size in sizes]
    _time(corpora[0])  # warms up
    seconds = dict.fromkeys(sizes, np.inf)
    for _ in range(min(bench.sizes.repeats, 2)):
        for size, corpus in zip(sizes, corpora, strict=True):
            seconds[size] = min(seconds[size], _time(corpus))
    slope = float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0])
    shown = ", ".join(f"{size} in {each:.2f} s" for size, each in seconds.items())
    what = f"growth of the total time from {sizes[0]} to {sizes[-1]} recordings (small encoder, 30 epochs)"
    return [Row(what, "itself", slope, (0.95, 1.05), "slope", shown)]


def _time(corpus: Corpus) -> float:
    with empty_cache() as cache:
        return train(make_settings(corpus, ENCODER, cache, train={"batch_seconds": 16.0})).total.wall
