"""The encoder of a saved rater as the encoder of another one."""

import shutil

import pytest
import torch

from lalia.errors import EncoderError, ModelError, RaterError
from lalia.model.adapt import adapt_partial
from lalia.model.adapters import adapt_ia3, adapt_lora, adapt_soft_prompt
from lalia.model.encoders.load import encode, load_encoder
from lalia.model.rater import SpeechRater
from toy_rater import make_encoder, make_rater, make_waveform


@pytest.fixture(params=["wavlm", "whisper"])
def rater(request):
    """A rater whose last block was trained away from where it began."""
    config = {"max_source_positions": 100} if request.param == "whisper" else {}
    made = make_rater(encoder=make_encoder(request.param, **config), layers="weighted", pooling="attention")
    adapt_partial(made.encoder, last=1)
    with torch.no_grad():
        for parameter in made.encoder.blocks[-1].parameters():
            parameter.add_(0.1)
    return made


def frames_of(encoder):
    return encode(encoder, [make_waveform(0.5)], ["last"])[0]["last"]


def test_a_saved_raters_folder_gives_its_encoder_with_the_trained_weights(rater, tmp_path):
    rater.save_pretrained(tmp_path / "model")
    encoder = load_encoder(tmp_path / "model")
    assert torch.equal(frames_of(encoder), frames_of(rater.encoder))
    assert not torch.equal(frames_of(encoder), frames_of(make_encoder(rater.encoder.family)))
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not any(module.training for module in encoder.modules())
    assert encoder.first_changing_depth == encoder.n_blocks + 1


def test_a_runs_folder_gives_it_too(rater, tmp_path):
    rater.save_pretrained(tmp_path / "run" / "model")
    assert torch.equal(frames_of(load_encoder(str(tmp_path / "run"))), frames_of(rater.encoder))


def test_the_source_says_where_it_began_and_that_it_was_trained_since(rater, tmp_path):
    rater.save_pretrained(tmp_path / "model")
    source = load_encoder(tmp_path / "model").source
    assert (source.name, source.revision) == (rater.encoder.source.name, None)
    assert (source.is_fine_tuned, rater.encoder.source.is_fine_tuned) == (True, False)


def test_the_encoder_of_a_rater_that_kept_it_frozen_is_not_said_to_be_trained(tmp_path):
    make_rater().save_pretrained(tmp_path / "model")
    assert load_encoder(tmp_path / "model").source.is_fine_tuned is False


def test_a_trained_encoder_stays_so_through_a_rater_that_freezes_it(rater, tmp_path):
    rater.save_pretrained(tmp_path / "one")
    make_rater(encoder=load_encoder(tmp_path / "one")).save_pretrained(tmp_path / "two")
    assert SpeechRater.from_pretrained(tmp_path / "two").encoder.source.is_fine_tuned is True


def test_normalisation_is_the_raters_unless_it_is_set(tmp_path):
    make_rater(encoder=load_encoder("random:hubert", normalize=False)).save_pretrained(tmp_path / "model")
    assert load_encoder(tmp_path / "model").normalize is False
    assert load_encoder(tmp_path / "model", normalize=True).normalize is True


def test_a_saved_rater_has_no_revision(tmp_path):
    make_rater().save_pretrained(tmp_path / "model")
    with pytest.raises(EncoderError, match="is a saved rater: a revision goes with a Hugging Face id"):
        load_encoder(tmp_path / "model", revision="main")


def test_a_damaged_rater_is_refused(tmp_path):
    make_rater().save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(RaterError, match=r"has no model.safetensors"):
        load_encoder(tmp_path / "model")


def test_loading_leaves_the_raters_folder_as_it_was(tmp_path):
    make_rater().save_pretrained(tmp_path / "model")
    shutil.copytree(tmp_path / "model", tmp_path / "copy")
    load_encoder(tmp_path / "model", keep_download=False)
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "model" / name).read_bytes() == (tmp_path / "copy" / name).read_bytes()


@pytest.mark.parametrize("adapt", [adapt_lora, adapt_ia3])
def test_adapters_are_folded_into_the_encoders_weights(adapt, tmp_path):
    rater = make_rater()
    adapt(rater.encoder)
    with torch.no_grad():
        for parameter in rater.encoder.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    rater.save_pretrained(tmp_path / "model")
    encoder = load_encoder(tmp_path / "model")
    assert not encoder.added
    assert encoder.source.is_fine_tuned
    assert list(encoder.model.state_dict()) == list(make_encoder().model.state_dict())
    torch.testing.assert_close(frames_of(encoder), frames_of(rater.encoder), atol=1e-5, rtol=0)


def test_a_prompt_is_no_part_of_an_encoders_weights(tmp_path):
    rater = make_rater()
    adapt_soft_prompt(rater.encoder, length=2)
    rater.save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match="soft prompt cannot be folded into weights"):
        load_encoder(tmp_path / "model")


def test_a_rater_saved_without_its_encoder_has_none_to_give(tmp_path):
    make_rater().save_pretrained(tmp_path / "model", encoder_weights=False)
    with pytest.raises(RaterError, match=r"without the weights of its encoder random:wavlm.*model.save_encoder true"):
        load_encoder(tmp_path / "model")
