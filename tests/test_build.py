"""Settings become a rater: widths fit, groups hold every trait, training reaches every parameter."""

import pytest

from lalia.build import build_rater
from lalia.errors import ConfigError, ModelError
from lalia.settings import RunSettings

TRAITS = ("slow", "breathy", "hoarse")
POOLINGS = [
    {"kind": "mean"},
    {"kind": "max"},
    {"kind": "statistics"},
    {"kind": "attention", "heads": 3},
    {"kind": "attentive_statistics"},
]


def make_settings(**model):
    encoder = {"random": "wavlm", "layers": 2, "width": 16, "heads": 2}
    return RunSettings.model_validate({"data": {"metadata": "t.csv"}, "model": {"encoder": encoder, **model}})


@pytest.mark.parametrize("layers", ["last", "weighted", -1, [0, 2], "last-3"])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("transformer", [None, {}])
def test_pooling_and_head_are_as_wide_as_what_they_are_given(layers, pooling, transformer):
    # build_rater itself makes sure that every trainable parameter gets a gradient
    head = {"hidden": [8], "transformer": transformer}
    rater = build_rater(make_settings(layers=layers, pooling=pooling, head=head, adapt="full"), TRAITS)
    assert rater.pooling.width == rater.layer_mix.out_width
    assert rater.head.layers.width == rater.pooling.out_width


@pytest.mark.parametrize("transformer", [None, {}])
def test_groups_name_traits_and_the_head_knows_their_places(transformer):
    head = {"groups": {"voice": ["hoarse", "breathy"], "rate": ["slow"]}, "transformer": transformer}
    rater = build_rater(make_settings(head=head), TRAITS)
    assert rater.head.layers.sharing.stack_of_trait == (0, 1, 1)
    assert rater.head.config["groups"] == {"rate": [0], "voice": [2, 1]}


def test_groups_are_checked_against_the_traits_of_the_table():
    head = {"groups": {"voice": ["hoarse", "breathy"]}}
    with pytest.raises(ConfigError, match=r"^model.head.groups must name each trait once: 'slow' is in no group\.$"):
        build_rater(make_settings(head=head), TRAITS)


def test_heads_that_do_not_divide_the_frames_are_refused():
    with pytest.raises(ModelError, match="width 16, which 5 attention heads do not divide"):
        build_rater(make_settings(head={"transformer": {"heads": 5}}), TRAITS)


def test_the_seed_of_the_run_decides_the_new_weights():
    def first_weight(seed):
        settings = make_settings(pooling="attention", head={"transformer": {}}).model_copy(update={"seed": seed})
        rater = build_rater(settings, TRAITS)
        return rater.pooling.attention.score.weight[0, 0].item(), next(rater.head.parameters()).flatten()[0].item()

    assert first_weight(1) == first_weight(1)
    assert first_weight(1) != first_weight(2)
