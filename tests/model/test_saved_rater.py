import json
import shutil
from dataclasses import replace

import pytest
import torch

from covering import cover
from lalia.errors import ModelError, RaterError
from lalia.model.adapt import adapt_partial
from lalia.model.adapters import adapt_lora
from lalia.model.encoders.load import load_encoder
from lalia.model.rater import SpeechRater
from toy_rater import SHARINGS, TRANSFORMER, make_encoder, make_rater, make_waveform

POOLINGS = ["mean", "max", "statistics", "attention", {"kind": "attention", "heads": 3}, "attentive_statistics"]
LAYERS = ["last", "weighted", 1, [1, -1], "last-2"]
HEADS = [("binary", "cumulative"), ("ordinal", "cumulative"), ("ordinal", "corn"), ("regression", "cumulative")]


@pytest.mark.parametrize(("kind", "method"), HEADS)
@pytest.mark.parametrize("layers", LAYERS)
def test_saved_rater_gives_the_same_scores_after_loading(tmp_path, kind, method, layers):
    rater = make_rater(kind=kind, method=method, layers=layers, pooling="attention", thresholds={"breathy": 0.25})
    if kind == "regression":
        rater.head.set_residual_sd(torch.tensor([0.4, 0.9]))
    rater.save_pretrained(tmp_path / "model")
    loaded = SpeechRater.from_pretrained(tmp_path / "model")
    waveforms = [make_waveform(2.0), make_waveform(0.3, seed=1)]
    for values, wanted in zip(loaded.score(waveforms), rater.score(waveforms), strict=True):
        assert torch.equal(values.nan_to_num(), wanted.nan_to_num())
    assert loaded.thresholds == {"breathy": 0.25, "slow_rate": 0.5}
    assert (loaded.traits, loaded.scale, loaded.preprocessing) == (rater.traits, rater.scale, rater.preprocessing)
    assert not any(module.training for module in loaded.modules())


@pytest.mark.parametrize(
    ("head", "pooling", "sharing", "transformer"), cover(HEADS, POOLINGS, SHARINGS, [None, TRANSFORMER], one_in=4)
)
def test_every_pooling_and_head_comes_back(tmp_path, head, pooling, sharing, transformer):
    kind, method = head
    rater = make_rater(kind=kind, method=method, pooling=pooling, transformer=transformer, **sharing)
    rater.save_pretrained(tmp_path / "model")
    loaded = SpeechRater.from_pretrained(tmp_path / "model")
    waveforms = [make_waveform(0.5), make_waveform(0.3, seed=1)]
    for values, wanted in zip(loaded.score(waveforms), rater.score(waveforms), strict=True):
        torch.testing.assert_close(values, wanted, atol=1e-6, rtol=0, equal_nan=True)
    assert loaded.pooling.config == rater.pooling.config
    assert loaded.head.config == rater.head.config


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "whisper"])
def test_raters_on_other_encoders_come_back_too(tmp_path, family):
    config = {"max_source_positions": 100} if family == "whisper" else {"feat_extract_norm": "group"}
    rater = make_rater(encoder=make_encoder(family, **config))
    rater.save_pretrained(tmp_path / "model")
    loaded = SpeechRater.from_pretrained(tmp_path / "model")
    assert torch.equal(loaded.score([make_waveform(0.4)]).score, rater.score([make_waveform(0.4)]).score)


def test_a_run_folder_gives_its_rater(tmp_path):
    rater = make_rater()
    rater.save_pretrained(tmp_path / "run" / "model")
    loaded = SpeechRater.from_pretrained(tmp_path / "run")
    assert torch.equal(loaded.head.outputs[0].latent.weight, rater.head.outputs[0].latent.weight)


def test_loading_leaves_the_random_state_as_it_was(tmp_path):
    make_rater().save_pretrained(tmp_path / "model")
    torch.manual_seed(2)
    expected = torch.rand(1)
    torch.manual_seed(2)
    SpeechRater.from_pretrained(tmp_path / "model")
    assert torch.equal(torch.rand(1), expected)


