"""Learned vectors before the frames: attended, never handed on."""

import pytest
import torch

from lalia.errors import EncoderError
from lalia.model.adapt import freeze_unused
from lalia.model.adapters import adapt_soft_prompt
from lalia.model.encoders.base import Frames
from toy_encoders import FAMILIES, make_encoder, run
from toy_rater import make_batch, make_rater, make_waveform

PROMPTED = [family for family in FAMILIES if make_encoder(family).takes_prompt]
DEEP = pytest.mark.parametrize("deep", [False, True], ids=["shallow", "deep"])


@pytest.fixture(params=PROMPTED)
def encoder(request):
    return make_encoder(request.param)


def prompted(encoder, **options):
    torch.manual_seed(0)
    adapt_soft_prompt(encoder, length=4, **options)
    with torch.no_grad():
        for vectors in encoder.prompt.vectors:
            vectors.normal_()
    return encoder


def clips(*lengths):
    generator = torch.Generator().manual_seed(0)
    batch = [torch.randn(length, generator=generator) for length in lengths]
    return torch.nn.utils.rnn.pad_sequence(batch, batch_first=True), torch.tensor(lengths)


@DEEP
def test_every_depth_has_the_frames_of_the_waveform_and_no_other(encoder, deep):
    batch = clips(12_000, 5_000)
    depths = [0, 1, 2, 3, "last"]
    without = encoder(*batch, depths)
    with_prompt = prompted(encoder, deep=deep)(*batch, depths)
    for depth in depths:
        assert with_prompt[depth].values.shape == without[depth].values.shape
        assert torch.equal(with_prompt[depth].is_real, without[depth].is_real)
    assert torch.equal(with_prompt[0].values, without[0].values)


@DEEP
def test_changing_any_vector_moves_every_real_frame(encoder, deep):
    prompted(encoder, deep=deep)
    batch = clips(12_000, 5_000)
    before, is_real = run(encoder, *batch, ["last"])
    for vectors in encoder.prompt.vectors:
        old = vectors.detach().clone()
        # random: norms take out what is added to all channels alike
        vectors.data += torch.randn(vectors.shape)
        after, _ = run(encoder, *batch, ["last"])
        moved = (after["last"] - before["last"])[is_real].abs().amax(dim=-1)
        assert (moved > 1e-7).all()
        vectors.data.copy_(old)


@DEEP
def test_scores_do_not_depend_on_batch_neighbours(encoder, deep):
    rater = make_rater(encoder=prompted(encoder, deep=deep), window_seconds=1.0).eval()
    recordings = [make_waveform(0.9, seed=1), make_waveform(0.3, seed=2), make_waveform(2.4, seed=3)]
    with torch.no_grad():
        together = rater(make_batch(recordings, rater.preprocessing))
        for raw, recording in zip(together, recordings, strict=True):
            alone = rater(make_batch([recording], rater.preprocessing))
            torch.testing.assert_close(raw, alone[0], atol=1e-5, rtol=0)


def test_blocks_see_the_vectors_as_frames_before_the_first():
    encoder = prompted(make_encoder("hubert"))
    frames = encoder(*clips(8_000), [0])[0]
    vectors = encoder.prompt.vectors[0][None]
    longer = Frames(torch.cat([vectors, frames.values], dim=1), torch.ones(1, 4 + frames.values.shape[1]).bool())
    found = encoder.frames_from(0, frames, [1])[1].values
    encoder.prompt = None
    torch.testing.assert_close(found, encoder.frames_from(0, longer, [1])[1].values[:, 4:])


def test_deep_prompts_give_each_block_its_own_vectors():
    encoder = prompted(make_encoder("hubert"), deep=True)
    first = encoder(*clips(8_000), [1, 2])
    encoder.prompt.vectors[1].data.normal_()
    second = encoder(*clips(8_000), [1, 2])
    assert torch.equal(first[1].values, second[1].values)
    assert not torch.allclose(first[2].values, second[2].values)


def test_the_stem_builds_no_graph_and_frozen_blocks_have_no_dropout():
    encoder = prompted(make_encoder("hubert"))
    encoder.train()
    values, _ = run(encoder, *clips(8_000), [0, 1])
    again, _ = run(encoder, *clips(8_000), [0, 1])
    assert [each.requires_grad for each in values.values()] == [False, True]
    assert torch.equal(values[1], again[1])


def test_vectors_above_the_pooled_depth_do_not_train():
    encoder = make_encoder("hubert")
    adapt_soft_prompt(encoder, deep=True)
    freeze_unused(encoder, 2)
    assert [vectors.requires_grad for vectors in encoder.prompt.vectors] == [True, True, False]
    freeze_unused(encoder, 0)
    assert encoder.first_changing_depth == 4


def test_frames_of_a_higher_depth_cannot_be_gone_on_from():
    encoder = prompted(make_encoder("hubert"))
    frames = encoder(*clips(8_000), [1])[1]
    with pytest.raises(EncoderError, match="from those of depth 0, not of depth 1"):
        encoder.frames_from(1, frames, [2])


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - set(PROMPTED)))
def test_where_relative_positions_count_vectors_as_time_a_prompt_is_refused(family):
    encoder = make_encoder(family)
    with pytest.raises(EncoderError, match=f"takes no soft prompt: the relative positions of {family} would count"):
        adapt_soft_prompt(encoder)
    assert encoder.prompt is None


def test_conformers_with_relative_positions_are_the_ones_that_are_refused():
    assert set(FAMILIES) - set(PROMPTED) == {"wav2vec2-conformer", "parakeet_encoder", "lasr_encoder"}
