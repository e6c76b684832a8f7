"""A head for each rater beside that of the combined rating."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from lalia.build import build_rater
from lalia.data.dataset import RecordingDataset
from lalia.data.single_ratings import single_ratings
from lalia.errors import ModelError
from lalia.model.heads import build_head
from lalia.model.losses import RatingLoss, rating_loss
from lalia.model.rater import SpeechRater
from lalia.settings import RunSettings
from lalia.training.loop import fit
from lalia.training.part_loss import PartLoss
from lalia.training.reader import InputReader
from lalia.training.validation import validate
from toy_data import make_table
from toy_rater import SCALE, TRAITS, make_rater, make_waveform
from toy_training import make_trained_rater, settings, without_dropout

NAMES = ("x", "y", "z")
KINDS = ["binary", "ordinal", "regression"]


@pytest.fixture
def table(tmp_path):
    return rated_by(make_table(tmp_path), x=lambda row, trait: 1.0 + (row + trait) % 4, y=lambda row, trait: 4.0)


def rated_by(table, **raters):
    """Give each rater's ratings; of the second trait every third recording has none of theirs."""
    given = [
        (recording, name, trait, rate(row, number))
        for row, recording in enumerate(table.recordings["recording"])
        for number, trait in enumerate(table.traits)
        for name, rate in raters.items()
        if not (number == 1 and row % 3 == 0)
    ]
    return replace(table, rater_ratings=pd.DataFrame(given, columns=["recording", "rater", "trait", "rating"]))


def with_heads(rater, names=NAMES):
    kind = rater.head.config["kind"]
    heads = build_head(kind, width=rater.pooling.out_width, n_traits=len(names) * 2, scale=SCALE)
    rater.rater_heads, rater.raters = heads, tuple(names)
    return rater


def gradients(rater, table, loss=RatingLoss()):  # noqa: B008
    dataset = RecordingDataset(table, rater.preprocessing)
    (batch,) = InputReader(rater).read(dataset, [list(range(len(dataset)))])
    rater.zero_grad()
    rater.train()
    PartLoss(loss, rater, dataset)(rater(batch.inputs), batch.rows).losses.sum().backward()
    return {name: each.grad.clone() for name, each in rater.named_parameters() if each.grad is not None}


def outputs_of(gradients, rater):
    """The gradients of a human rater's own outputs, one for each trait."""
    first = 2 * NAMES.index(rater)
    starts = tuple(f"rater_heads.outputs.{first + trait}." for trait in range(2))
    return [gradient for name, gradient in gradients.items() if name.startswith(starts)]


