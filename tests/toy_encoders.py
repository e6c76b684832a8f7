"""Running an encoder in tests."""


def run(encoder, waveforms, n_samples, depths):
    """Return the values at each depth, and which frames of the first asked depth are real."""
    frames_at = encoder(waveforms, n_samples, depths)
    return {depth: frames.values for depth, frames in frames_at.items()}, frames_at[depths[0]].is_real
