"""Whisper's encoder; the decoder is never built or read."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import WhisperFeatureExtractor

from lalia.model.encoders.base import EncoderSource, Frames, SpeechEncoder, mask_up_to


class LogMel(nn.Module):
    """The log-mel spectrogram of ``transformers.WhisperFeatureExtractor``, in batches and on the waveforms' device.

    Args:
        n_mels: mel bands.
        n_samples: every waveform is padded with zeros to this length, the encoder's full context.
        rate_hz: of the waveforms.
        n_fft: samples of each Fourier transform.
        hop_length: samples from one mel frame to the next.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, *, n_mels: int, n_samples: int, rate_hz: int, n_fft: int, hop_length: int) -> None:
        super().__init__()
        self.n_samples = n_samples
        self.n_fft = n_fft
        self.hop_length = hop_length
        extractor = WhisperFeatureExtractor(
            feature_size=n_mels, sampling_rate=rate_hz, hop_length=hop_length, n_fft=n_fft
        )
        filters = torch.tensor(extractor.mel_filters.T, dtype=torch.float32)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return log-mel frames, shape (windows, mel bands, mel frames), from waveforms (windows, samples).

        The values of each window are limited to 80 dB below its own peak, so windows do not touch each other.
        """
        padded = functional.pad(waveforms.float(), (0, self.n_samples - waveforms.shape[1]))
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
    """Whisper's encoder on its full context: a shorter window is padded with silence, as in its training.

    All positions take part in attention, silence too; ``is_real`` marks the frames of the real samples. The last depth
    is normalised, as in Hugging Face, so ``"last"`` is the same. Waveforms are never normalised: the spectrogram is.

    Args:
        model: a transformers ``WhisperEncoder``, attention through SDPA.
        source: where it comes from.
    """

    last_depth_is_normalized = True

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
        self.log_mel = LogMel(
            n_mels=config.num_mel_bins, n_samples=max_samples, rate_hz=source.rate_hz, **source.features
        )

    @property
    def output_modules(self) -> Sequence[nn.Module]:
        """The norm after the last block."""
        return [self.model["encoder"].layer_norm]

    @property
    def fixed_parameters(self) -> frozenset[str]:
        """The positions, which are sinusoids."""
        return frozenset({"encoder.embed_positions.weight"})

    def count_frames(self, n_samples: Tensor) -> Tensor:
        """Return the number of frames that hold these numbers of samples: one for two mel frames."""
        n_mel_frames = torch.div(n_samples, self.log_mel.hop_length, rounding_mode="floor")
        return torch.div(n_mel_frames - 1, 2, rounding_mode="floor") + 1

    def stem(self, waveforms: Tensor, n_samples: Tensor) -> Frames:
        """Return the frames of depth 0 over the full context: log-mel, convolved, with their positions."""
        lengths = self.check_lengths(waveforms, n_samples)
        waveforms = waveforms[:, : max(lengths)]
        is_real_sample = mask_up_to(n_samples.to(waveforms.device), waveforms.shape[1])
        mel = self.log_mel(waveforms.masked_fill(~is_real_sample, 0.0))
        encoder = self.model["encoder"]
        values = functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(mel)))).transpose(1, 2)
        values = values + encoder.embed_positions.weight
        values = functional.dropout(values, p=self._stem_dropout, training=encoder.conv2.training)
        counts = self.count_frames(n_samples).to(values.device)
        return Frames(values, mask_up_to(counts, values.shape[1]))

    def context(self, frames: Frames) -> dict[str, Any]:
        """Return no mask: Whisper attends to its whole context."""
        return {"attention_mask": None}

    def block(self, depth: int, values: Tensor, context: Mapping[str, Any]) -> Tensor:
        """Return the values of a depth from those of the depth below it."""
        values = super().block(depth, values, context)
        return self.model["encoder"].layer_norm(values) if depth == self.n_blocks else values
