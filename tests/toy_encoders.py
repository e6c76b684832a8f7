"""Small encoders of every family, and running them in tests."""

from lalia.model.encoders.families import FAMILIES
from lalia.model.encoders.load import load_encoder

FAMILY_NAMES = sorted(FAMILIES)

# a context of one second; the others take clips as they come
CONFIGS = {"whisper": {"max_source_positions": 50}}


def make_small(family, layers=3, seed=0, **config):
    config = {**CONFIGS.get(family, {}), **config}
    return load_encoder({"random": family, "layers": layers, "width": 16, "heads": 2, "seed": seed, "config": config})


def run(encoder, waveforms, n_samples, depths):
    """Return the values at each depth, and which frames of the first asked depth are real."""
    frames_at = encoder(waveforms, n_samples, depths)
    return {depth: frames.values for depth, frames in frames_at.items()}, frames_at[depths[0]].is_real