def test_each_raters_ratings_stand_in_their_own_place(table):
    found = single_ratings(table).of_raters(("y", "nobody", "x"))
    assert found.shape == (8, 3, 2)
    assert (found[:, 0, 0] == 4).all()
    assert np.isnan(found[:, 1]).all()
    assert found[:, 2, 0].tolist() == [1.0 + row % 4 for row in range(8)]
    assert np.isnan(found[::3, :, 1]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_rating_has_its_loss_and_the_mean_of_its_raters(table, kind):
    rater = with_heads(make_rater(kind=kind))
    dataset = RecordingDataset(table, rater.preprocessing)
    outputs = 3 if kind == "ordinal" else 1
    raw, ratings = torch.randn(8, 2 + 6, outputs), torch.tensor(dataset.ratings)
    weights = torch.tensor([[2.0] * 4, [0.5] * 4])
    loss = RatingLoss(weights=weights, rater_weight=0.3)
    found, has_rating = PartLoss(loss, rater, dataset)(raw, torch.arange(8))
    expected = rating_loss(rater.head, raw[:, :2], ratings).losses
    for row in range(8):
        for trait in range(2):
            of_raters = [
                rating_loss(rater.head, raw[row : row + 1, [2 + 2 * rater_ + trait] * 2], torch.full((1, 2), rating))
                for rater_, rating in ((0, 1.0 + (row + trait) % 4), (1, 4.0))
                if not (trait == 1 and row % 3 == 0)
            ]
            if of_raters:
                expected[row, trait] += 0.3 * torch.stack([each.losses[0, 0] for each in of_raters]).mean()
    torch.testing.assert_close(found, expected * torch.tensor([2.0, 0.5]) * has_rating)


@pytest.mark.parametrize("kind", KINDS)
def test_a_raters_ratings_train_that_raters_head_and_what_all_share(table, kind):
    rater = without_dropout(with_heads(make_trained_rater(kind=kind)))
    other = rated_by(table, x=lambda row, trait: 1.0 + (row + trait) % 4, y=lambda row, trait: 1.0 + row % 2)
    before, after = gradients(rater, table), gradients(rater, other)
    same = {name for name, gradient in before.items() if torch.equal(gradient, after[name])}
    assert {name for name in before if name.startswith("head.")} <= same
    for one, two in zip(outputs_of(before, "x"), outputs_of(after, "x"), strict=True):
        assert torch.equal(one, two)
    assert any(not torch.equal(*each) for each in zip(outputs_of(before, "y"), outputs_of(after, "y"), strict=True))
    assert all(not gradient.any() for gradient in outputs_of(before, "z"))  # who rated nothing
    assert any(name.startswith("encoder.") for name in before.keys() - same)
    assert all(gradient.isfinite().all() for gradient in before.values())


def test_with_a_weight_of_0_the_rest_has_the_gradients_that_it_has_without(table):
    rater = without_dropout(make_trained_rater())
    plain = gradients(rater, table)
    with_weight_0 = gradients(with_heads(rater), table, RatingLoss(rater_weight=0.0))
    for name, gradient in plain.items():
        torch.testing.assert_close(with_weight_0.pop(name), gradient, atol=1e-7, rtol=1e-6)
    assert all(name.startswith("rater_heads.") and not gradient.any() for name, gradient in with_weight_0.items())


def test_the_head_of_the_combined_rating_scores_and_is_validated(table):
    rater = make_rater()
    waveforms, dataset = [make_waveform(0.5), make_waveform(0.8, seed=1)], RecordingDataset(table, rater.preprocessing)
    plain, metrics = rater.score(waveforms), validate(rater, dataset, settings())
    rater = with_heads(rater)
    assert all(torch.equal(*each) for each in zip(rater.score(waveforms), plain, strict=True))
    assert validate(rater, dataset, settings()) == metrics


@pytest.mark.parametrize("kind", KINDS)
def test_heads_of_raters_come_back_under_their_names(tmp_path, kind):
    rater = with_heads(make_rater(kind=kind))
    rater.save_pretrained(tmp_path / "model")
    loaded = SpeechRater.from_pretrained(tmp_path / "model")
    assert loaded.raters == NAMES
    assert loaded.state_dict().keys() == rater.state_dict().keys()
    assert all(torch.equal(value, rater.state_dict()[name]) for name, value in loaded.state_dict().items())
    rater.save_head(tmp_path / "head")
    assert not any("rater" in name for name in (tmp_path / "head").joinpath("config.json").read_text().split('"'))


def test_all_other_weights_begin_as_without():
    def build(**model):
        model = {"encoder": {"random": "wavlm", "layers": 1, "width": 16, "heads": 2}, "head": {"hidden": [8]}, **model}
        values = {"data": {"metadata": "t.csv", "raters": "{trait}_{rater}"}, "model": model}
        return build_rater(RunSettings.model_validate(values), TRAITS, NAMES)

    plain, more = build().state_dict(), build(rater_heads=True)
    assert all(torch.equal(more.state_dict()[name], value) for name, value in plain.items())
    assert more.raters == NAMES
    assert build().raters == ()
    assert [row.module for row in more.parameter_table()][-1] == "heads of raters"


@pytest.mark.parametrize("loss", [{}, {"regression": "concordance"}])
def test_they_are_learned_from_in_batches_and_pieces(table, loss):
    rater = with_heads(make_trained_rater(kind="regression"))
    part = RecordingDataset(table, rater.preprocessing)
    before = [output.weight.clone() for output in rater.rater_heads.outputs]
    history = fit(rater, part, part, settings(epochs=10, batch_seconds=1.5, accumulate=2, loss=loss), seed=3).history
    assert history[-1]["train_loss"] < 0.9 * history[0]["train_loss"]
    moved = [not torch.equal(*each) for each in zip(before, (o.weight for o in rater.rater_heads.outputs), strict=True)]
    assert moved[:2] == [True, True]


def test_heads_that_are_not_one_per_rater_and_trait_are_refused():
    rater = make_rater()
    heads = build_head("ordinal", width=rater.pooling.out_width, n_traits=3, scale=SCALE)
    with pytest.raises(ModelError, match="have 3 outputs, 2 raters of 2 traits need 4"):
        SpeechRater(
            rater.encoder,
            layers="last",
            pooling=rater.pooling,
            head=rater.head,
            traits=TRAITS,
            scale=SCALE,
            preprocessing=rater.preprocessing,
            rater_heads=heads,
            raters=("x", "y"),
        )
