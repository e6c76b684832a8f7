"""A saved pooling and head in another rater, trait by trait."""

import json

import pytest
import torch

from lalia.errors import ModelError, RaterError
from lalia.model.encoders.load import load_encoder
from lalia.model.heads import build_head
from lalia.model.pooling import build_pooling
from lalia.model.rater import SpeechRater
from lalia.model.saved_head import choose_traits, read_head
from toy_rater import SCALE, TRAITS, make_encoder, make_rater, make_waveform

KINDS = [("binary", "cumulative"), ("ordinal", "cumulative"), ("ordinal", "corn"), ("regression", "cumulative")]
WAVEFORMS = [make_waveform(0.4), make_waveform(0.6, seed=1)]


def make_new(traits, *, kind="ordinal", method="cumulative", shared=True, width=16, encoder=None):
    """A rater with other new weights than ``make_rater`` gives."""
    torch.manual_seed(99)
    encoder = encoder or make_encoder()
    rater = make_rater()
    return SpeechRater(
        encoder,
        layers="last",
        pooling=build_pooling("attention", width=width, hidden=8),
        head=build_head(
            kind, method=method, width=width, n_traits=len(traits), scale=SCALE, hidden=(8,), shared=shared
        ),
        traits=traits,
        scale=SCALE,
        preprocessing=rater.preprocessing,
    )


def saved_rater(folder, *, kind="ordinal", method="cumulative", shared=True):
    rater = make_rater(kind=kind, method=method, shared=shared, pooling="attention", thresholds={"slow_rate": 0.3})
    if kind == "regression":
        rater.head.set_residual_sd(torch.tensor([0.4, 0.9]))
    rater.save_pretrained(folder)
    return rater


def scores_of(rater, trait):
    scores = rater.score(WAVEFORMS)
    number = rater.traits.index(trait)
    return torch.stack([scores.score[:, number], scores.probability[:, number]])


# --- traits by name ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("kind", "method"), KINDS)
def test_kept_traits_score_as_before_whatever_traits_stand_beside_them(tmp_path, kind, method, shared):
    old = saved_rater(tmp_path, kind=kind, method=method, shared=shared)
    for traits in (["new", "slow_rate", "newer", "breathy"], ["slow_rate"], ["slow_rate", "breathy"]):
        rater = make_new(traits, kind=kind, method=method, shared=shared)
        rater.take_over_head(read_head(tmp_path))
        for trait in set(traits) & set(TRAITS):
            assert torch.equal(scores_of(rater, trait), scores_of(old, trait)), (traits, trait)


@pytest.mark.parametrize("shared", [True, False])
def test_a_new_trait_keeps_its_new_weights(tmp_path, shared):
    saved_rater(tmp_path, shared=shared)
    rater, untouched = (make_new(["new", "slow_rate"], shared=shared) for _ in range(2))
    rater.take_over_head(read_head(tmp_path))
    assert rater.kept_traits == ("slow_rate",)
    new = untouched.head.outputs[0].state_dict()
    assert all(torch.equal(values, new[name]) for name, values in rater.head.outputs[0].state_dict().items())
    if not shared:
        new = untouched.head.layers.stacks[0].state_dict()
        assert all(torch.equal(values, new[name]) for name, values in rater.head.layers.stacks[0].state_dict().items())


def test_traits_that_are_kept_bring_their_thresholds(tmp_path):
    saved_rater(tmp_path)
    rater = make_new(["new", "slow_rate"])
    rater.take_over_head(read_head(tmp_path))
    assert rater.thresholds == {"new": 0.5, "slow_rate": 0.3}


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("kind", "method"), KINDS)
def test_only_new_traits_start_at_their_base_rates(tmp_path, kind, method, shared):
    saved_rater(tmp_path, kind=kind, method=method, shared=shared)
    rater = make_new(["new", "slow_rate"], kind=kind, method=method, shared=shared)
    rater.take_over_head(read_head(tmp_path))
    before = {name: values.clone() for name, values in rater.state_dict().items()}
    ratings = torch.tensor([[4.0, 4.0], [4.0, 1.0], [3.0, torch.nan]])
    rater.start_from_ratings(ratings)
    changed = {name for name, values in rater.state_dict().items() if not torch.equal(values, before[name])}
    assert changed
    assert all(name.startswith("head.outputs.0.") for name in changed)
    fresh = make_new(["new", "slow_rate"], kind=kind, method=method, shared=shared)
    fresh.head.start_from_ratings(ratings)
    for name in changed:
        assert torch.equal(rater.state_dict()[name], fresh.state_dict()[name])


