"""A saved pooling and head in another rater, trait by trait, for every kind of head."""

import pytest
import torch

from lalia.errors import ModelError, RaterError
from lalia.model.encoders.load import load_encoder
from lalia.model.heads import build_head
from lalia.model.pooling import build_pooling
from lalia.model.rater import SpeechRater
from lalia.model.saved_head import read_head
from lalia.model.take_over import take_head
from toy_rater import SCALE, TRAITS, make_encoder, make_rater, make_waveform

KINDS = [("binary", "cumulative"), ("ordinal", "cumulative"), ("ordinal", "corn"), ("regression", "cumulative")]
WAVEFORMS = [make_waveform(0.4), make_waveform(0.6, seed=1)]


def make(traits, *, kind="ordinal", method="cumulative", shared=True, width=16, seed=99):
    """A rater whose new weights follow from the seed."""
    torch.manual_seed(seed)
    head = build_head(kind, method=method, width=width, n_traits=len(traits), scale=SCALE, hidden=(8,), shared=shared)
    return SpeechRater(
        load_encoder({"random": "wavlm", "layers": 2, "width": width, "heads": 2}),
        layers="last",
        pooling=build_pooling("attention", width=width, hidden=8),
        head=head,
        traits=traits,
        scale=SCALE,
        preprocessing=make_rater().preprocessing,
    )


def save_head(folder, **settings):
    """Save the head of a rater of the toy traits; its weights are others than ``make`` draws by itself."""
    rater = make(TRAITS, seed=1, **settings)
    rater.thresholds["slow_rate"] = 0.3
    if settings.get("kind") == "regression":
        rater.head.set_residual_sd(torch.tensor([0.4, 0.9]))
    rater.save_head(folder)
    return rater


def scores_of(rater, trait):
    scores = rater.score(WAVEFORMS)
    number = rater.traits.index(trait)
    return torch.stack([scores.score[:, number], scores.probability[:, number]])


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("kind", "method"), KINDS)
def test_kept_traits_score_as_before_whatever_traits_stand_beside_them(tmp_path, kind, method, shared):
    old = save_head(tmp_path, kind=kind, method=method, shared=shared)
    for traits in (["new", "slow_rate", "newer", "breathy"], ["slow_rate"], ["slow_rate", "breathy"]):
        rater = make(traits, kind=kind, method=method, shared=shared)
        assert take_head(rater, read_head(tmp_path), "there") == set(traits) & set(TRAITS)
        for trait in set(traits) & set(TRAITS):
            assert torch.equal(scores_of(rater, trait), scores_of(old, trait)), (traits, trait)


@pytest.mark.parametrize("shared", [True, False])
def test_a_new_trait_keeps_its_new_weights_and_threshold(tmp_path, shared):
    save_head(tmp_path, shared=shared)
    rater, untouched = (make(["new", "slow_rate"], shared=shared) for _ in range(2))
    take_head(rater, read_head(tmp_path), "there")
    own = [name for name in rater.head.state_dict() if name.startswith("outputs.0.")]
    own += [] if shared else [name for name in rater.head.state_dict() if name.startswith("layers.stacks.0.")]
    assert own
    for name in own:
        assert torch.equal(rater.head.state_dict()[name], untouched.head.state_dict()[name])
    assert rater.thresholds == {"new": 0.5, "slow_rate": 0.3}


def test_a_head_for_another_width_is_refused(tmp_path):
    save_head(tmp_path)
    with pytest.raises(ModelError, match=r"does not fit this encoder: .* has shape .*32.*there shape .*16"):
        take_head(make(["slow_rate"], width=32), read_head(tmp_path), "there")


def test_differences_of_a_saved_head_are_listed(tmp_path):
    save_head(tmp_path, kind="binary", shared=False)
    with pytest.raises(ModelError, match=r"model.head.kind is 'ordinal', there 'binary'.*model.head.shared is True"):
        take_head(make(["slow_rate"]), read_head(tmp_path), "there")


def test_a_head_alone_is_no_rater_and_no_encoder(tmp_path):
    save_head(tmp_path)
    for read in (SpeechRater.from_pretrained, load_encoder):
        with pytest.raises(RaterError, match="holds a head alone, without an encoder. Give it as model.head_from"):
            read(tmp_path)


def test_a_head_of_a_rater_and_one_saved_alone_are_the_same(tmp_path):
    rater = make_rater(encoder=make_encoder("hubert"), pooling="attention")
    rater.save_head(tmp_path / "head")
    rater.save_pretrained(tmp_path / "run" / "model")
    alone, whole = read_head(tmp_path / "head"), read_head(tmp_path / "run")
    assert {name.partition(".")[0] for name in alone.weights} == {"pooling", "head"}
    assert alone.weights.keys() == whole.weights.keys()
    assert all(torch.equal(values, whole.weights[name]) for name, values in alone.weights.items())
