"""A rater that goes on from a saved head: what is kept, what begins fresh, what is refused."""

import pytest
import torch

from lalia.errors import ModelError, RaterError
from lalia.model.saved_head import read_head
from lalia.model.take_over import take_head
from toy_rater import TRANSFORMER, make_encoder, make_rater, make_waveform


def shift(rater):
    """Move every weight away from where it began."""
    with torch.no_grad():
        for parameter in rater.parameters():
            parameter.add_(0.1)
    return rater


def scores_of(rater):
    return rater.score([make_waveform(0.8), make_waveform(0.5, seed=1)]).score


SHARED = {"shared": True}
OWN = {"shared": False}
GROUPS = {"groups": {"voice": [0], "rate": [1]}}


@pytest.mark.parametrize("sharing", [SHARED, OWN, GROUPS], ids=["shared", "own", "groups"])
@pytest.mark.parametrize("kind", ["binary", "ordinal", "regression"])
@pytest.mark.parametrize("transformer", [None, TRANSFORMER], ids=["plain", "transformer"])
def test_the_same_traits_on_the_same_encoder_give_the_same_scores(tmp_path, sharing, kind, transformer):
    saved = shift(make_rater(kind=kind, pooling="attention", transformer=transformer, **sharing))
    saved.save_pretrained(tmp_path)
    new = make_rater(encoder=saved.encoder, kind=kind, pooling="attention", transformer=transformer, **sharing)
    assert not torch.equal(scores_of(new), scores_of(saved))
    assert take_head(new, read_head(tmp_path), "x") == {"breathy", "slow_rate"}
    torch.testing.assert_close(scores_of(new), scores_of(saved), atol=1e-6, rtol=0)


@pytest.mark.parametrize("sharing", [SHARED, OWN, GROUPS], ids=["shared", "own", "groups"])
def test_traits_are_matched_by_name_not_by_place(tmp_path, sharing):
    saved = shift(make_rater(kind="regression", traits=("breathy", "slow_rate"), **sharing))
    saved.head.set_residual_sd(torch.tensor([0.3, 0.7]))
    saved.save_pretrained(tmp_path)
    turned = {"groups": {"voice": [1], "rate": [0]}} if "groups" in sharing else sharing
    new = make_rater(encoder=saved.encoder, kind="regression", traits=("slow_rate", "breathy"), **turned)
    take_head(new, read_head(tmp_path), "x")
    torch.testing.assert_close(scores_of(new), scores_of(saved).flip(1), atol=1e-6, rtol=0)
    assert new.head.residual_sd.tolist() == pytest.approx([0.7, 0.3])


@pytest.mark.parametrize("sharing", [SHARED, OWN], ids=["shared", "own"])
def test_a_kept_trait_keeps_its_head_and_a_new_one_begins_fresh(tmp_path, sharing):
    saved = shift(make_rater(traits=("breathy", "slow_rate"), thresholds={"slow_rate": 0.8}, **sharing))
    saved.save_pretrained(tmp_path)
    new = make_rater(encoder=saved.encoder, traits=("hoarse", "slow_rate"), **sharing)
    fresh = {name: values.clone() for name, values in new.head.outputs[0].state_dict().items()}
    assert take_head(new, read_head(tmp_path), "x") == {"slow_rate"}
    torch.testing.assert_close(scores_of(new)[:, 1], scores_of(saved)[:, 1], atol=1e-6, rtol=0)
    assert all(torch.equal(values, fresh[name]) for name, values in new.head.outputs[0].state_dict().items())
    assert new.thresholds == {"hoarse": 0.5, "slow_rate": 0.8}


def test_a_head_saved_alone_goes_on_another_encoder_of_the_same_width(tmp_path):
    saved = shift(make_rater(pooling="attention"))
    saved.save_head(tmp_path / "head")
    assert sorted(path.name for path in (tmp_path / "head").iterdir()) == ["config.json", "model.safetensors"]
    head = read_head(tmp_path / "head")
    assert all(name.startswith(("pooling.", "head.")) for name in head.weights)
    new = make_rater(encoder=make_encoder("hubert"), pooling="attention")
    take_head(new, head, "x")
    for name, values in saved.state_dict().items():
        if not name.startswith("encoder."):
            assert torch.equal(new.state_dict()[name], values), name


def test_a_run_a_rater_and_a_head_have_the_same_head(tmp_path):
    saved = shift(make_rater())
    saved.save_pretrained(tmp_path / "run" / "model")
    saved.save_head(tmp_path / "head")
    of_run, of_rater, alone = (read_head(tmp_path / place) for place in ("run", "run/model", "head"))
    for name, values in alone.weights.items():
        assert torch.equal(values, of_run.weights[name])
        assert torch.equal(values, of_rater.weights[name])


def test_another_kind_of_head_is_refused_with_all_that_differs(tmp_path):
    make_rater(kind="ordinal", pooling="attention").save_pretrained(tmp_path)
    new = make_rater(kind="binary", pooling="mean")
    with pytest.raises(
        ModelError, match=r"head in 'runs/x'.*model.pooling.kind is 'mean', there 'attention'.*"
    ) as error:
        take_head(new, read_head(tmp_path), "runs/x")
    assert "model.head.kind is 'binary', there 'ordinal'" in str(error.value)


def test_another_width_is_refused(tmp_path):
    from lalia.model.encoders.load import load_encoder

    make_rater().save_head(tmp_path)
    wide = load_encoder({"random": "wavlm", "layers": 1, "width": 32, "heads": 2})
    with pytest.raises(ModelError, match="does not fit this encoder.*must be as wide"):
        take_head(make_rater(encoder=wide), read_head(tmp_path), "x")


def test_a_refused_head_changes_nothing(tmp_path):
    make_rater(kind="binary").save_head(tmp_path)
    new = make_rater()
    before = {name: values.clone() for name, values in new.state_dict().items()}
    with pytest.raises(ModelError):
        take_head(new, read_head(tmp_path), "x")
    assert all(torch.equal(values, before[name]) for name, values in new.state_dict().items())


def test_a_folder_without_a_head_is_refused(tmp_path):
    with pytest.raises(RaterError, match="No rater in"):
        read_head(tmp_path)


def test_a_damaged_head_is_refused(tmp_path):
    make_rater().save_head(tmp_path)
    text = (tmp_path / "config.json").read_text().replace('"traits"', '"trait"')
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RaterError, match=r"cannot be used: .*trait"):
        read_head(tmp_path)
