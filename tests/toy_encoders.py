"""Small encoders of every family, and clips of noise for them."""

import torch
from torch import nn

from lalia.model.encoders.load import load_encoder

GROUP_NORM = {"feat_extract_norm": "group", "do_stable_layer_norm": False}
SHORT_SPECTROGRAM = {"max_length": 198, "num_mel_bins": 32}

# every family, and every way in which a family's encoders differ
ENCODERS = {
    "wav2vec2": {"random": "wav2vec2"},
    "wav2vec2 with group norm": {"random": "wav2vec2", "config": GROUP_NORM},
    "hubert": {"random": "hubert"},
    "hubert with group norm": {"random": "hubert", "config": GROUP_NORM},
    "hubert with batch norm": {"random": "hubert", "config": {"conv_pos_batch_norm": True}},
    "wavlm": {"random": "wavlm"},
    "wavlm with group norm": {"random": "wavlm", "config": GROUP_NORM},
    "unispeech": {"random": "unispeech", "config": GROUP_NORM},
    "unispeech-sat": {"random": "unispeech-sat"},
    "unispeech-sat with group norm": {"random": "unispeech-sat", "config": GROUP_NORM},
    "data2vec-audio": {"random": "data2vec-audio"},
    "wav2vec2-conformer": {"random": "wav2vec2-conformer"},
    "wav2vec2-conformer with rotary positions": {
        "random": "wav2vec2-conformer",
        "config": {"position_embeddings_type": "rotary", "feat_extract_norm": "group"},
    },
    "sew": {"random": "sew"},
    "sew with group norm": {"random": "sew", "config": {"feat_extract_norm": "group", "squeeze_factor": 3}},
    "wav2vec2-bert": {"random": "wav2vec2-bert"},
    "wav2vec2-bert with relative positions": {
        "random": "wav2vec2-bert",
        "config": {"position_embeddings_type": "relative"},
    },
    "whisper": {"random": "whisper", "config": {"max_source_positions": 100}},
    "whisper on the clip": {"random": "whisper", "config": {"max_source_positions": 100}, "context": "clip"},
    "audio-spectrogram-transformer": {"random": "audio-spectrogram-transformer", "config": SHORT_SPECTROGRAM},
    "parakeet_encoder": {"random": "parakeet_encoder"},
    # with an even kernel torch warns
    "lasr_encoder": {"random": "lasr_encoder", "config": {"conv_kernel_size": 31}},
}
# one of each family
FAMILIES = [
    "wav2vec2",
    "hubert",
    "wavlm",
    "unispeech",
    "unispeech-sat",
    "data2vec-audio",
    "wav2vec2-conformer",
    "sew",
    "wav2vec2-bert",
    "whisper",
    "audio-spectrogram-transformer",
    "parakeet_encoder",
    "lasr_encoder",
]


def make_encoder(name, layers=3, width=16, heads=2, seed=0, **config):
    """Make an encoder of ENCODERS; further keys go into its config."""
    spec = dict(ENCODERS[name])
    context = spec.pop("context", "full")
    spec["config"] = spec.get("config", {}) | config
    return load_encoder({"layers": layers, "width": width, "heads": heads, "seed": seed, **spec}, context=context)


def noise(*lengths):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, generator=generator) * 0.1 + 0.05 for length in lengths]


def pad(waveforms, behind=0.0):
    """Return waveforms padded with a value, and their lengths."""
    n_samples = torch.tensor([len(waveform) for waveform in waveforms])
    return nn.utils.rnn.pad_sequence(waveforms, batch_first=True, padding_value=behind), n_samples


def run(encoder, waveforms, n_samples, depths):
    """Return the values at each depth, and which frames of the first asked depth are real."""
    frames_at = encoder(waveforms, n_samples, depths)
    return {depth: frames.values for depth, frames in frames_at.items()}, frames_at[depths[0]].is_real
