"""Where the blocks are in Hugging Face's own trees of modules."""

import pytest
import torch
from torch import nn
from transformers import AutoModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from lalia.model.encoders.module_tree import find_blocks, topmost_without

PLACES = {
    "wav2vec2": "encoder.layers",
    "hubert": "encoder.layers",
    "wavlm": "encoder.layers",
    "unispeech-sat": "encoder.layers",
    "data2vec-audio": "encoder.layers",
    "wav2vec2-conformer": "encoder.layers",
    "sew": "encoder.layers",
    "sew-d": "encoder.encoder.layer",
    "wav2vec2-bert": "encoder.layers",
    "whisper": "encoder.layers",
    "audio-spectrogram-transformer": "layers",
    "parakeet_encoder": "layers",
    "lasr_encoder": "layers",
    "moonshine": "encoder.layers",
    "speech_to_text": "encoder.layers",
    "speecht5": "encoder.wrapped_encoder.layers",
    "qwen2_audio_encoder": "layers",
    "granite_speech5_encoder": "layers",
}


@pytest.mark.parametrize("architecture", PLACES)
def test_the_blocks_are_found_in_the_published_default_size(architecture: str) -> None:
    with torch.device("meta"):
        model = AutoModel.from_config(CONFIG_MAPPING[architecture]())
    assert find_blocks(model) == PLACES[architecture]


def test_lists_without_attention_and_lists_of_a_decoder_are_no_blocks() -> None:
    attending = nn.ModuleDict({"attention": nn.Linear(1, 1)})
    convolutions = nn.ModuleList([nn.Conv1d(1, 1, 1) for _ in range(5)])
    decoder = nn.ModuleDict({"layers": nn.ModuleList([attending] * 4)})
    model = nn.ModuleDict({"convolutions": convolutions, "decoder": decoder})
    assert find_blocks(model) is None
    model["trunk"] = nn.ModuleList([nn.ModuleDict({"attention": nn.Linear(1, 1)})] * 2)
    assert find_blocks(model) == "trunk"


def test_a_list_within_a_block_is_not_taken_for_the_blocks() -> None:
    heads = nn.ModuleList([nn.ModuleDict({"attention": nn.Linear(1, 1)}) for _ in range(8)])
    model = nn.ModuleDict({"layers": nn.ModuleList([nn.ModuleDict({"heads": heads}) for _ in range(2)])})
    assert find_blocks(model) == "layers"


def test_what_stands_outside_of_the_blocks_is_named_once_each() -> None:
    model = nn.ModuleDict({"stem": nn.Linear(1, 1), "encoder": nn.ModuleDict({"norm": nn.LayerNorm(1)})})
    model["encoder"]["layers"] = nn.ModuleList([nn.Linear(1, 1)])
    assert topmost_without(model, [model["encoder"]["layers"]]) == [model["stem"], model["encoder"]["norm"]]
