"""The moving average of the weights."""

import pytest
import torch

from lalia.errors import Stopped, TrainingError
from lalia.model.adapt import adapt_full, adapt_partial
from lalia.training import step
from lalia.training.ema import WeightAverage
from lalia.training.loop import fit
from lalia.training.validation import validate
from toy_data import make_table
from toy_training import FAST, SignalAt, make_sets, make_trained_rater, settings

EMA = {"decay": 0.5}


@pytest.fixture
def table(tmp_path):
    return make_table(tmp_path)


def test_the_average_over_four_steps_by_hand():
    weight = torch.nn.Parameter(torch.tensor([0.0, 8.0]))
    average = WeightAverage({"w": weight}, decay=0.25)
    expected = torch.tensor([0.0, 8.0])
    # the decays of steps 0 to 3: 1/10, 2/11, then 3/12 = 0.25 and no more
    for number, decay in enumerate([0.1, 2 / 11, 0.25, 0.25]):
        with torch.no_grad():
            weight.add_(torch.tensor([1.0, -2.0]))
        average.update(number)
        expected = decay * expected + (1 - decay) * weight.detach()
        torch.testing.assert_close(average.state()["w"], expected)


def test_the_weights_come_back_after_an_error():
    weight = torch.nn.Parameter(torch.ones(1))
    average = WeightAverage({"w": weight}, decay=0.5)
    weight.data.fill_(3.0)
    with pytest.raises(ZeroDivisionError), average.in_place():
        assert weight.item() == 1.0
        1 / 0  # noqa: B018
    assert weight.item() == 3.0


def test_an_average_of_other_weights_is_refused():
    average = WeightAverage({"w": torch.nn.Parameter(torch.ones(1))}, decay=0.5)
    with pytest.raises(TrainingError, match="averages other weights than those that train"):
        average.restore({})


def test_averaging_does_not_change_the_training_but_what_is_kept(table):
    results = {}
    for ema in (None, EMA):
        rater = make_trained_rater()
        results[str(ema)] = fit(rater, *make_sets(table, rater), settings(ema=ema), seed=0)
    plain, averaged = results.values()
    assert [row["train_loss"] for row in plain.history] == [row["train_loss"] for row in averaged.history]
    assert any(not torch.equal(plain.last[name], value) for name, value in averaged.last.items())


def test_what_is_kept_is_the_average_over_all_steps(table, monkeypatch):
    seen = []

    class Noted(WeightAverage):
        def update(self, step):
            super().update(step)
            seen.append({name: value.detach().clone() for name, value in self._parameters.items()})

    monkeypatch.setattr(step, "WeightAverage", Noted)
    rater = make_trained_rater()
    expected = {name: value.detach().clone() for name, value in rater.named_parameters()}
    result = fit(rater, *make_sets(table, rater), settings(epochs=2, batch_seconds=1, ema=EMA), seed=0)
    assert len(seen) > 4
    for number, weights in enumerate(seen):
        decay = min(0.5, (1 + number) / (10 + number))
        for name, value in weights.items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    for name in seen[-1]:
        torch.testing.assert_close(result.last[name], expected[name])


def test_the_average_is_validated_and_is_the_best_model(table):
    rater = make_trained_rater()
    train, validation = make_sets(table, rater)
    result = fit(rater, train, validation, settings(epochs=4, ema=EMA), seed=0)
    best = result.history[result.best_epoch - 1]
    assert validate(rater, validation, FAST)["validation_loss"] == best["validation_loss"]
    rater.load_state_dict(result.last, strict=False)
    assert validate(rater, validation, FAST)["validation_loss"] == result.history[-1]["validation_loss"]


def test_buffers_are_those_of_the_last_step(table):
    rater = make_trained_rater()
    rater.register_buffer("steps", torch.zeros(1))

    def count(rater, given):
        rater.steps.add_(rater.training)

    rater.register_forward_pre_hook(count)
    result = fit(rater, *make_sets(table, rater), settings(epochs=2, batch_seconds=100, ema=EMA), seed=0)
    assert result.last["steps"].item() == 2.0


@pytest.mark.parametrize("changes", [{}, {"unfreeze_every": 1}], ids=["full", "gradual"])
def test_a_stopped_training_resumes_to_the_same_averages(table, tmp_path, changes):
    def train_once(folder, progress=None, resume=False):
        rater = make_trained_rater(adapt_full if changes else lambda e: adapt_partial(e, last=1))
        options = settings(batch_seconds=0.8, ema=EMA, **changes)
        return fit(
            rater, *make_sets(table, rater), options, seed=5, checkpoints=folder, resume=resume, progress=progress
        )

    whole = train_once(tmp_path / "whole")
    for stop_at in (1, 4, 6):
        with pytest.raises(Stopped):
            train_once(tmp_path / f"{stop_at}", SignalAt(stop_at))
        resumed = train_once(tmp_path / f"{stop_at}", resume=True)
        for name, value in whole.last.items():
            assert torch.equal(value, resumed.last[name]), name
            assert torch.equal(whole.best[name], resumed.best[name]), name


def test_a_training_without_early_stopping_or_validation_keeps_the_average(table):
    rater = make_trained_rater()
    train, validation = make_sets(table, rater)
    nothing = type(validation)(table.select([False] * 8), rater.preprocessing)
    result = fit(rater, train, nothing, settings(ema=EMA), seed=0)
    assert result.best_epoch == 3
    for name, value in result.last.items():
        assert torch.equal(rater.state_dict()[name].cpu(), value)