def test_a_rater_that_starts_anew_starts_all_traits_at_their_base_rates():
    rater, other = make_rater(), make_rater()
    ratings = torch.tensor([[4.0, 1.0], [3.0, 2.0]])
    rater.start_from_ratings(ratings)
    other.head.start_from_ratings(ratings)
    for name, values in other.head.state_dict().items():
        assert torch.equal(rater.head.state_dict()[name], values)


def test_choosing_traits_leaves_the_head_itself_as_it_was():
    head = build_head("binary", width=4, n_traits=2, scale=SCALE)
    before = {name: values.clone() for name, values in head.state_dict().items()}
    chosen = choose_traits(head, ["a", "b"], {name: values + 1 for name, values in before.items()}, {"b": 0})
    assert torch.equal(chosen["outputs.1.weight"], before["outputs.0.weight"] + 1)
    assert torch.equal(chosen["outputs.0.weight"], before["outputs.0.weight"])
    assert all(torch.equal(values, before[name]) for name, values in head.state_dict().items())


# --- a head alone -----------------------------------------------------------------------------------------------------


def test_a_head_alone_holds_no_weight_of_the_encoder_and_gives_the_same_head(tmp_path):
    old = saved_rater(tmp_path / "run" / "model")
    old.save_head(tmp_path / "head")
    assert sorted(path.name for path in (tmp_path / "head").iterdir()) == ["config.json", "model.safetensors"]
    alone = read_head(tmp_path / "head")
    assert {name.partition(".")[0] for name in alone.weights} == {"pooling", "head"}
    for other in (read_head(tmp_path / "run"), read_head(str(tmp_path / "run" / "model"))):
        assert alone.weights.keys() == other.weights.keys()
        assert all(torch.equal(values, other.weights[name]) for name, values in alone.weights.items())
        assert alone.config.thresholds == other.config.thresholds


def test_a_head_goes_onto_another_encoder_of_its_width(tmp_path):
    old = saved_rater(tmp_path / "model")
    old.save_head(tmp_path / "head")
    rater = make_new(list(TRAITS), encoder=make_encoder("hubert"))
    rater.take_over_head(read_head(tmp_path / "head"))
    frames, is_real = torch.randn(1, 9, 16), torch.ones(1, 9, dtype=torch.bool)
    ours, theirs = (each.eval().head(each.pooling(frames, is_real)) for each in (rater, old))
    assert torch.equal(ours, theirs)


def test_a_head_for_another_width_is_refused(tmp_path):
    saved_rater(tmp_path).save_head(tmp_path / "head")
    rater = make_new(["slow_rate"], width=32, encoder=load_encoder({"random": "wavlm", "width": 32}))
    with pytest.raises(ModelError, match=r"does not fit this encoder.*pooling.project.weight has shape \(8, 16\) inst"):
        rater.take_over_head(read_head(tmp_path / "head"))


def test_a_head_of_another_kind_is_refused(tmp_path):
    saved_rater(tmp_path, kind="binary")
    rater = make_new(["slow_rate"], kind="ordinal")
    with pytest.raises(ModelError, match=r"head.outputs.0.latent.weight is missing"):
        rater.take_over_head(read_head(tmp_path))


def test_a_head_alone_is_no_rater_and_no_encoder(tmp_path):
    make_rater().save_head(tmp_path)
    for read in (SpeechRater.from_pretrained, load_encoder):
        with pytest.raises(RaterError, match="holds a head alone, without an encoder. Give it as model.head_from"):
            read(tmp_path)


def test_a_damaged_head_says_what_is_wrong(tmp_path):
    make_rater().save_head(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"weights_sha256": "0"}))
    with pytest.raises(RaterError, match="are not of one rater"):
        read_head(tmp_path)
    del values["traits"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(RaterError, match="traits: Field required"):
        read_head(tmp_path)
    with pytest.raises(RaterError, match="No rater in"):
        read_head(tmp_path / "nowhere")
