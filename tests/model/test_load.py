"""Checkpoints in the layouts of Hugging Face, whole and broken; no network."""

import json
import logging
import os
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    ASTConfig,
    ASTForAudioClassification,
    BertConfig,
    BertModel,
    Data2VecAudioConfig,
    Data2VecAudioForCTC,
    HubertConfig,
    HubertForCTC,
    HubertModel,
    LasrCTCConfig,
    LasrForCTC,
    ParakeetCTCConfig,
    ParakeetEncoder,
    ParakeetEncoderConfig,
    ParakeetForCTC,
    PreTrainedModel,
    SEWConfig,
    SEWForCTC,
    UniSpeechSatConfig,
    UniSpeechSatModel,
    Wav2Vec2BertConfig,
    Wav2Vec2BertForCTC,
    Wav2Vec2Config,
    Wav2Vec2ConformerConfig,
    Wav2Vec2ConformerModel,
    Wav2Vec2ForCTC,
    Wav2Vec2ForPreTraining,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMForXVector,
    WavLMModel,
    WhisperConfig,
    WhisperForConditionalGeneration,
    WhisperModel,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder as TransformersWhisperEncoder

from lalia.errors import EncoderError
from lalia.model.encoders.base import SpeechEncoder
from lalia.model.encoders.load import encode, load_encoder

