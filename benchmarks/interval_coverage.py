"""How often intervals that resample few speakers hold the truth: python -m benchmarks.interval_coverage."""

import numpy as np
from scipy.stats import norm

from lalia.measures.metrics import auc
from lalia.measures.uncertainty import interval, speaker_weights

RECORDINGS, SHIFT, BETWEEN, WITHIN = 5, 1.0, 0.8, 0.6
TRUTH = norm.cdf(SHIFT / np.sqrt(2 * (BETWEEN**2 + WITHIN**2)))


def main(simulations: int = 1000) -> None:
    """Draw speakers, half of them with a trait, 5 recordings of each, whose scores are normal about their speaker's."""
    random = np.random.default_rng(0)
    for speakers in (6, 10, 20, 30, 50, 100):
        held, widths = [], []
        for seed in range(simulations):
            is_present = np.arange(speakers) % 2 == 0
            mean = SHIFT * is_present + random.normal(0, BETWEEN, speakers)
            scores = np.repeat(mean, RECORDINGS) + random.normal(0, WITHIN, speakers * RECORDINGS)
            weights = speaker_weights([str(n) for n in np.repeat(np.arange(speakers), RECORDINGS)], 500, seed)
            low, high = interval(auc(np.repeat(is_present, RECORDINGS), scores, weights))
            held.append(low <= TRUTH <= high)
            widths.append(high - low)
        print(
            f"{speakers} speakers: {np.mean(held):.1%} of 95 % intervals, mean width {np.mean(widths):.2f}", flush=True
        )


if __name__ == "__main__":
    main()
