"""Audio models whose parts lalia does not know: their last hidden state, frozen or trained in full."""

from collections.abc import Callable

import pytest
import torch
from transformers import MoonshineModel, SEWDModel

from lalia.errors import EncoderError
from lalia.model.adapt import adapt_frozen, adapt_full, adapt_partial
from lalia.model.adapters import adapt_adalora, adapt_ia3, adapt_lora, adapt_soft_prompt
from lalia.model.encoders.base import SpeechEncoder
from lalia.model.encoders.load import encode, load_encoder
from lalia.model.encoders.whole import WholeEncoder
from toy_encoders import noise, pad, run

WHOLE = ["sew-d", "moonshine", "speech_to_text", "seamless_m4t_v2", "qwen2_audio_encoder"]

# transformers says what its own classes do not get from their own configs, and divides single frames by zero
pytestmark = pytest.mark.filterwarnings("ignore")


def small(architecture: str) -> SpeechEncoder:
    return load_encoder({"random": architecture, "layers": 2, "width": 16, "heads": 2})


def normalized(clip: torch.Tensor) -> torch.Tensor:
    """Return a clip as Wav2Vec2FeatureExtractor gives it by default."""
    return (clip - clip.mean()) / (clip.var(unbiased=False) + 1e-7).sqrt()


@pytest.mark.parametrize("architecture", WHOLE)
def test_a_model_read_as_a_whole_gives_frames_that_depend_on_no_neighbour(architecture: str) -> None:
    encoder = small(architecture)
    short, long = noise(8_000, 15_999)
    assert isinstance(encoder, WholeEncoder)
    assert (encoder.n_blocks, encoder.width) == (0, 16)
    (alone,) = encode(encoder, [short])
    beside = encode(encoder, [long, short])[1]
    assert torch.equal(alone[0], beside[0])
    assert len(alone[0]) == encoder.count_frames(torch.tensor([8_000]))


def test_the_frames_are_hugging_faces_last_hidden_state() -> None:
    encoder = small("sew-d")
    (clip,) = noise(8_000)
    reference = SEWDModel(encoder.model.config).eval()
    reference.load_state_dict(encoder.model.state_dict())
    normalized = (clip - clip.mean()) / (clip.var(unbiased=False) + 1e-7).sqrt()
    with torch.no_grad():
        expected = reference(normalized[None]).last_hidden_state[0]
    torch.testing.assert_close(encode(encoder, [clip], ["last"])[0]["last"], expected, atol=1e-5, rtol=0)


def test_of_a_model_that_generates_only_the_encoder_is_kept() -> None:
    encoder = small("moonshine")
    reference = MoonshineModel(encoder.model.config).eval()
    assert not any("decoder" in path for path, _ in encoder.model.named_parameters())
    reference.encoder.load_state_dict(encoder.model.state_dict())
    (clip,) = noise(8_000)
    with torch.no_grad():
        expected = reference.encoder(normalized(clip)[None]).last_hidden_state[0]
    torch.testing.assert_close(encode(encoder, [clip], [0])[0][0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", WHOLE)
def test_the_shortest_waveform_gives_a_finite_frame_and_one_less_does_not(architecture: str) -> None:
    encoder = small(architecture)
    (frames,) = encode(encoder, noise(encoder.min_samples), [0])
    assert len(frames[0]) >= 1
    assert frames[0].isfinite().all()
    if encoder.min_samples > 1:
        with pytest.raises(EncoderError, match=f"needs at least {encoder.min_samples}"):
            encode(encoder, noise(encoder.min_samples - 1), [0])


@pytest.mark.parametrize("architecture", WHOLE)
def test_full_trains_what_the_output_depends_on_and_frozen_nothing(architecture: str) -> None:
    encoder = small(architecture)
    chosen = set(adapt_full(encoder).trainable)
    assert encoder.first_changing_depth == 0
    encoder.train()
    values_at, is_real = run(encoder, *pad(noise(8_000, 12_000)), ["last"])
    values_at["last"][is_real].square().mean().backward()
    reached = {path for path, each in encoder.model.named_parameters() if each.grad is not None}
    assert chosen == reached != set()
    assert adapt_frozen(encoder).trainable == ()
    values_at, _ = run(encoder, *pad(noise(8_000)), ["last"])
    assert not values_at["last"].requires_grad


def test_blocks_of_a_model_read_as_a_whole_cannot_be_chosen() -> None:
    with pytest.raises(EncoderError, match=r"random:sew-d is read as a whole.*Choose frozen or full"):
        adapt_partial(small("sew-d"), last=1)
    with pytest.raises(EncoderError, match=r"random:sew-d is read as a whole.*Choose frozen or full"):
        adapt_partial(small("sew-d"), unfreeze=[-1])


@pytest.mark.parametrize("adapt", [adapt_lora, adapt_ia3, adapt_adalora, adapt_soft_prompt])
def test_a_model_read_as_a_whole_takes_no_adapters_and_no_prompt(adapt: Callable[[SpeechEncoder], object]) -> None:
    encoder = small("moonshine")
    with pytest.raises(EncoderError, match=r"random:moonshine has no blocks to adapt\. Choose adapt: frozen or full"):
        adapt(encoder)
    assert (encoder.added, encoder.prompt) == ({}, None)


def test_a_model_with_text_beside_its_audio_is_refused() -> None:
    with pytest.raises(EncoderError, match="unknown architecture 'qwen2_audio'"):
        small("qwen2_audio")


def test_a_model_that_gives_no_last_hidden_state_says_so() -> None:
    with pytest.raises(EncoderError, match=r"random:dac: .*gives no last hidden state"):
        load_encoder({"random": "dac", "config": {}})