def test_saving_twice_gives_the_same_bytes_and_leaves_nothing_beside(tmp_path):
    rater = make_rater()
    rater.save_pretrained(tmp_path / "one")
    rater.save_pretrained(tmp_path / "two")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_saving_again_replaces_the_rater_and_keeps_what_lies_beside_it(tmp_path):
    rater = make_rater()
    rater.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("mine")
    rater.thresholds["breathy"] = 0.9
    rater.save_pretrained(tmp_path / "model")
    assert SpeechRater.from_pretrained(tmp_path / "model").thresholds["breathy"] == 0.9
    assert (tmp_path / "model" / "README.md").read_text() == "mine"


def test_the_working_directory_can_be_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    make_rater().save_pretrained(".")
    assert SpeechRater.from_pretrained(".").traits == ("breathy", "slow_rate")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors", "notes.txt"]


def test_config_is_sorted_strict_json_without_the_users_folders(tmp_path):
    make_encoder().model.save_pretrained(tmp_path / "my-wavlm")
    encoder = load_encoder(tmp_path / "my-wavlm")
    make_rater(encoder=encoder, layers="weighted", pooling="attention").save_pretrained(tmp_path / "model")
    text = (tmp_path / "model" / "config.json").read_text(encoding="utf-8")
    values = json.loads(text, parse_constant=pytest.fail)  # NaN and Infinity
    assert list(values) == sorted(values)
    assert values["format"] == 1
    assert values["scale"] == {"levels": [1.0, 2.0, 3.0, 4.0], "present_from": 2.0}
    assert values["pooling"] == {"heads": 1, "hidden": 8, "kind": "attention"}
    assert values["encoder"]["name"] == "my-wavlm"
    assert str(tmp_path) not in text


def test_an_encoder_from_a_folder_is_not_needed_to_load_the_rater(tmp_path):
    make_encoder("hubert").model.save_pretrained(tmp_path / "my-hubert")
    rater = make_rater(encoder=load_encoder(tmp_path / "my-hubert", normalize=False))
    rater.save_pretrained(tmp_path / "model")
    shutil.rmtree(tmp_path / "my-hubert")
    loaded = SpeechRater.from_pretrained(tmp_path / "model")
    assert torch.equal(loaded.score([make_waveform(0.4)]).score, rater.score([make_waveform(0.4)]).score)


