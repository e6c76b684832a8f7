"""SpecAugment: which frames and features of a recording are hidden from the blocks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Hidden = NDArray[np.bool_]


@dataclass(frozen=True)
class SpecAugment:
    """Draws what is hidden: stretches of frames and a set of features (Park et al. 2019, arXiv 1904.08779).

    The number of stretches grows with the length, as in Park et al. (2020, arXiv 1912.05533). The features of an
    encoder's frames have no neighbours as the bands of a spectrogram have, so any of them may be hidden, not a band.

    Args:
        masks_per_second: stretches, on average.
        mask_seconds: range of the length of each, drawn from uniformly; together at most half of a window.
        feature_share: range of the share of the features that is hidden in a whole recording.
    """

    masks_per_second: float
    mask_seconds: tuple[float, float]
    feature_share: tuple[float, float]

    def draw(
        self, rng: Generator, n_frames: Sequence[int], *, frame_rate_hz: float, width: int
    ) -> tuple[list[Hidden], Hidden]:
        """Return for each window of a recording which frames are hidden, shape (frames,), and which features, (width,).

        Args:
            rng: of this recording and epoch.
            n_frames: of each window.
            frame_rate_hz: frames per second.
            width: of the frames.

        Example:
            >>> always = SpecAugment(masks_per_second=10.0, mask_seconds=(0.2, 0.2), feature_share=(0.5, 0.5))
            >>> (window,), features = always.draw(np.random.default_rng(0), [10], frame_rate_hz=10.0, width=4)
            >>> int(features.sum()), 0 < int(window.sum()) <= 5
            (2, True)
        """
        features = np.zeros(width, dtype=bool)
        features[rng.permutation(width)[: round(rng.uniform(*self.feature_share) * width)]] = True
        return [self._draw_window(rng, n, frame_rate_hz) for n in n_frames], features

    def _draw_window(self, rng: Generator, n_frames: int, frame_rate_hz: float) -> Hidden:
        is_hidden = np.zeros(n_frames, dtype=bool)
        # the fraction that is left is drawn, so that short windows have their share
        count = int(self.masks_per_second * n_frames / frame_rate_hz + rng.random())
        left = n_frames // 2
        for _ in range(count):
            length = min(round(rng.uniform(*self.mask_seconds) * frame_rate_hz), left)
            left -= length
            start = rng.integers(n_frames - length + 1)
            is_hidden[start : start + length] = True
        return is_hidden
