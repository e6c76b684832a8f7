"""What SpecAugment hides depends on seed, recording and epoch alone, and is as much as the settings say."""

import numpy as np
import pytest

from lalia.data.augment import Augmentation
from lalia.data.spec_augment import SpecAugment

HALF = SpecAugment(masks_per_second=2.0, mask_seconds=(0.1, 0.3), feature_share=(0.25, 0.25))


def hidden(seed=1, recording="a", epoch=1, n_frames=(100, 50), spec_augment=HALF):
    chain = Augmentation((), seed=seed, spec_augment=spec_augment)
    windows, features = chain.draw_hidden(recording, epoch, n_frames, frame_rate_hz=50.0, width=16)
    return np.concatenate([*windows, features])


def test_what_is_hidden_depends_on_the_seed_the_recording_and_the_epoch():
    drawn = [hidden(), hidden(seed=2), hidden(recording="b"), hidden(epoch=2)]
    assert (hidden() == drawn[0]).all()
    assert not any((first == second).all() for i, first in enumerate(drawn) for second in drawn[:i])


def test_the_number_and_the_length_of_the_stretches_are_those_of_the_settings():
    rng = np.random.default_rng(0)
    once = SpecAugment(masks_per_second=0.25, mask_seconds=(0.1, 0.3), feature_share=(0.0, 0.0))
    windows = [once.draw(rng, [100], frame_rate_hz=50.0, width=4)[0][0] for _ in range(2000)]
    # of 2 s: half a stretch each
    assert np.mean([window.any() for window in windows]) == pytest.approx(0.5, abs=0.03)
    lengths = [window.sum() for window in windows if window.any()]
    assert (min(lengths), max(lengths)) == (5, 15)
    assert np.mean(lengths) == pytest.approx(10, abs=0.5)
    assert all(
        np.abs(np.diff(window.astype(int), prepend=0, append=0)).sum() == 2 for window in windows if window.any()
    )


@pytest.mark.parametrize("n_frames", [1, 2, 3, 50])
def test_at_most_half_of_a_window_is_hidden(n_frames):
    much = SpecAugment(masks_per_second=50.0, mask_seconds=(5.0, 9.0), feature_share=(0.0, 0.0))
    rng = np.random.default_rng(0)
    shares = [much.draw(rng, [n_frames], frame_rate_hz=50.0, width=4)[0][0].mean() for _ in range(50)]
    assert max(shares) == (n_frames // 2) / n_frames


def test_any_of_the_features_may_be_hidden():
    sets = np.array([hidden(epoch=epoch)[150:] for epoch in range(100)])
    assert (sets.sum(axis=1) == 4).all()
    assert sets.any(axis=0).all()
