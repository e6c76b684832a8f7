"""SEW: wav2vec 2.0 whose blocks run on squeezed frames."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lalia.model.encoders.base import Depth, Frames, mask_up_to
from lalia.model.encoders.conv_stem import count_convolved
from lalia.model.encoders.frame_times import middles_through
from lalia.model.encoders.wav2vec2 import Wav2Vec2Encoder


class SEWEncoder(Wav2Vec2Encoder):
    """SEW: the stem makes one frame of two (the squeeze factor), the encoder's own output makes two of one again.

    All numbered depths have the squeezed frames; ``"last"`` has the upsampled ones. An odd frame at the end has no
    partner and is dropped, where Hugging Face gives a frame of zeros in the output.

    Args:
        model: a ``SEWModel``.
        source: where it comes from.
    """

    @property
    def output_modules(self) -> Sequence[nn.Module]:
        """The upsampling after the last block."""
        return [self.model.encoder.upsample]

    def count_frames(self, n_samples: Tensor) -> Tensor:
        """Return the number of squeezed frames that waveforms of these numbers of samples give."""
        return count_convolved(n_samples, self._config) // int(self._config.squeeze_factor)

    def frame_middles(self, n_samples: int, depth: Depth = "last") -> Tensor:
        """Return the middle of each squeezed frame; of ``"last"`` and of the features that of each convolved one."""
        factor = int(self._config.squeeze_factor)
        squeezed = int(self.count_frames(torch.tensor([n_samples])))
        if depth == "last":
            return middles_through(squeezed * factor, self._conv_layers)
        if depth == "features":
            return super().frame_middles(n_samples, depth)
        return middles_through(squeezed, [*self._conv_layers, (factor, factor, 0)])

    @property
    def feature_modules(self) -> Sequence[nn.Module]:
        """The convolutions and the projection, with the norm between them."""
        projection = [self.model.feature_projection] if self.model.project_features else []
        return [self.model.feature_extractor, self.model.layer_norm, *projection]

    def place(self, features: Frames) -> Frames:
        """Return the frames of depth 0 from the convolved and projected ones: squeezed, with their positions."""
        encoder = self.model.encoder
        hidden = features.values.transpose(1, 2)
        positions, pooled = encoder.pos_conv_embed(hidden), encoder.pool(hidden)
        time = min(positions.shape[-1], pooled.shape[-1])
        values = (pooled[..., :time] + positions[..., :time]).transpose(1, 2)
        values = encoder.dropout(encoder.layer_norm(values))
        counts = features.is_real.sum(dim=1) // int(self._config.squeeze_factor)
        return Frames(values, mask_up_to(counts, time))

    def finish(self, frames: Frames) -> Frames:
        """Return ``last_hidden_state``: the last depth with its frames upsampled to the rate of the convolutions."""
        factor = int(self._config.squeeze_factor)
        return Frames(self.model.encoder.upsample(frames.values), frames.is_real.repeat_interleave(factor, dim=1))

    def _project(self, features: Tensor) -> Tensor:
        model = self.model
        values = model.layer_norm(features)
        if model.project_features:
            values = model.feature_projection(values)
        dropped: Tensor = model.feature_dropout(values)
        return dropped
