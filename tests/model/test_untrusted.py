"""Model folders from strangers: nothing in them runs, exhausts memory, or is read as what it is not."""

import json
import os
import pickle
import re
import resource
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lalia.errors import EncoderError, ModelError, RaterError
from lalia.model.encoders.load import load_encoder
from lalia.model.rater import SpeechRater
from lalia.model.saved_head import read_head
from toy_rater import make_rater


class Planted:
    """What a pickle runs when it is read."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.fixture(scope="module")
def saved_rater(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rater") / "model"
    make_rater().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def saved_encoder(tmp_path_factory):
    from transformers import HubertConfig, HubertModel

    folder = tmp_path_factory.mktemp("encoder")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    stem = {"conv_dim": (8, 8), "conv_stride": (5, 4), "conv_kernel": (10, 8), "num_conv_pos_embeddings": 4}
    config = HubertConfig(**sizes, **stem, num_conv_pos_embedding_groups=2, num_feat_extract_layers=2)
    HubertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def rater(saved_rater, tmp_path):
    return shutil.copytree(saved_rater, tmp_path / "model")


@pytest.fixture
def encoder(saved_encoder, tmp_path):
    return shutil.copytree(saved_encoder, tmp_path / "encoder")


def change(folder: Path, edit) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_the_folders_are_read_as_they_are(rater, encoder):
    assert SpeechRater.from_pretrained(rater)
    assert load_encoder(encoder).n_blocks == 1


# --- code -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["model.safetensors", "pytorch_model.bin", "model.bin", "model.pt", "training_args.bin"]
)
def test_a_pickle_planted_in_a_rater_does_not_run(rater, tmp_path, name):
    if name != "model.safetensors":
        (rater / "model.safetensors").unlink()
    (rater / name).write_bytes(pickle.dumps(Planted(tmp_path / "ran")))
    with pytest.raises(RaterError, match=r"Cannot read '.*model.safetensors'|has no model.safetensors"):
        SpeechRater.from_pretrained(rater)
    with pytest.raises(RaterError):
        read_head(rater)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_pickle_planted_in_an_encoder_does_not_run(encoder, tmp_path, name):
    (encoder / "model.safetensors").unlink()
    torch.save({"encoder": Planted(tmp_path / "ran")}, encoder / name)
    with pytest.raises(EncoderError, match="the weights cannot be read"):
        load_encoder(encoder)
    assert not (tmp_path / "ran").exists()


CODE = {
    "auto_map": {"auto_map": {"AutoModel": "evil.Model"}},
    "nested auto_map": {"parts": [{"config": {"auto_map": {"AutoModel": "evil.Model"}}}]},
    "pipelines": {"custom_pipelines": {"x": {"impl": "evil.Pipeline"}}},
    "trust": {"trust_remote_code": True},
    "a kernel of the hub": {"attn_implementation": "somebody/kernels"},
    "a kernel of the hub, inside": {"text_config": {"_attn_implementation": "somebody/kernels:run"}},
}


@pytest.mark.parametrize("code", CODE)
def test_a_config_that_names_code_is_refused(rater, encoder, code):
    (encoder / "evil.py").write_text("raise SystemExit('ran')")
    (rater / "evil.py").write_text("raise SystemExit('ran')")
    change(encoder, lambda values: values.update(CODE[code]))
    with pytest.raises(EncoderError, match=r"brings its own code \(\w+ in config.json\), which lalia does not run"):
        load_encoder(encoder)
    change(rater, lambda values: values["encoder"]["architecture"].update(CODE[code]))
    with pytest.raises(RaterError, match=r"brings its own code \(\w+\), which lalia does not run"):
        SpeechRater.from_pretrained(rater)


def test_an_architecture_that_is_no_audio_model_is_refused_before_it_is_made(rater, encoder):
    for name in ("bert", "os.system", "../evil", "__class__", 7, None):
        change(encoder, lambda values, name=name: values.update(model_type=name))
        with pytest.raises(EncoderError, match=r"unknown architecture|names no architecture"):
            load_encoder(encoder)
        change(rater, lambda values, name=name: values["encoder"].update(family=name))
        with pytest.raises(RaterError):
            SpeechRater.from_pretrained(rater)


def test_a_key_that_a_rater_does_not_have_is_refused(rater):
    change(rater, lambda values: values.update(hook="evil"))
    with pytest.raises(RaterError, match=r"hook: Extra inputs are not permitted"):
        SpeechRater.from_pretrained(rater)


def test_a_rater_that_would_set_limits_is_refused(rater):
    change(rater, lambda values: values["preprocessing"].update(limits={"max_seconds": 1e12}))
    with pytest.raises(RaterError, match=r"a rater sets no limits"):
        SpeechRater.from_pretrained(rater)


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes",
    [
        {"hidden_size": 2**60},
        {"num_hidden_layers": 10**9},
        {"hidden_size": 2**20, "intermediate_size": 2**22, "num_attention_heads": 2**10},
        {"conv_dim": [2**22, 2**22]},
        {"intermediate_size": 10**400},
        {"conv_kernel": [10] * 200_000},
        {"num_hidden_layers": -1},
        {"hidden_size": "x" * 200_000},
    ],
)
def test_a_config_of_a_size_that_no_model_has_takes_no_memory(rater, encoder, sizes):
    before = peak_bytes()
    change(encoder, lambda values: values.update(sizes))
    with pytest.raises(EncoderError):
        load_encoder(encoder)
    change(rater, lambda values: values["encoder"]["architecture"].update(sizes))
    with pytest.raises(RaterError):
        SpeechRater.from_pretrained(rater)
    assert peak_bytes() - before < 500e6


@pytest.mark.parametrize("hidden", [[2**60], [9_000_000, 9_000_000], [10_000_000] * 3])
def test_a_head_of_a_size_that_its_weights_do_not_have_takes_no_memory(rater, hidden):
    before = peak_bytes()
    change(rater, lambda values: values["head"].update(hidden=hidden))
    with pytest.raises(RaterError):
        SpeechRater.from_pretrained(rater)
    assert peak_bytes() - before < 500e6


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_attention_heads", 0),
        ("num_attention_heads", -1),
        ("hidden_size", 0),
        ("conv_stride", [0, 4]),
        ("conv_dim", [0, 8]),
        ("hidden_dropout", -1),
        ("attention_dropout", float("nan")),
        ("num_conv_pos_embedding_groups", 0),
        ("hidden_act", "no such function"),
    ],
)
def test_an_encoder_that_no_module_could_be_made_of_is_refused(encoder, key, value):
    change(encoder, lambda values: values.update({key: value}))
    with pytest.raises(EncoderError, match="the encoder's config cannot be used|no model can be made of its config"):
        load_encoder(encoder)


@pytest.mark.parametrize("rate", [None, "", 0, -16_000, 16_000.5, 1e400, True, [16_000]])
def test_a_rate_that_no_recording_has_is_refused(encoder, rate):
    (encoder / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": rate}))
    with pytest.raises(EncoderError, match="gives sampling_rate .*, expected a whole number from 1000 to 384000"):
        load_encoder(encoder)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("preprocessing", "hop_seconds", 0),
        ("preprocessing", "window_seconds", 0),
        ("head", "dropout", float("nan")),
        ("head", "groups", 1),
        ("encoder", "rate_hz", 0),
    ],
)
def test_a_rater_that_could_not_rate_is_refused(rater, section, key, value):
    change(rater, lambda values: values[section].update({key: value}))
    with pytest.raises(RaterError, match="cannot be built"):
        SpeechRater.from_pretrained(rater)


def test_a_config_that_is_deep_or_large_beyond_reason_is_refused(rater, encoder):
    for text in ("[" * 200_000, '{"a":' * 100_000, '{"a": "' + "x" * 11_000_000 + '"}'):
        (encoder / "config.json").write_text(text)
        (rater / "config.json").write_text(text)
        with pytest.raises(EncoderError, match=r"config.json' cannot be read as JSON"):
            load_encoder(encoder)
        with pytest.raises(RaterError, match=r"Cannot read '.*config.json'"):
            SpeechRater.from_pretrained(rater)


def header(**tensors) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


HEADERS = {
    "2^60 numbers": header(a={"dtype": "F32", "shape": [2**30, 2**30], "data_offsets": [0, 2**62]}),
    "a product that overflows": header(a={"dtype": "F32", "shape": [2**33, 2**33], "data_offsets": [0, 16]})
    + bytes(16),
    "numbers that are not there": header(a={"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}),
    "offsets that overlap": header(
        a={"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
        b={"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
    )
    + bytes(16),
    "a header of 2^63 bytes": struct.pack("<Q", 2**63),
    "a header that is not there": struct.pack("<Q", 1_000),
    "nothing": b"",
}


@pytest.mark.parametrize("name", HEADERS)
def test_weights_whose_header_lies_are_refused_and_take_no_memory(rater, encoder, name):
    before = peak_bytes()
    for folder in (rater, encoder):
        (folder / "model.safetensors").write_bytes(HEADERS[name])
    with pytest.raises(RaterError, match=r"Cannot read '.*model.safetensors'"):
        SpeechRater.from_pretrained(rater)
    with pytest.raises(EncoderError, match="the weights cannot be read"):
        load_encoder(encoder)
    assert peak_bytes() - before < 500e6


def test_a_weight_of_the_wrong_shape_is_refused(rater, encoder):
    for folder, error in ((rater, RaterError), (encoder, EncoderError)):
        path = folder / "model.safetensors"
        weights = load_file(path)
        name = next(name for name, values in weights.items() if values.ndim == 2)
        weights[name] = torch.zeros(weights[name].shape[0] + 1, weights[name].shape[1])
        sha256 = json.loads((folder / "config.json").read_text()).get("weights_sha256", "")
        save_file(weights, path, metadata={"format": "pt", "sha256": sha256} if sha256 else {"format": "pt"})
        with pytest.raises(error, match=r"has shape .* instead of|not of the size that config.json says"):
            SpeechRater.from_pretrained(folder) if error is RaterError else load_encoder(folder)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_no_finite_numbers_are_refused(rater, encoder, value):
    for folder, error in ((rater, RaterError), (encoder, EncoderError)):
        path = folder / "model.safetensors"
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        weights = load_file(path)
        name = max(weights, key=lambda name: weights[name].numel())
        weights[name].view(-1)[-1] = value
        save_file(weights, path, metadata=metadata)
        with pytest.raises(error, match=f"hold NaN or infinity.*{re.escape(name.rpartition('.')[2])}"):
            load_encoder(folder) if folder == encoder else SpeechRater.from_pretrained(folder)
    with pytest.raises(RaterError, match="hold NaN or infinity"):
        read_head(rater)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "a\0b", "sub/model.safetensors"])
def test_an_index_that_names_files_outside_its_folder_is_refused(encoder, tmp_path, name):
    (encoder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    (encoder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ModelError, match=r"model.safetensors.index.json names files outside its folder"):
        load_encoder(encoder)
