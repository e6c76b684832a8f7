"""Losses over all recordings of a step, computed piece by piece."""

import pytest
import torch

from lalia.build import build_loss
from lalia.data.dataset import RecordingDataset
from lalia.model.losses import RatingLoss
from lalia.processes import Processes
from lalia.settings import LossSettings, RankSettings
from lalia.training.generators import seed_generators
from lalia.training.loop import fit
from lalia.training.part_loss import PartLoss
from lalia.training.reader import InputReader
from lalia.training.whole_batch import Piece, backward_apart, backward_together
from toy_data import make_table
from toy_training import make_sets, make_trained_rater, settings, without_dropout

JOINT = [
    ("regression", LossSettings(regression="concordance")),
    ("binary", LossSettings(rank=RankSettings())),
    ("ordinal", LossSettings(rank=RankSettings(bce_weight=0.1, across_speakers=False))),
]
NAMES = ["concordance", "rank", "rank within speakers too"]


@pytest.fixture
def table(tmp_path):
    return make_table(tmp_path)


def sum_of(part_loss):
    return lambda raw, rows: part_loss(raw, rows).losses.sum()


def gradients(rater):
    return {name: each.grad.clone() for name, each in rater.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("size", [1, 3, 8])
@pytest.mark.parametrize(("kind", "loss"), JOINT, ids=NAMES)
def test_pieces_give_the_gradients_of_one_graph_of_them_all_with_dropout(table, kind, loss, size):
    rater = make_trained_rater(kind=kind).train()
    dataset = RecordingDataset(table, rater.preprocessing)
    rows = [list(range(start, min(start + size, 8))) for start in range(0, 8, size)]
    pieces = [Piece(inputs, seed) for seed, inputs in enumerate(InputReader(rater).read(dataset, rows))]
    part_loss = sum_of(PartLoss(build_loss(loss, rater, torch.tensor(dataset.ratings)), rater, dataset))

    def score(piece):
        seed_generators(piece.seed)
        return rater(piece.inputs.inputs)

    # autograd through every piece at once: what the pieces are not to keep in memory
    whole = part_loss(torch.cat([score(piece) for piece in pieces]), torch.arange(8))
    whole.backward()
    expected = gradients(rater)
    rater.zero_grad()
    found = backward_together(pieces, score, part_loss, lambda of: of.backward(), Processes())
    torch.testing.assert_close(found, whole.detach())
    assert gradients(rater).keys() == expected.keys()
    for name, gradient in gradients(rater).items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-5, rtol=1e-5)
    assert any(gradient.abs().max() > 1e-4 for gradient in expected.values())


def test_pieces_apart_would_give_other_gradients(table):
    rater = without_dropout(make_trained_rater(kind="regression"))
    dataset = RecordingDataset(table, rater.preprocessing)
    pieces = [Piece(inputs, 0) for inputs in InputReader(rater).read(dataset, [[0, 1, 2, 3], [4, 5, 6, 7]])]
    part_loss = sum_of(PartLoss(RatingLoss("concordance"), rater, dataset))
    found = []
    for backward in (backward_apart, backward_together):
        backward(pieces, lambda piece: rater(piece.inputs.inputs), part_loss, lambda of: of.backward(), Processes())
        found.append(gradients(rater))
        rater.zero_grad()
    assert any((found[0][name] - found[1][name]).abs().max() > 1e-3 for name in found[0])


@pytest.mark.parametrize(("kind", "loss"), JOINT, ids=NAMES)
@pytest.mark.parametrize(("batch_seconds", "accumulate"), [(1.6, 2), (0.9, 4), (0.1, 100)])
def test_accumulated_batches_are_one_large_batch_to_the_loss(table, kind, loss, batch_seconds, accumulate, monkeypatch):
    results = []
    for seconds, number, piece_seconds in ((100.0, 1, 100.0), (batch_seconds, accumulate, 0.5)):
        monkeypatch.setattr("lalia.training.loop.CPU_PIECE_SECONDS", piece_seconds)
        rater = without_dropout(make_trained_rater(kind=kind))
        train, validation = make_sets(table, rater)
        once = settings(epochs=1, batch_seconds=seconds, accumulate=number, loss=loss, optimizer="sgd")
        results.append(fit(rater, train, validation, once, seed=0))
    assert results[1].history[0]["train_loss"] == pytest.approx(results[0].history[0]["train_loss"], rel=1e-5)
    for name, value in results[0].last.items():
        torch.testing.assert_close(results[1].last[name], value, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "loss"), JOINT, ids=NAMES)
def test_it_is_learned_from(table, kind, loss):
    rater = make_trained_rater(kind=kind)
    train = RecordingDataset(table, rater.preprocessing)
    once = settings(epochs=20, batch_seconds=1.5, accumulate=4, loss=loss)
    history = fit(rater, train, train, once, seed=3).history
    assert history[-1]["validation_loss"] < 0.6 * history[0]["validation_loss"]