def test_a_failed_save_leaves_the_old_rater_and_no_rubbish(tmp_path):
    rater = make_rater()
    (tmp_path / "model").write_text("a file")
    with pytest.raises(RaterError, match=r"Cannot save the rater in '.*model': Not a directory"):
        rater.save_pretrained(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_threshold_that_is_no_probability_is_not_saved(tmp_path):
    rater = make_rater()
    rater.thresholds["breathy"] = float("nan")
    with pytest.raises(ModelError, match="The threshold of 'breathy' must be a probability, got nan"):
        rater.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    make_rater(pooling="attention").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


def edit_config(folder, **changes):
    values = json.loads((folder / "config.json").read_text())
    values |= changes
    (folder / "config.json").write_text(json.dumps({key: v for key, v in values.items() if v is not None}))


def test_a_folder_without_a_rater_says_what_to_give(tmp_path):
    with pytest.raises(RaterError, match=r"No rater in .*nowhere'.*Give the folder of a finished run or its model"):
        SpeechRater.from_pretrained(tmp_path / "nowhere")


def test_missing_weights_are_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(RaterError, match=r"has no model.safetensors. Copy the whole folder"):
        SpeechRater.from_pretrained(folder)


@pytest.mark.parametrize("text", ["{", "", '{"format": 1,}'])
def test_config_that_is_no_json_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(RaterError, match=r"Cannot read '.*config.json'"):
        SpeechRater.from_pretrained(folder)


@pytest.mark.parametrize("text", ["[]", "{}", '{"model_type": "wavlm"}'])
def test_config_of_something_else_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(RaterError, match="does not describe a rater of lalia"):
        SpeechRater.from_pretrained(folder)


def test_unknown_format_names_the_lalia_that_saved_it(folder):
    edit_config(folder, format=2, lalia="9.0")
    with pytest.raises(RaterError, match=r"has format 2, saved by lalia 9.0; this lalia reads format 1"):
        SpeechRater.from_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": None, "traits": None}, r"traits: Field required; scale: Field required"),
        ({"temperature": 2}, "temperature: Extra inputs are not permitted"),
        ({"scale": {"levels": [1, 2], "present_from": 7}}, r"scale: .*present_from must be one of \[2.0\]"),
        ({"thresholds": {"breathy": 1.5}}, "thresholds.breathy: Input should be less than or equal to 1"),
        ({"preprocessing": {"rate_hz": 16_000}}, "preprocessing.trim_db: Field required"),
        ({"pooling": {"kind": "median"}}, "cannot be built: Unknown pooling 'median'"),
        ({"pooling": {"kind": "mean", "size": 2}}, "cannot be built: .*unexpected keyword argument 'size'"),
        ({"pooling": {"kind": "attention", "hidden": -1}}, "cannot be built: .*negative dimension"),
        ({"layers": 12}, "cannot be built: Unknown layers 12"),
        ({"pooling": {"kind": "mean"}}, "do not fit config.json: pooling.attention.project.weight is not expected"),
        ({"pooling": {"kind": "attention", "hidden": 5}}, r"project.weight has shape \(8, 16\) instead of \(5, 16\)"),
        ({"layers": [1, 2]}, "do not fit config.json: .*project.weight has shape"),
        (
            {"head": {"kind": "ordinal", "groups": {"voice": [0]}}},
            "cannot be built: Each of the traits 0 to 1 belongs in",
        ),
        ({"layers": "weighted"}, "do not fit config.json: layer_mix.logits is missing"),
    ],
)
def test_a_config_that_does_not_fit_says_where(folder, changes, message):
    edit_config(folder, **changes)
    with pytest.raises(RaterError, match=message):
        SpeechRater.from_pretrained(folder)


def test_truncated_weights_are_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RaterError, match=r"Cannot read '.*model.safetensors'"):
        SpeechRater.from_pretrained(folder)


def test_weights_of_another_rater_are_refused(folder, tmp_path):
    other = make_rater(
        pooling="attention", encoder=load_encoder({"random": "wavlm", "width": 16, "heads": 2, "seed": 9})
    )
    other.save_pretrained(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    with pytest.raises(RaterError, match=r"config.json and model.safetensors in .* are not of one rater"):
        SpeechRater.from_pretrained(folder)


# --- without the weights of the encoder -------------------------------------------------------------------------------


def make_lora_rater(seed=0):
    encoder = load_encoder({"random": "wavlm", "width": 16, "heads": 2, "seed": seed})
    adapt_lora(encoder, rank=2, last=1)
    rater = make_rater(encoder=encoder, pooling="attention")
    with torch.no_grad():
        for name, parameter in rater.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1).mul_(torch.arange(len(parameter))[:, None])
    return rater


def fresh_encoder(seed=0, **changes):
    encoder = load_encoder({"random": "wavlm", "width": 16, "heads": 2, "seed": seed})
    encoder.source = replace(encoder.source, **changes)
    return encoder


def test_changes_alone_are_small_and_give_the_same_scores_on_the_same_encoder(tmp_path):
    rater = make_lora_rater()
    rater.save_pretrained(tmp_path / "changes", encoder_weights=False)
    rater.save_pretrained(tmp_path / "whole")
    loaded = SpeechRater.from_pretrained(tmp_path / "changes", encoder=fresh_encoder())
    assert torch.equal(loaded.score([make_waveform(0.4)]).score, rater.score([make_waveform(0.4)]).score)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("changes", "whole")]
    assert sizes[0] < sizes[1] / 5
    assert not any(parameter.requires_grad for parameter in loaded.encoder.parameters())


