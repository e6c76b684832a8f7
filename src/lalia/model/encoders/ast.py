"""The Audio Spectrogram Transformer."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lalia.model.encoders.base import EncoderSource, Frames, SpeechEncoder
from lalia.model.encoders.clip_features import ClipFeatures

_FRAME_SAMPLES, _HOP_SAMPLES = 400, 160
_SPECIAL = 2


class ASTEncoder(SpeechEncoder):
    """AST: patches of a log-mel spectrogram of fixed length, behind a class and a distillation token.

    Its frames are the tokens in Hugging Face's order: the two special ones, then the patches, all times of the lowest
    band first. A shorter clip is padded with silence, as in its training, and all tokens take part in attention; real
    are the special tokens and the patches that begin within the clip.

    Args:
        model: an ``ASTModel``, attention through SDPA.
        source: where it comes from.
    """

    takes_masks: ClassVar[bool] = False

    def __init__(self, model: Any, source: EncoderSource) -> None:
        config = model.config
        self._features = ClipFeatures(source.features, source.rate_hz, source.name)
        self._time_stride = int(config.time_stride)
        bands, times = model.embeddings.get_shape(config)
        self._bands, self._times = int(bands), int(times)
        super().__init__(
            model,
            source,
            width=config.hidden_size,
            min_samples=_FRAME_SAMPLES,
            # what is left behind the last mel frame is less than a hop
            max_samples=_FRAME_SAMPLES + config.max_length * _HOP_SAMPLES - 1,
        )

    @property
    def output_modules(self) -> Sequence[nn.Module]:
        """The norm after the last block."""
        return [self.model.layernorm]

    @property
    def attends_to_padding(self) -> bool:
        """True: all tokens of the spectrogram take part in attention."""
        return True

    def count_frames(self, n_samples: Tensor) -> Tensor:
        """Return the number of real tokens: two, and the patches that begin within the clip."""
        return _SPECIAL + self._bands * self._count_times(n_samples)

    def stem(self, waveforms: Tensor, n_samples: Tensor) -> Frames:
        """Return the tokens of depth 0, with their positions."""
        lengths = self.check_lengths(waveforms, n_samples)
        features = torch.cat([each["input_values"] for each in self._features(waveforms, lengths)])
        values = self.model.embeddings(features)
        is_real_time = torch.arange(self._times) < self._count_times(n_samples.cpu())[:, None]
        is_real = torch.cat(
            [torch.ones(len(lengths), _SPECIAL, dtype=torch.bool), is_real_time.repeat(1, self._bands)], 1
        )
        return Frames(values, is_real.to(values.device))

    def context(self, frames: Frames) -> dict[str, Any]:
        """Return no mask: AST attends to its whole spectrogram."""
        return {"attention_mask": None}

    def _count_times(self, n_samples: Tensor) -> Tensor:
        n_mel_frames = torch.div(n_samples - _FRAME_SAMPLES, _HOP_SAMPLES, rounding_mode="floor") + 1
        times = torch.div(n_mel_frames - 1, self._time_stride, rounding_mode="floor") + 1
        return times.clamp(0, self._times)
