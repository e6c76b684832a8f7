"""Encoders on a log-mel spectrogram of the clip's own length: w2v-BERT 2.0, Parakeet, LASR."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from lalia.model.encoders.base import Depth, EncoderSource, Frames, SpeechEncoder, mask_up_to
from lalia.model.encoders.clip_features import ClipFeatures
from lalia.model.encoders.frame_times import (
    KALDI_FRAME_SAMPLES,
    MEL_HOP_SAMPLES,
    middles_of_mel_frames,
    middles_through,
)


class Wav2Vec2BertEncoder(SpeechEncoder):
    """w2v-BERT 2.0: two mel frames a frame, Conformer blocks whose convolutions hear only what came before.

    Args:
        model: a ``Wav2Vec2BertModel``, attention through SDPA.
        source: where it comes from.
    """

    def __init__(self, model: Any, source: EncoderSource) -> None:
        self._features = ClipFeatures(source.features, source.rate_hz, source.name)
        super().__init__(model, source, width=model.config.hidden_size)

    def count_frames(self, n_samples: Tensor) -> Tensor:
        """Return the number of frames: one for two whole mel frames."""
        return torch.div(_count_kaldi_frames(n_samples), self._features.extractor.stride, rounding_mode="floor")

    def frame_middles(self, n_samples: int, depth: Depth = "last") -> Tensor:
        """Return the middle of each frame's mel frames."""
        count = int(self.count_frames(torch.tensor([n_samples])))
        stride = int(self._features.extractor.stride)
        return middles_of_mel_frames(middles_through(count, [(stride, stride, 0)]))

    def stem(self, waveforms: Tensor, n_samples: Tensor) -> Frames:
        """Return the frames of depth 0: normalised, projected."""
        features, is_real = _pad_features(self, self._features, waveforms, n_samples, self.count_frames(n_samples))
        values = self.model.feature_projection(features)[0].masked_fill(~is_real[..., None], 0.0)
        return Frames(self.model.encoder.dropout(values), is_real)

    def context(self, frames: Frames) -> dict[str, Any]:
        """Return the masks of attention and convolutions, and the relative positions if there are any."""
        embed = self.model.encoder.embed_positions
        positions = None if embed is None else embed(frames.values)
        masks = {**super().context(frames), "conv_attention_mask": frames.is_real}
        return {**masks, "relative_position_embeddings": positions}


class ParakeetEncoder(SpeechEncoder):
    """Parakeet: a FastConformer on eight mel frames a frame.

    Args:
        model: a transformers ``ParakeetEncoder``, attention through SDPA.
        source: where it comes from.
    """

    # relative positions would count the vectors of a prompt as time
    takes_prompt: ClassVar[bool] = False

    def __init__(self, model: Any, source: EncoderSource) -> None:
        self._features = ClipFeatures(source.features, source.rate_hz, source.name)
        # the features are normalised over time: one mel frame has no variance
        shortest = 2 * self._features.extractor.hop_length
        super().__init__(model, source, width=model.config.hidden_size, min_samples=shortest)

    def count_frames(self, n_samples: Tensor) -> Tensor:
        """Return the number of frames, by the kernels of the subsampling convolutions."""
        counts = self._count_mel_frames(n_samples)
        for kernel, stride, padding in self._subsampling:
            counts = torch.div(counts + 2 * padding - kernel, stride, rounding_mode="floor") + 1
        return counts

    def frame_middles(self, n_samples: int, depth: Depth = "last") -> Tensor:
        """Return the middle of each frame: that of its mel frames, which begin at their middle."""
        count = int(self.count_frames(torch.tensor([n_samples])))
        return middles_through(count, self._subsampling) * int(self._features.extractor.hop_length)

    @property
    def _subsampling(self) -> list[tuple[int, int, int]]:
        """The kernel, stride and padding in time of each convolution that makes fewer frames."""
        layers = [each for each in self.model.subsampling.layers if isinstance(each, nn.Conv2d) and each.stride[0] > 1]
        return [(each.kernel_size[0], each.stride[0], int(each.padding[0])) for each in layers]

    def stem(self, waveforms: Tensor, n_samples: Tensor) -> Frames:
        """Return the frames of depth 0: mel frames, subsampled."""
        n_mel_frames = self._count_mel_frames(n_samples)
        features, is_real_mel = _pad_features(self, self._features, waveforms, n_samples, n_mel_frames)
        values = self.model.subsampling(features, is_real_mel) * self.model.input_scale
        values = functional.dropout(values, self.model.dropout, training=self.model.subsampling.training)
        return Frames(values, mask_up_to(self.count_frames(n_samples).to(values.device), values.shape[1]))

    def context(self, frames: Frames) -> dict[str, Any]:
        """Return the attention mask and the relative positions."""
        return {**super().context(frames), "position_embeddings": self.model.encode_positions(frames.values)}

    def _count_mel_frames(self, n_samples: Tensor) -> Tensor:
        return torch.div(n_samples, self._features.extractor.hop_length, rounding_mode="floor")


