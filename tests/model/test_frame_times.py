"""When frames are: what is changed in a waveform changes most the frame that lies there."""

import pytest
import torch

from lalia.model.encoders.load import load_encoder
from toy_encoders import ENCODERS, make_encoder, noise
from toy_rater import make_rater, make_waveform

RATE_HZ = 16_000
PLACES = (0.25, 0.3, 0.55, 0.62, 0.8)
CASES = [*((name, 0) for name in ENCODERS), ("sew", "last"), ("whisper", "last")]


def other_noise(clip, start, count):
    """Put other noise of the same level in a place: statistics over the whole clip stay."""
    fresh = torch.randn(count, generator=torch.Generator().manual_seed(1))
    old = clip[start : start + count]
    changed = clip.clone()
    changed[start : start + count] = (fresh - fresh.mean()) / fresh.std() * old.std() + old.mean()
    return changed


@pytest.mark.parametrize(("name", "depth"), CASES)
def test_what_is_changed_changes_most_the_frame_that_is_there(name, depth):
    encoder = make_encoder(name, layers=1)
    (clip,) = noise(RATE_HZ + 137)
    middles = encoder.frame_middles(len(clip), depth)
    assert not ((middles < 0) | (middles > len(clip))).any()
    times = middles[~middles.isnan()].unique()
    hop = float(times.diff().median())
    misses = []
    for place in PLACES:
        changed = other_noise(clip, round(place * RATE_HZ) - 80, 160)
        with torch.no_grad():
            before, after = (encoder(each[None], torch.tensor([len(clip)]), [depth])[depth] for each in (clip, changed))
        moved = (before.values - after.values)[before.is_real].square().sum(dim=1)
        assert moved.shape == middles.shape
        of_time = torch.stack([moved[middles == time].sum() for time in times])
        misses.append(float(times[of_time.argmax()]) - place * RATE_HZ)
    assert abs(torch.tensor(misses).median()) <= 0.75 * hop


def test_frames_of_a_model_that_does_not_say_it_lie_evenly():
    encoder = load_encoder({"random": "moonshine"})
    middles = encoder.frame_middles(RATE_HZ)
    torch.testing.assert_close(middles.diff(), torch.full((len(middles) - 1,), RATE_HZ / len(middles)))
    assert middles[0] == RATE_HZ / len(middles) / 2


def test_attention_over_patches_has_the_time_of_each_patch():
    encoder = make_encoder("audio-spectrogram-transformer")
    weights, seconds = make_rater(encoder=encoder, pooling="attention").attention(make_waveform(2.0))
    assert weights.shape[-1] == len(seconds)
    # windows of 1.5 and 1 s, each with two tokens of no time and two rows of patches
    assert seconds.isnan().nonzero().flatten().tolist() == [0, 1, 32, 33]
    low, high = seconds[2:32].reshape(2, 15)
    torch.testing.assert_close(low, high)
    torch.testing.assert_close(low, (torch.arange(15) * 1600 + 7.5 * 160 + 199.5) / RATE_HZ)
    assert seconds[34:].min() > 1.0
