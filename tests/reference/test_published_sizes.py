"""The published sizes, built without memory: blocks, widths and numbers of parameters."""

import pytest
import torch

from lalia.model.encoders.base import EncoderSource
from lalia.model.encoders.families import FAMILIES
from lalia.model.encoders.from_config import make_config, make_modules

LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}
XLARGE = LARGE | {"hidden_size": 1280, "num_hidden_layers": 48, "intermediate_size": 5120}


def whisper(width: int, layers: int, heads: int, mels: int = 80) -> dict[str, int]:
    return {
        "d_model": width,
        "encoder_layers": layers,
        "encoder_attention_heads": heads,
        "encoder_ffn_dim": 4 * width,
        "num_mel_bins": mels,
    }


# family, what the checkpoint's config.json says beyond the defaults, blocks, width, parameters of the published model
# without heads (for Whisper, of the encoder)
SIZES = {
    "microsoft/wavlm-base": ("wavlm", {}, 12, 768, 94_381_936),
    "microsoft/wavlm-base-plus": ("wavlm", {}, 12, 768, 94_381_936),
    "microsoft/wavlm-large": ("wavlm", LARGE | {"conv_bias": False}, 24, 1024, 315_453_120),
    "facebook/hubert-base-ls960": ("hubert", {}, 12, 768, 94_371_712),
    "facebook/hubert-large-ll60k": ("hubert", LARGE | {"conv_bias": True}, 24, 1024, 315_438_720),
    "facebook/hubert-xlarge-ll60k": ("hubert", XLARGE | {"conv_bias": True}, 48, 1280, 962_497_408),
    "facebook/wav2vec2-base": ("wav2vec2", {}, 12, 768, 94_371_712),
    "facebook/wav2vec2-large": (
        "wav2vec2",
        LARGE | {"feat_extract_norm": "group", "do_stable_layer_norm": False},
        24,
        1024,
        315_428_992,
    ),
    "facebook/wav2vec2-xls-r-300m": ("wav2vec2", LARGE | {"conv_bias": True}, 24, 1024, 315_438_720),
    "openai/whisper-tiny": ("whisper", whisper(384, 4, 6), 4, 384, 8_208_384),
    "openai/whisper-base": ("whisper", whisper(512, 6, 8), 6, 512, 20_590_592),
    "openai/whisper-small": ("whisper", whisper(768, 12, 12), 12, 768, 88_154_112),
    "openai/whisper-medium": ("whisper", whisper(1024, 24, 16), 24, 1024, 307_216_384),
    "openai/whisper-large-v2": ("whisper", whisper(1280, 32, 20), 32, 1280, 636_784_640),
    "openai/whisper-large-v3": ("whisper", whisper(1280, 32, 20, mels=128), 32, 1280, 636_968_960),
    "facebook/w2v-bert-2.0": ("wav2vec2-bert", {}, 24, 1024, 580_493_120),
    "MIT/ast-finetuned-audioset-10-10-0.4593": ("audio-spectrogram-transformer", {}, 12, 768, 86_187_264),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_published_size_has_its_blocks_width_and_parameters(name: str) -> None:
    family_name, values, n_blocks, width, n_parameters = SIZES[name]
    family = FAMILIES[family_name]
    config = make_config(family, values, name)
    with torch.device("meta"):
        model = make_modules(family, config, name)
    source = EncoderSource(family_name, name, None, {}, normalize=False, features=family.features(config))
    encoder = family.make_encoder(model, source)
    assert (encoder.n_blocks, encoder.width) == (n_blocks, width)
    count = sum(parameter.numel() for parameter in encoder.parameters())
    # lalia leaves out the embedding with which SpecAugment masks frames in pretraining
    has_mask = family_name not in ("whisper", "audio-spectrogram-transformer")
    assert count + (width if has_mask else 0) == n_parameters
