"""The Audio Spectrogram Transformer."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lalia.model.encoders.base import Depth, EncoderSource, Frames, SpeechEncoder
from lalia.model.encoders.clip_features import ClipFeatures
from lalia.model.encoders.frame_times import KALDI_FRAME_SAMPLES, MEL_HOP_SAMPLES, middles_of_mel_frames

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
        self._patch_times = int(config.patch_size)
        bands, times = model.embeddings.get_shape(config)
        self._bands, self._times = int(bands), int(times)
        super().__init__(
            model,
            source,
            width=config.hidden_size,
            min_samples=KALDI_FRAME_SAMPLES,
            # what is left behind the last mel frame is less than a hop
            max_samples=KALDI_FRAME_SAMPLES + config.max_length * MEL_HOP_SAMPLES - 1,
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

    def frame_middles(self, n_samples: int, depth: Depth = "last") -> Tensor:
        """Return the middle of each patch, within the clip; the two special tokens are of no time."""
        times = torch.arange(int(self._count_times(torch.tensor([n_samples]))))
        middles = middles_of_mel_frames(times * self._time_stride + (self._patch_times - 1) / 2)
        # the last patches reach into the silence behind the clip
        return torch.cat([torch.full((_SPECIAL,), torch.nan), middles.clamp(max=n_samples - 1).repeat(self._bands)])

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
        n_mel_frames = torch.div(n_samples - KALDI_FRAME_SAMPLES, MEL_HOP_SAMPLES, rounding_mode="floor") + 1
        times = torch.div(n_mel_frames - 1, self._time_stride, rounding_mode="floor") + 1
        return times.clamp(0, self._times)
