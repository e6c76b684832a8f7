"""wav2vec 2.0 and its kin: HuBERT, WavLM, UniSpeech, UniSpeech-SAT, data2vec-audio."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lalia.model.encoders.base import Depth, EncoderSource, Frames, SpeechEncoder, mask_up_to, normalize_waveforms
from lalia.model.encoders.conv_stem import convolve, count_convolved
from lalia.model.encoders.frame_times import middles_through
from lalia.model.encoders.wavlm_attention import call_projections


class Wav2Vec2Encoder(SpeechEncoder):
    """The encoders with wav2vec 2.0's module tree, post-norm (base) and pre-norm (large).

    In pre-norm models the last depth is not normalised and ``"last"`` is, as in Hugging Face.

    Args:
        model: a ``Wav2Vec2Model``, ``HubertModel``, ``WavLMModel``, ..., attention through SDPA where it can.
        source: where it comes from.
    """

    def __init__(self, model: Any, source: EncoderSource) -> None:
        config = model.config
        self._config = config
        # data2vec-audio has no such keys: layer norms in the stem, blocks normalised after attention
        self._is_pre_norm = bool(getattr(config, "do_stable_layer_norm", False))
        self._has_group_norm = getattr(config, "feat_extract_norm", "layer") == "group"
        if source.family == "wavlm":
            call_projections(model.encoder.layers)
        super().__init__(model, source, width=config.hidden_size)

    @property
    def output_modules(self) -> Sequence[nn.Module]:
        """The norm after the last block of pre-norm models."""
        return [self.model.encoder.layer_norm] if self._is_pre_norm else []

    def count_frames(self, n_samples: Tensor) -> Tensor:
        """Return the number of frames that waveforms of these numbers of samples give, by the convolutions' kernels."""
        return count_convolved(n_samples, self._config)

    def frame_middles(self, n_samples: int, depth: Depth = "last") -> Tensor:
        """Return the sample in the middle of each frame's stretch of the waveform, 25 ms in most models."""
        count = int(self.count_frames(torch.tensor([n_samples])))
        return middles_through(count, self._conv_layers)

    @property
    def _conv_layers(self) -> list[tuple[int, int, int]]:
        """The kernel, stride and padding of each convolution of the stem."""
        pairs = zip(self._config.conv_kernel, self._config.conv_stride, strict=True)
        return [(kernel, stride, 0) for kernel, stride in pairs]

    @property
    def feature_modules(self) -> Sequence[nn.Module]:
        """The convolutions and the projection."""
        return [self.model.feature_extractor, self.model.feature_projection]

    def stem(self, waveforms: Tensor, n_samples: Tensor) -> Frames:
        """Return the frames of depth 0: convolved, projected, with their positions."""
        return self.place(self.features(waveforms, n_samples))

    def place(self, features: Frames) -> Frames:
        """Return the frames of depth 0 from the convolved and projected ones: with their positions."""
        values = features.values + self._positions(features)
        if not self._is_pre_norm:
            values = self.model.encoder.layer_norm(values)
        return Frames(self.model.encoder.dropout(values), features.is_real)

    def features(self, waveforms: Tensor, n_samples: Tensor) -> Frames:
        """Return the convolved and projected frames, zero behind the real ones."""
        lengths = self.check_lengths(waveforms, n_samples)
        waveforms = waveforms[:, : max(lengths)]
        if self.normalize:
            waveforms = normalize_waveforms(waveforms, n_samples)
        layers = self.model.feature_extractor.conv_layers
        features = convolve(layers, waveforms, lengths, has_group_norm=self._has_group_norm)
        is_real = mask_up_to(count_convolved(n_samples, self._config).to(features.device), features.shape[1])
        # what follows reaches over the end: what lies behind it must be zero
        return Frames(self._project(features).masked_fill(~is_real[..., None], 0.0), is_real)

    def context(self, frames: Frames) -> dict[str, Any]:
        """Return the attention mask and, for WavLM, the relative positions that the first block holds for all."""
        context = super().context(frames)
        if self.family == "wavlm":
            time = frames.values.shape[1]
            first: Any = self.blocks[0]
            context["position_bias"] = first.attention.compute_bias(time, time)
        return context

    def _project(self, features: Tensor) -> Tensor:
        projected: Tensor | tuple[Tensor, Tensor] = self.model.feature_projection(features)
        # HuBERT gives the frames alone, the others also the normalised features
        return projected[0] if isinstance(projected, tuple) else projected

    def _positions(self, frames: Frames) -> Tensor:
        positions = self.model.encoder.pos_conv_embed
        is_padding = ~frames.is_real[:, None]
        hidden = frames.values.transpose(1, 2)
        # data2vec-audio stacks several; what one makes of the zeros behind the end, the next would see
        for layer in getattr(positions, "layers", ()):
            hidden = layer(hidden.masked_fill(is_padding, 0.0))
        if not hasattr(positions, "layers"):
            if getattr(positions, "batch_norm", None) is not None:
                # mHuBERT's batch norm shifts the zeros behind the end, which the convolution would then see
                hidden = positions.batch_norm(hidden).masked_fill(is_padding, 0.0)
            hidden = positions.activation(positions.padding(positions.conv(hidden)))
        return hidden.transpose(1, 2)
