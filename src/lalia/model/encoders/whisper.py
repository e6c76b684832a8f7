"""Whisper's encoder; the decoder is never built or read."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import WhisperFeatureExtractor

from lalia.model.encoders.base import Depth, EncoderSource, Frames, SpeechEncoder, mask_up_to
from lalia.model.encoders.frame_times import middles_through


class LogMel(nn.Module):
    """The log-mel spectrogram of ``transformers.WhisperFeatureExtractor``, in batches and on the waveforms' device.

    Args:
        n_mels: mel bands.
        rate_hz: of the waveforms.
        n_fft: samples of each Fourier transform.
        hop_length: samples from one mel frame to the next.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, *, n_mels: int, rate_hz: int, n_fft: int, hop_length: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.hop_length = hop_length
        extractor = WhisperFeatureExtractor(
            feature_size=n_mels, sampling_rate=rate_hz, hop_length=hop_length, n_fft=n_fft
        )
        filters = torch.tensor(extractor.mel_filters.T, dtype=torch.float32)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, waveforms: Tensor, n_samples: int) -> Tensor:
        """Return log-mel frames, shape (windows, mel bands, mel frames).

        The values of each window are limited to 80 dB below its own peak, so windows do not touch each other.

        Args:
            waveforms: shape (windows, samples).
            n_samples: every waveform is padded with zeros to this length.
        """
        padded = functional.pad(waveforms.float(), (0, n_samples - waveforms.shape[1]))
        # bfloat16 products would cost the quiet bands their digits
        with torch.autocast(waveforms.device.type, enabled=False):
            spectrum = torch.stft(padded, self.n_fft, self.hop_length, window=self.window, return_complex=True)
            spectrum = spectrum[..., :-1]
            # the power from both parts: a third of the time of the magnitude's square
            mel = self.filters @ (spectrum.real.square() + spectrum.imag.square())
        log_mel = mel.clamp(min=1e-10).log10()
        log_mel = torch.maximum(log_mel, log_mel.amax(dim=(1, 2), keepdim=True) - 8.0)
        return (log_mel + 4.0) / 4.0


class WhisperEncoder(SpeechEncoder):
    """Whisper's encoder. The last depth is normalised, as in Hugging Face, so ``"last"`` is the same.

    On its full context a shorter window is padded with silence, as in its training, and all positions take part in
    attention, silence too. On the clip's own context only the real frames do, at their positions: several times faster
    for short clips, but other frames than those the checkpoint was trained to give. ``is_real`` marks the frames of the
    real samples in both. Waveforms are never normalised: the spectrogram is.

    Args:
        model: a transformers ``WhisperEncoder``, attention through SDPA.
        source: where it comes from; its ``context`` is ``full`` or ``clip``.
    """

    last_depth_is_normalized: ClassVar[bool] = True

    def __init__(self, model: Any, source: EncoderSource) -> None:
        config = model.config
        hop_length = source.features["hop_length"]
        max_samples = config.max_source_positions * model.conv2.stride[0] * hop_length
        self._stem_dropout = float(config.dropout)
        super().__init__(
            # under the name that it has in a WhisperModel, so that paths read encoder.layers.3 in all families
            nn.ModuleDict({"encoder": model}),
            source,
            width=config.d_model,
            min_samples=hop_length,
            max_samples=max_samples,
        )
        self.log_mel = LogMel(n_mels=config.num_mel_bins, rate_hz=source.rate_hz, **source.features)
        self._full_samples = max_samples

    @property
    def output_modules(self) -> Sequence[nn.Module]:
        """The norm after the last block."""
        return [self.model["encoder"].layer_norm]

    @property
    def attends_to_padding(self) -> bool:
        """Whether silence behind the clip takes part in attention: on the full context."""
        return self.source.context == "full"

    @property
    def fixed_parameters(self) -> frozenset[str]:
        """The positions, which are sinusoids."""
        return frozenset({"encoder.embed_positions.weight"})

    def count_frames(self, n_samples: Tensor) -> Tensor:
        """Return the number of frames that hold these numbers of samples: one for two mel frames."""
        n_mel_frames = torch.div(n_samples, self.log_mel.hop_length, rounding_mode="floor")
        return torch.div(n_mel_frames - 1, 2, rounding_mode="floor") + 1

    def frame_middles(self, n_samples: int, depth: Depth = "last") -> Tensor:
        """Return the middle of each frame: that of the middle one of its mel frames, which begin at their middle."""
        count = int(self.count_frames(torch.tensor([n_samples])))
        encoder = self.model["encoder"]
        layers = [(each.kernel_size[0], each.stride[0], each.padding[0]) for each in (encoder.conv1, encoder.conv2)]
        return middles_through(count, layers) * self.log_mel.hop_length

    def stem(self, waveforms: Tensor, n_samples: Tensor) -> Frames:
        """Return the frames of depth 0 over the context: log-mel, convolved, with their positions."""
        lengths = self.check_lengths(waveforms, n_samples)
        waveforms = waveforms[:, : max(lengths)]
        is_real_sample = mask_up_to(n_samples.to(waveforms.device), waveforms.shape[1])
        waveforms = waveforms.masked_fill(~is_real_sample, 0.0)
        counts = self.count_frames(n_samples)
        if self.source.context == "clip":
            convolved = self._convolve_clips(waveforms, counts)
        else:
            convolved = self._convolve(self.log_mel(waveforms, self._full_samples))
        encoder = self.model["encoder"]
        values = convolved.transpose(1, 2)
        values = values + encoder.embed_positions.weight[: values.shape[1]]
        values = functional.dropout(values, p=self._stem_dropout, training=encoder.conv2.training)
        return Frames(values, mask_up_to(counts.to(values.device), values.shape[1]))

    def context(self, frames: Frames) -> dict[str, Any]:
        """Return the attention mask; on the full context there is none."""
        return {"attention_mask": None} if self.attends_to_padding else super().context(frames)

    def _convolve_clips(self, waveforms: Tensor, counts: Tensor) -> Tensor:
        """Convolve the mel frames of each clip alone; behind them are zeros, as behind a clip by itself."""
        n_mel_frames = 2 * int(counts.max())
        hop, n_fft = self.log_mel.hop_length, self.log_mel.n_fft
        # the last mel frames reach into the silence behind the clip
        padded_samples = max(waveforms.shape[1], n_mel_frames * hop) + n_fft
        mel = self.log_mel(waveforms, padded_samples)[..., :n_mel_frames]
        return self._convolve(mel, mask_up_to(2 * counts, n_mel_frames)[:, None].to(mel.device))

    def _convolve(self, mel: Tensor, is_real_mel: Tensor | None = None) -> Tensor:
        encoder = self.model["encoder"]
        if is_real_mel is None:
            return functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(mel))))
        hidden = functional.gelu(encoder.conv1(mel.masked_fill(~is_real_mel, 0.0)))
        return functional.gelu(encoder.conv2(hidden.masked_fill(~is_real_mel, 0.0)))
