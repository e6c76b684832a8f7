"""wav2vec 2.0, HuBERT and WavLM: one reading of the module tree that they share."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lalia.model.encoders.base import EncoderSource, Frames, SpeechEncoder, mask_up_to, normalize_waveforms
from lalia.model.encoders.wavlm_attention import call_projections


class Context(NamedTuple):
    """What the blocks share.

    Args:
        attention_mask: False on padding, shape (windows, 1, 1, time).
        position_bias: WavLM's, shape (heads, time, time); None elsewhere.
    """

    attention_mask: Tensor
    position_bias: Tensor | None


class Wav2Vec2Encoder(SpeechEncoder):
    """The encoders with wav2vec 2.0's module tree, post-norm (base) and pre-norm (large).

    In pre-norm models the last depth is not normalised and ``"last"`` is, as in Hugging Face.

    Args:
        model: a ``Wav2Vec2Model``, ``HubertModel`` or ``WavLMModel``, attention through SDPA where it can.
        source: where it comes from.
    """

    def __init__(self, model: Any, source: EncoderSource) -> None:
        config = model.config
        self._kernels_and_strides = list(zip(config.conv_kernel, config.conv_stride, strict=True))
        self._is_pre_norm = bool(config.do_stable_layer_norm)
        self._has_group_norm = config.feat_extract_norm == "group"
        shortest = 1
        for kernel, stride in reversed(self._kernels_and_strides):
            shortest = (shortest - 1) * stride + kernel
        if source.family == "wavlm":
            call_projections(model.encoder.layers)
        super().__init__(model, source, width=config.hidden_size, min_samples=shortest, max_samples=None)

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks, that of depth 1 first."""
        blocks: nn.ModuleList = self.model.encoder.layers
        return blocks

    @property
    def stem_modules(self) -> Sequence[nn.Module]:
        """The convolutions, the projection, the convolutional positions and, in post-norm models, their norm."""
        encoder = self.model.encoder
        modules = [self.model.feature_extractor, self.model.feature_projection, encoder.pos_conv_embed, encoder.dropout]
        return modules if self._is_pre_norm else [*modules, encoder.layer_norm]

    @property
    def output_norm(self) -> nn.Module | None:
        """The norm after the last block of pre-norm models."""
        return self.model.encoder.layer_norm if self._is_pre_norm else None

    def count_frames(self, n_samples: Tensor) -> Tensor:
        """Return the number of frames that waveforms of these numbers of samples give, by the convolutions' kernels."""
        counts = n_samples
        for kernel, stride in self._kernels_and_strides:
            counts = torch.div(counts - kernel, stride, rounding_mode="floor") + 1
        return counts.clamp(min=0)

    def stem(self, waveforms: Tensor, n_samples: Tensor) -> Frames:
        """Return the frames of depth 0: convolved, projected, with their positions."""
        lengths = self.check_lengths(waveforms, n_samples)
        waveforms = waveforms[:, : max(lengths)]
        if self.normalize:
            waveforms = normalize_waveforms(waveforms, n_samples)
        features = self._convolve(waveforms, lengths)
        is_real = mask_up_to(self.count_frames(n_samples).to(features.device), features.shape[1])
        projected = self.model.feature_projection(features)
        # HuBERT gives the frames alone, the others also the normalised features
        values = projected[0] if isinstance(projected, tuple) else projected
        # the positional convolution reaches over the end: what lies behind it must be zero
        values = values.masked_fill(~is_real[..., None], 0.0)
        values = values + self._positions(values, is_real)
        if not self._is_pre_norm:
            values = self.model.encoder.layer_norm(values)
        return Frames(self.model.encoder.dropout(values), is_real)

    def context(self, frames: Frames) -> Context:
        """Return the attention mask and, for WavLM, the relative positions that the first block holds for all."""
        bias: Tensor | None = None
        if self.family == "wavlm":
            time = frames.values.shape[1]
            bias = self.model.encoder.layers[0].attention.compute_bias(time, time)
        return Context(frames.is_real[:, None, None, :], bias)

    def block(self, depth: int, values: Tensor, context: Context) -> Tensor:
        """Return the values of a depth from those of the depth below it."""
        shared = {} if context.position_bias is None else {"position_bias": context.position_bias}
        output: Tensor | tuple[Tensor, ...] = self.blocks[depth - 1](
            values, attention_mask=context.attention_mask, **shared
        )
        # WavLM's layers also hand the position bias on
        return output[0] if isinstance(output, tuple) else output

    def finish(self, values: Tensor) -> Tensor:
        """Return ``last_hidden_state``: the last depth, normalised in pre-norm models."""
        norm = self.output_norm
        return values if norm is None else norm(values)

    def _convolve(self, waveforms: Tensor, lengths: list[int]) -> Tensor:
        """Return the convolutional features, shape (windows, time, conv width)."""
        # Group norm takes its statistics over the whole time axis, so padding would change every frame: clip by clip is
        # exact. Layer norm looks at one frame at a time and could take the padded batch, which suits a GPU; a CPU is
        # twice as fast clip by clip, where the values of one layer stay near and no padding is convolved.
        if not self._has_group_norm and waveforms.device.type != "cpu":
            return self._convolve_batch(waveforms).transpose(1, 2)
        clips = [self._convolve_batch(clip[None, :n])[0].T for clip, n in zip(waveforms, lengths, strict=True)]
        return pad_sequence(clips, batch_first=True)

    def _convolve_batch(self, waveforms: Tensor) -> Tensor:
        # not through feature_extractor.forward: in training it asks for the gradient of the waveforms
        values = waveforms[:, None]
        for layer in self.model.feature_extractor.conv_layers:
            values = layer(values)
        return values

    def _positions(self, values: Tensor, is_real: Tensor) -> Tensor:
        positions = self.model.encoder.pos_conv_embed
        hidden = values.transpose(1, 2)
        batch_norm = getattr(positions, "batch_norm", None)
        if batch_norm is not None:
            # mHuBERT's batch norm shifts the zeros behind the end, which the convolution would then see
            hidden = batch_norm(hidden).masked_fill(~is_real[:, None], 0.0)
        encoded: Tensor = positions.activation(positions.padding(positions.conv(hidden)))
        return encoded.transpose(1, 2)