class LasrEncoder(SpeechEncoder):
    """LASR: a Conformer with rotary positions on four mel frames a frame. The last depth is normalised.

    Args:
        model: a transformers ``LasrEncoder``, attention through SDPA.
        source: where it comes from.
    """

    last_depth_is_normalized: ClassVar[bool] = True
    # rotary positions would count the vectors of a prompt as time
    takes_prompt: ClassVar[bool] = False

    def __init__(self, model: Any, source: EncoderSource) -> None:
        self._features = ClipFeatures(source.features, source.rate_hz, source.name)
        super().__init__(model, source, width=model.config.hidden_size)

    @property
    def output_modules(self) -> Sequence[nn.Module]:
        """The norm after the last block."""
        return [self.model.out_norm]

    def count_frames(self, n_samples: Tensor) -> Tensor:
        """Return the number of frames, by the kernels of the subsampling convolutions."""
        counts = _count_kaldi_frames(n_samples)
        for kernel, stride, _ in self._subsampling:
            counts = torch.div(counts - kernel, stride, rounding_mode="floor") + 1
        return counts.clamp(min=0)

    def frame_middles(self, n_samples: int, depth: Depth = "last") -> Tensor:
        """Return the middle of each frame's mel frames."""
        count = int(self.count_frames(torch.tensor([n_samples])))
        return middles_of_mel_frames(middles_through(count, self._subsampling))

    @property
    def _subsampling(self) -> list[tuple[int, int, int]]:
        """The kernel, stride and padding of each convolution that makes fewer frames."""
        layers = (self.model.subsampler.conv_0, self.model.subsampler.conv_1)
        return [(each.kernel_size[0], each.stride[0], 0) for each in layers]

    def stem(self, waveforms: Tensor, n_samples: Tensor) -> Frames:
        """Return the frames of depth 0: mel frames, subsampled."""
        counts = _count_kaldi_frames(n_samples)
        features, _ = _pad_features(self, self._features, waveforms, n_samples, counts)
        values = self.model.subsampler(features)
        values = functional.dropout(values, self.model.dropout, training=self.model.subsampler.training)
        return Frames(values, mask_up_to(self.count_frames(n_samples).to(values.device), values.shape[1]))

    def context(self, frames: Frames) -> dict[str, Any]:
        """Return the attention mask and the rotary positions."""
        values = frames.values
        positions = self.model.rotary_emb(values, torch.arange(values.shape[1], device=values.device)[None])
        return {**super().context(frames), "position_embeddings": positions}


def _count_kaldi_frames(n_samples: Tensor) -> Tensor:
    counts = torch.div(n_samples - KALDI_FRAME_SAMPLES, MEL_HOP_SAMPLES, rounding_mode="floor") + 1
    return counts.clamp(min=0)


def _pad_features(
    encoder: SpeechEncoder, extract: ClipFeatures, waveforms: Tensor, n_samples: Tensor, counts: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the features of all clips, zero behind their counts, (clips, time, bands), and which are real."""
    lengths = encoder.check_lengths(waveforms, n_samples)
    clips = [each["input_features"][0] for each in extract(waveforms, lengths)]
    padded = pad_sequence([clip[:n] for clip, n in zip(clips, counts.tolist(), strict=True)], batch_first=True)
    return padded, mask_up_to(counts.to(padded.device), padded.shape[1])