def test_changes_can_be_saved_again_after_loading(tmp_path):
    rater = make_rater(encoder=make_encoder(), pooling="attention")
    adapt_partial(rater.encoder, last=1)
    rater.encoder.blocks[1].feed_forward.output_dense.weight.data += 0.1
    rater.save_pretrained(tmp_path / "whole")
    SpeechRater.from_pretrained(tmp_path / "whole").save_pretrained(tmp_path / "changes", encoder_weights=False)
    loaded = SpeechRater.from_pretrained(tmp_path / "changes", encoder=make_encoder())
    assert torch.equal(loaded.score([make_waveform(0.4)]).score, rater.score([make_waveform(0.4)]).score)


def test_merged_weights_count_as_changed(tmp_path):
    rater = make_lora_rater()
    expected = rater.score([make_waveform(0.4)]).score
    rater.merge().save_pretrained(tmp_path / "changes", encoder_weights=False)
    loaded = SpeechRater.from_pretrained(tmp_path / "changes", encoder=fresh_encoder())
    torch.testing.assert_close(loaded.score([make_waveform(0.4)]).score, expected, atol=1e-5, rtol=0)
    assert loaded.encoder.added == {}


@pytest.mark.parametrize("encoder_weights", [True, False])
@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({"seed": 9}, r"weights of the given encoder random:wavlm are not those .* though its name is the same"),
        ({"name": "microsoft/wavlm-base"}, r"on another encoder .*: name 'microsoft/wavlm-base' instead of 'random:"),
        ({"revision": "abc"}, r"on another encoder .*: revision 'abc' instead of None\. Load random:wavlm\."),
        ({"normalize": False}, r"normalize False instead of True"),
    ],
)
def test_another_encoder_revision_or_other_weights_are_refused(tmp_path, encoder_weights, encoder, message):
    make_lora_rater().save_pretrained(tmp_path / "model", encoder_weights=encoder_weights)
    with pytest.raises(RaterError, match=message):
        SpeechRater.from_pretrained(tmp_path / "model", encoder=fresh_encoder(**encoder))


def test_another_architecture_is_refused_by_its_keys(tmp_path):
    make_lora_rater().save_pretrained(tmp_path / "model", encoder_weights=False)
    wider = load_encoder({"random": "wavlm", "width": 32, "heads": 2})
    with pytest.raises(RaterError, match=r"architecture\.hidden_size 32 instead of 16"):
        SpeechRater.from_pretrained(tmp_path / "model", encoder=wider)


def test_an_encoder_that_was_adapted_already_is_refused(tmp_path):
    make_lora_rater().save_pretrained(tmp_path / "model", encoder_weights=False)
    encoder = fresh_encoder()
    adapt_lora(encoder)
    with pytest.raises(RaterError, match=r"The given encoder was adapted already \(lora\)"):
        SpeechRater.from_pretrained(tmp_path / "model", encoder=encoder)


def test_without_its_encoder_a_rater_loads_it_by_its_name(tmp_path, monkeypatch):
    make_encoder("hubert").model.save_pretrained(tmp_path / "my-hubert")
    monkeypatch.chdir(tmp_path)
    rater = make_rater(encoder=load_encoder("my-hubert", normalize=False))
    rater.save_pretrained(tmp_path / "model", encoder_weights=False)
    loaded = SpeechRater.from_pretrained(tmp_path / "model")
    assert torch.equal(loaded.score([make_waveform(0.4)]).score, rater.score([make_waveform(0.4)]).score)
    shutil.rmtree(tmp_path / "my-hubert")
    with pytest.raises(RaterError, match=r"saved without the weights of its encoder my-hubert, which cannot be loaded"):
        SpeechRater.from_pretrained(tmp_path / "model")


def test_a_random_encoder_has_to_be_given(tmp_path):
    make_lora_rater().save_pretrained(tmp_path / "model", encoder_weights=False)
    with pytest.raises(RaterError, match=r"its encoder random:wavlm, whose seed is not known\. Give it: "):
        SpeechRater.from_pretrained(tmp_path / "model")
