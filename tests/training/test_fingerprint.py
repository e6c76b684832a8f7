"""What of an encoder changes its fingerprints, and at which depths."""

import pytest
import torch

from lalia.model.adapters import adapt_lora, adapt_soft_prompt
from lalia.training.fingerprint import encoder_fingerprints
from toy_encoders import make_encoder

DEPTHS = [0, 1, 2, 3, "last"]


def changed_depths(before, encoder):
    after = encoder_fingerprints(encoder, DEPTHS)
    return [depth for depth in DEPTHS if after[depth] != before[depth]]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("feature_projection.projection.weight", DEPTHS),
        ("encoder.layers.0.attention.rel_attn_embed.weight", [1, 2, 3, "last"]),
        ("encoder.layers.2.feed_forward.output_dense.weight", [3, "last"]),
        ("encoder.layer_norm.weight", ["last"]),
    ],
)
def test_a_changed_weight_changes_the_depths_that_it_reaches(path, expected):
    encoder = make_encoder("wavlm", feat_extract_norm="layer", do_stable_layer_norm=True)
    before = encoder_fingerprints(encoder, DEPTHS)
    assert (
        encoder_fingerprints(make_encoder("wavlm", feat_extract_norm="layer", do_stable_layer_norm=True), DEPTHS)
        == before
    )
    with torch.no_grad():
        encoder.model.get_parameter(path).view(-1)[0] += 1e-3
    assert changed_depths(before, encoder) == expected


def test_all_depths_differ_from_each_other():
    assert len(set(encoder_fingerprints(make_encoder("hubert"), DEPTHS).values())) == len(DEPTHS)


def test_how_an_encoder_takes_waveforms_is_part_of_it():
    full, clip = (encoder_fingerprints(make_encoder(name), [0]) for name in ("whisper", "whisper on the clip"))
    assert full != clip


def test_adapters_count_from_the_lowest_block_that_has_them():
    encoder = make_encoder("hubert")
    before = encoder_fingerprints(encoder, DEPTHS)
    adapt_lora(encoder, rank=2, last=2)
    assert changed_depths(before, encoder) == [2, 3, "last"]


def test_the_scale_of_adapters_counts_although_it_is_no_weight():
    prints = []
    for alpha in (1, 2):
        torch.manual_seed(0)
        encoder = make_encoder("hubert")
        adapt_lora(encoder, rank=2, alpha=alpha)
        prints.append(encoder_fingerprints(encoder, DEPTHS))
    assert prints[0][0] == prints[1][0]
    assert all(prints[0][depth] != prints[1][depth] for depth in DEPTHS[1:])


def test_a_prompt_counts_above_the_stem():
    encoder = make_encoder("hubert")
    before = encoder_fingerprints(encoder, DEPTHS)
    adapt_soft_prompt(encoder, length=2)
    assert changed_depths(before, encoder) == [1, 2, 3, "last"]