TRANSFORMER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
PARAKEET = {**TRANSFORMER, "subsampling_conv_channels": 4}
SIZES = {
    **TRANSFORMER,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
WHISPER = WhisperConfig(
    d_model=16,
    encoder_layers=2,
    encoder_attention_heads=2,
    encoder_ffn_dim=24,
    decoder_layers=1,
    decoder_attention_heads=2,
    decoder_ffn_dim=24,
    max_source_positions=50,
    max_target_positions=8,
    vocab_size=40,
    pad_token_id=0,
    bos_token_id=0,
    eos_token_id=0,
    decoder_start_token_id=0,
    begin_suppress_tokens=None,
)
# class, config, what the encoder's weights are called in the checkpoint
LAYOUTS = {
    "wav2vec2": (Wav2Vec2Model, Wav2Vec2Config(**SIZES), ""),
    "wav2vec2 with a CTC head": (Wav2Vec2ForCTC, Wav2Vec2Config(**SIZES), "wav2vec2."),
    "wav2vec2 with quantizers": (
        Wav2Vec2ForPreTraining,
        Wav2Vec2Config(**SIZES, codevector_dim=8, proj_codevector_dim=8),
        "wav2vec2.",
    ),
    "wav2vec2 with a strided adapter": (Wav2Vec2Model, Wav2Vec2Config(**SIZES, add_adapter=True), ""),
    "hubert": (HubertModel, HubertConfig(**SIZES), ""),
    "hubert with a CTC head": (HubertForCTC, HubertConfig(**SIZES), "hubert."),
    "wavlm": (WavLMModel, WavLMConfig(**SIZES, do_stable_layer_norm=True), ""),
    "wavlm with a speaker head": (WavLMForXVector, WavLMConfig(**SIZES, tdnn_dim=[8] * 5), "wavlm."),
    "unispeech-sat": (UniSpeechSatModel, UniSpeechSatConfig(**SIZES), ""),
    "data2vec-audio with a CTC head": (
        Data2VecAudioForCTC,
        Data2VecAudioConfig(**SIZES, conv_pos_kernel_size=5, vocab_size=8),
        "data2vec_audio.",
    ),
    "wav2vec2-conformer": (Wav2Vec2ConformerModel, Wav2Vec2ConformerConfig(**SIZES), ""),
    "sew with a CTC head": (SEWForCTC, SEWConfig(**(SIZES | {"conv_dim": [8] * 13}), vocab_size=8), "sew."),
    "w2v-bert with a CTC head and an adapter": (
        Wav2Vec2BertForCTC,
        Wav2Vec2BertConfig(
            **TRANSFORMER,
            vocab_size=8,
            output_hidden_size=16,
            add_adapter=True,
            use_intermediate_ffn_before_adapter=True,
        ),
        "wav2vec2_bert.",
    ),
    "ast with a classifier": (
        ASTForAudioClassification,
        ASTConfig(**TRANSFORMER, max_length=98, num_mel_bins=32),
        "audio_spectrogram_transformer.",
    ),
    "parakeet to transcribe": (
        ParakeetForCTC,
        ParakeetCTCConfig(vocab_size=8, encoder_config=PARAKEET),
        "encoder.",
    ),
    "parakeet's encoder alone": (ParakeetEncoder, ParakeetEncoderConfig(**PARAKEET), ""),
    "lasr to transcribe": (
        LasrForCTC,
        LasrCTCConfig(vocab_size=8, encoder_config={**TRANSFORMER, "conv_kernel_size": 5}),
        "encoder.",
    ),
    "whisper to generate": (WhisperForConditionalGeneration, WHISPER, "model.encoder."),
    "whisper with its decoder": (WhisperModel, WHISPER, "encoder."),
    "whisper's encoder alone": (TransformersWhisperEncoder, WHISPER, ""),
}


@pytest.fixture(params=LAYOUTS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    """A checkpoint in the hub's layout, and the encoder's weights in it."""
    model_class, config, prefix = LAYOUTS[request.param]
    model = save(tmp_path / "encoder", model_class(config))
    state = {key.removeprefix(prefix): values for key, values in model.state_dict().items() if key.startswith(prefix)}
    return tmp_path / "encoder", state


def save(folder: Path, model: PreTrainedModel, do_normalize: bool | None = True) -> PreTrainedModel:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(model.config.to_dict()))
    save_file({key: values.clone() for key, values in model.state_dict().items()}, folder / "model.safetensors")
    if do_normalize is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": do_normalize}))
    return model


def small_hubert(folder: Path, do_normalize: bool | None = True) -> Path:
    save(folder, HubertModel(HubertConfig(**SIZES)), do_normalize)
    return folder


def pickle_instead(folder: Path, rename: tuple[str, str] = ("", "")) -> None:
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({key.replace(*rename): values for key, values in state.items()}, folder / "pytorch_model.bin")


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def weights(encoder: SpeechEncoder) -> dict[str, Tensor]:
    prefix = "encoder." if encoder.family == "whisper" else ""
    return {key.removeprefix(prefix): values for key, values in encoder.model.state_dict().items()}


def assert_weights(encoder: SpeechEncoder, state: dict[str, Tensor]) -> None:
    loaded = weights(encoder)
    assert len(loaded) > 20
    for key, values in loaded.items():
        assert torch.equal(values, state[key].float()), key


# --- layouts ----------------------------------------------------------------------------------------------------------


def test_the_encoders_weights_are_those_of_the_checkpoint(saved: tuple[Path, dict[str, Tensor]]) -> None:
    folder, state = saved
    assert_weights(load_encoder(folder), state)


def test_a_folder_can_be_given_as_text(saved: tuple[Path, dict[str, Tensor]]) -> None:
    folder, state = saved
    assert_weights(load_encoder(str(folder)), state)


def test_pickled_weights_are_read(saved: tuple[Path, dict[str, Tensor]]) -> None:
    folder, state = saved
    pickle_instead(folder)
    assert_weights(load_encoder(folder), state)


@pytest.mark.parametrize("part", ["g", "v"])
def test_the_old_names_of_weight_norm_are_read(tmp_path: Path, part: str) -> None:
    state = save(tmp_path, WavLMModel(WavLMConfig(**SIZES))).state_dict()
    old = {"encoder.pos_conv_embed.conv.parametrizations.weight.original": "encoder.pos_conv_embed.conv.weight_"}
    renamed = {
        key.replace(*next(iter(old.items()))).replace("weight_0", "weight_g").replace("weight_1", "weight_v"): values
        for key, values in state.items()
    }
    assert f"encoder.pos_conv_embed.conv.weight_{part}" in renamed
    save_file({key: values.clone() for key, values in renamed.items()}, tmp_path / "model.safetensors")
    assert_weights(load_encoder(tmp_path), state)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_checkpoints_come_as_float32(saved: tuple[Path, dict[str, Tensor]], dtype: str) -> None:
    folder, state = saved
    half = {key: values.to(getattr(torch, dtype)) for key, values in state.items()}
    stored = load_file(folder / "model.safetensors")
    save_file({key: values.to(getattr(torch, dtype)) for key, values in stored.items()}, folder / "model.safetensors")
    change_config(folder, dtype=dtype)
    encoder = load_encoder(folder)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert_weights(encoder, half)


def shard(folder: Path, *, pickled: bool) -> None:
    """Spread a checkpoint's weights over two files and an index, as large ones are."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem, ending, write = ("pytorch_model", "bin", torch.save) if pickled else ("model", "safetensors", save_file)
    names = sorted(state)
    files = {f"{stem}-00001-of-00002.{ending}": names[:20], f"{stem}-00002-of-00002.{ending}": names[20:]}
    for file, keys in files.items():
        write({key: state[key] for key in keys}, folder / file)
    index = {"metadata": {"total_size": 0}, "weight_map": {key: file for file, keys in files.items() for key in keys}}
    (folder / f"{stem}.{ending}.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("pickled", [False, True])
def test_sharded_weights_are_read(saved: tuple[Path, dict[str, Tensor]], pickled: bool) -> None:
    folder, state = saved
    shard(folder, pickled=pickled)
    assert_weights(load_encoder(folder), state)


def test_no_decoder_head_or_quantizer_is_loaded(saved: tuple[Path, dict[str, Tensor]]) -> None:
    folder, _ = saved
    names = " ".join(load_encoder(folder).state_dict())
    assert not any(word in names for word in ("decoder", "lm_head", "quantizer", "project_q", "tdnn", "adapter"))


def test_loading_reports_nothing_of_left_out_heads(
    saved: tuple[Path, dict[str, Tensor]], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = saved
    load_encoder(folder)
    assert caplog.text == ""
    assert capsys.readouterr() == ("", "")


def test_loading_leaves_the_global_random_state_as_it_was(tmp_path: Path) -> None:
    folder = small_hubert(tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_encoder(folder)
    assert torch.equal(torch.rand(2), expected)


def test_a_loaded_encoder_is_frozen_and_says_where_it_comes_from(tmp_path: Path) -> None:
    encoder = load_encoder(small_hubert(tmp_path / "my-hubert"))
    assert (encoder.source.name, encoder.source.revision, encoder.family) == ("my-hubert", None, "hubert")
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    json.dumps(encoder.source.architecture, allow_nan=False)


# --- normalisation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("do_normalize", [True, False])
def test_auto_normalises_as_the_preprocessor_config_says(tmp_path: Path, do_normalize: bool) -> None:
    assert load_encoder(small_hubert(tmp_path, do_normalize)).normalize is do_normalize


@pytest.mark.parametrize("do_normalize", [True, False, None])
def test_normalize_can_be_set(tmp_path: Path, do_normalize: bool | None, caplog: pytest.LogCaptureFixture) -> None:
    folder = small_hubert(tmp_path, do_normalize)
    assert load_encoder(folder, normalize=True).normalize is True
    assert load_encoder(folder, normalize=False).normalize is False
    assert caplog.text == ""


def test_the_feature_extractor_of_a_processor_is_read_too(tmp_path: Path) -> None:
    folder = small_hubert(tmp_path, do_normalize=None)
    (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": {"do_normalize": True}}))
    assert load_encoder(folder).normalize is True


def test_without_a_preprocessor_config_nothing_is_normalised_and_a_warning_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        encoder = load_encoder(small_hubert(tmp_path / "bare", do_normalize=None))
    assert encoder.normalize is False
    assert "Encoder 'bare' has no preprocessor_config.json" in caplog.text
    assert "audio.normalize" in caplog.text


def test_random_encoders_normalise_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert load_encoder("random:hubert").normalize is True
    assert load_encoder("random:hubert", normalize=False).normalize is False
    assert caplog.text == ""


def test_whisper_never_normalises_waveforms(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path, WhisperModel(WHISPER), do_normalize=None)
    assert load_encoder(tmp_path, normalize=True).normalize is False
    assert load_encoder("random:whisper", normalize=True).normalize is False
    assert caplog.text == ""


def test_the_rate_of_the_preprocessor_config_is_the_encoders(tmp_path: Path) -> None:
    folder = small_hubert(tmp_path)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, "sampling_rate": 8_000}))
    assert load_encoder(folder).rate_hz == 8_000


# --- what cannot be loaded --------------------------------------------------------------------------------------------


def test_weights_missing_from_the_checkpoint_are_listed(saved: tuple[Path, dict[str, Tensor]]) -> None:
    folder, _ = saved
    stored = load_file(folder / "model.safetensors")
    lost = [key for key in stored if "layers.1." in key and "norm" in key and "decoder" not in key]
    save_file({key: values for key, values in stored.items() if key not in lost}, folder / "model.safetensors")
    with pytest.raises(EncoderError, match=rf"{len(lost)} of the encoder's weights are not in .*layers\.1\..*norm"):
        load_encoder(folder)


STORED = {"whole": None, "pickled": pickle_instead, "sharded": lambda folder: shard(folder, pickled=False)}


@pytest.mark.parametrize("layout", STORED)
def test_a_block_more_than_the_config_says_is_refused(saved: tuple[Path, dict[str, Tensor]], layout: str) -> None:
    folder, _ = saved
    stored = load_file(folder / "model.safetensors")
    block = {key: values for key, values in stored.items() if ".layers.1." in f".{key}" and not is_beside(key)}
    extra = {key.replace("layers.1.", "layers.2."): values.clone() for key, values in block.items()}
    save_file(stored | extra, folder / "model.safetensors")
    if STORED[layout]:
        STORED[layout](folder)
    with pytest.raises(EncoderError, match=rf": {len(extra)} weights in the checkpoint have no place.*layers\.2\."):
        load_encoder(folder)


def is_beside(key: str) -> bool:
    """Whether a weight is a decoder's or an adapter's, or of a positional convolution, rather than a block's."""
    names = {"decoder", "adapter", "tdnn", "quantizer", "pos_conv_embed"}
    return bool(names & set(key.split(".")))


def test_a_checkpoint_of_a_deeper_model_is_refused(tmp_path: Path) -> None:
    change_config(small_hubert(tmp_path), num_hidden_layers=1)
    with pytest.raises(EncoderError, match=r"16 weights in the checkpoint have no place.*layers\.1\..*size that its"):
        load_encoder(tmp_path)


def test_a_renamed_weight_is_listed_as_missing_and_as_without_a_place(saved: tuple[Path, dict[str, Tensor]]) -> None:
    folder, _ = saved
    stored = load_file(folder / "model.safetensors")
    keys = ("k_proj.weight", "linear_k.weight")
    key = next(key for key in stored if "layers.0" in key and key.endswith(keys) and not is_beside(key))
    stored[key.replace("k_proj", "key_proj").replace("linear_k", "key_proj")] = stored.pop(key)
    save_file(stored, folder / "model.safetensors")
    with pytest.raises(
        EncoderError,
        match=r"1 of the encoder's weights are not in the checkpoint and would be random: .*(k_proj|linear_k)\.weight; "
        r"1 weights in the checkpoint have no place in the encoder and would be lost: .*key_proj\.weight\. Is it",
    ):
        load_encoder(folder)


def test_weights_of_adapters_that_are_not_merged_are_refused(tmp_path: Path) -> None:
    stored = load_file(small_hubert(tmp_path) / "model.safetensors")
    for key in [key for key in stored if key.endswith("q_proj.weight")]:
        stored[key.replace("weight", "lora_A.default.weight")] = torch.zeros(2, 16)
        stored[key.replace("weight", "lora_B.default.weight")] = torch.zeros(16, 2)
    save_file(stored, tmp_path / "model.safetensors")
    with pytest.raises(EncoderError, match=r"4 weights .*q_proj\.lora_A\.default\.weight.*merge them \(merge_and"):
        load_encoder(tmp_path)


def test_a_folder_with_an_adapter_beside_the_weights_is_refused(tmp_path: Path) -> None:
    # transformers would follow the base model that the adapter names, wherever that is
    (small_hubert(tmp_path) / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    with pytest.raises(EncoderError, match="holds an adapter of peft"):
        load_encoder(tmp_path)


def test_a_head_that_is_named_as_a_part_of_the_encoder_is_left_out(tmp_path: Path) -> None:
    stored = save(tmp_path, WavLMForXVector(WavLMConfig(**SIZES, tdnn_dim=[8] * 5))).state_dict()
    assert "feature_extractor.weight" in stored
    assert load_encoder(tmp_path).n_blocks == 2


def test_the_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    save(tmp_path, HubertModel(HubertConfig(**SIZES)))
    change_config(tmp_path, model_type="wavlm")
    with pytest.raises(EncoderError, match="7 of the encoder's weights.*gru_rel_pos_const.*Is it a checkpoint of"):
        load_encoder(tmp_path)


def test_the_embedding_of_masked_frames_may_be_missing(tmp_path: Path) -> None:
    save(tmp_path, Wav2Vec2Model(Wav2Vec2Config(**SIZES)))
    stored = load_file(tmp_path / "model.safetensors")
    del stored["masked_spec_embed"]
    save_file(stored, tmp_path / "model.safetensors")
    assert load_encoder(tmp_path).n_blocks == 2


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    change_config(small_hubert(tmp_path), intermediate_size=32)
    with pytest.raises(EncoderError, match=r"6 weights are not of the size.*feed_forward.*\(24,\), expected \(32,\)"):
        load_encoder(tmp_path)


def test_another_architecture_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    save(tmp_path / "bert", BertModel(config))
    message = "unknown architecture 'bert'.* Known by their parts are wav2vec2, hubert, wavlm"
    with pytest.raises(EncoderError, match=message):
        load_encoder(tmp_path / "bert")


def test_a_checkpoint_with_its_own_code_is_refused(tmp_path: Path) -> None:
    change_config(small_hubert(tmp_path), auto_map={"AutoModel": "evil.Model"})
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(EncoderError, match=r"brings its own code \(auto_map in config.json\)"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
def test_code_that_is_asked_for_deep_within_a_config_is_refused_too(tmp_path: Path, file: str) -> None:
    path = small_hubert(tmp_path) / file
    nested = {"parts": [{"encoder": {"auto_map": {"AutoModel": "evil.Model"}}}]}
    path.write_text(json.dumps(json.loads(path.read_text()) | nested))
    with pytest.raises(EncoderError, match=rf"brings its own code \(auto_map in {file}\)"):
        load_encoder(tmp_path)


def test_a_config_without_an_architecture_is_refused(tmp_path: Path) -> None:
    path = small_hubert(tmp_path) / "config.json"
    path.write_text('{"sample_rate": 16000}')
    with pytest.raises(EncoderError, match=r"names no architecture \(model_type\)"):
        load_encoder(tmp_path)


def test_a_tokenizers_folder_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(EncoderError, match=r"holds a tokenizer \(tokenizer.json\) but no weights"):
        load_encoder(tmp_path)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    (small_hubert(tmp_path) / "model.safetensors").unlink()
    torch.save({"encoder.layer_norm.weight": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="the weights cannot be read"):
        load_encoder(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_broken_weights_are_refused(tmp_path: Path, file: str) -> None:
    (small_hubert(tmp_path) / "model.safetensors").unlink()
    (tmp_path / file).write_bytes(b"not weights at all")
    with pytest.raises(EncoderError, match="the weights cannot be read"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read as JSON"), ("[]", "holds no JSON object")])
def test_a_broken_config_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (small_hubert(tmp_path) / "config.json").write_text(text)
    with pytest.raises(EncoderError, match=message):
        load_encoder(tmp_path)


def test_a_config_with_values_of_the_wrong_kind_is_refused(tmp_path: Path) -> None:
    change_config(small_hubert(tmp_path), hidden_size="wide")
    with pytest.raises(EncoderError, match="config cannot be used.*'hidden_size'"):
        load_encoder(tmp_path)


def test_an_attention_that_a_config_asks_for_is_not_used(tmp_path: Path) -> None:
    change_config(small_hubert(tmp_path), _attn_implementation="eager", attn_implementation="flex_attention")
    assert load_encoder(tmp_path).model.config._attn_implementation == "sdpa"


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    (small_hubert(tmp_path) / "config.json").unlink()
    with pytest.raises(EncoderError, match="holds no config.json"):
        load_encoder(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (small_hubert(tmp_path) / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match="holds no weights: neither model.safetensors nor pytorch_model.bin"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("encoder", ["./nowhere", "/nowhere/at/all", "~/nowhere", "a/b/c", Path("nowhere")])
def test_a_folder_that_is_not_there_is_refused(encoder: str | Path) -> None:
    with pytest.raises(EncoderError, match=f"There is no folder '{encoder}'"):
        load_encoder(encoder)


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="a revision goes with a Hugging Face id"):
        load_encoder(small_hubert(tmp_path), revision="main")


# --- Hugging Face ids in the cache (test_download.py has the rest) --------------------------------------------------

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hugging Face's cache in a folder of the test, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_an_id_is_read_from_the_cache_without_a_network_and_its_commit_kept(cache: Path, revision: str | None) -> None:
    repository = cache / "models--someone--small-hubert"
    small_hubert(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    encoder = load_encoder("someone/small-hubert", revision=revision)
    assert (encoder.source.name, encoder.source.revision) == ("someone/small-hubert", COMMIT)
    assert encode(encoder, [torch.zeros(4_000)], ["last"])[0]["last"].shape == (12, 16)
