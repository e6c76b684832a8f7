"""A store and augmentation: views are kept as recordings are, what is drawn anew is not; none passes for another."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lalia.data.audio import scan_recordings
from lalia.data.augment import Augmentation, Step
from lalia.data.dataset import RecordingDataset
from lalia.evaluation.predict import predict
from lalia.model.adapt import adapt_frozen, adapt_partial, freeze_unused
from lalia.settings import CacheSettings, TrainSettings
from lalia.training.cache import ActivationStore
from lalia.training.entries import find_keys
from lalia.training.loop import fit
from lalia.training.reader import InputReader, forecast
from toy_data import make_table
from toy_rater import make_encoder, make_rater

NOISE = Step("noise", options={"snr_db": (0.0, 10.0), "color": "white"})
MIX = Step("mix", options={"snr_db": (0.0, 0.0)})
SPEED = Step("speed", options={"factor": (0.8, 1.2)})
TRAINING = TrainSettings(
    epochs=4, batch_seconds=1.2, learning_rate=0.01, encoder_learning_rate=0.01, early_stopping=None
)
ADAPTATIONS = {"vectors": adapt_frozen, "frames": lambda encoder: adapt_partial(encoder, last=1)}
ALL = [[0, 1, 2], [3, 4, 5]]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    table = make_table(tmp_path_factory.mktemp("audio"), count=6)
    scan = scan_recordings(table.recordings, make_rater().preprocessing, min_seconds=0.025)
    kept = table.recordings.drop(columns="duration_seconds")
    return replace(table, recordings=kept).add_columns(scan[["recording", "duration_seconds", "sha256"]])


@pytest.fixture
def store(tmp_path):
    return ActivationStore(tmp_path / "cache", dtype="float32")


@pytest.fixture(params=ADAPTATIONS)
def rater(request):
    return make_adapted(request.param)


def make_adapted(kind):
    encoder = make_encoder()
    torch.manual_seed(3)
    ADAPTATIONS[kind](encoder)
    freeze_unused(encoder, "last")
    return make_rater(encoder=encoder)


def augmented(rater, table, *steps, views=None):
    return RecordingDataset(table, rater.preprocessing, Augmentation(steps or (NOISE, MIX, SPEED), seed=1, views=views))


@torch.inference_mode()
def scores_of(rater, reader, dataset, epoch, fill=True):
    dataset.set_epoch(epoch)
    if fill:
        reader.fill(dataset)
    inputs = [batch.inputs for batch in reader.read(dataset, ALL)]
    return torch.cat([torch.stack(rater.eval().decode(rater(each))) for each in inputs], dim=1)


def trained(kind, table, store, **augmentation):
    rater = make_adapted(kind)
    reader = InputReader(rater, store)
    plain = RecordingDataset(table, rater.preprocessing)
    result = fit(rater, augmented(rater, table, **augmentation), plain, TRAINING, seed=0, reader=reader)
    return rater, reader, result


@pytest.mark.parametrize("fill", [True, False])
def test_a_view_from_the_store_is_the_view_itself_and_is_computed_once(rater, table, store, fill):
    plain = InputReader(rater)
    expected = [scores_of(rater, plain, augmented(rater, table, views=2), epoch) for epoch in range(4)]
    assert expected[0].equal(expected[2])
    assert not torch.allclose(expected[0], expected[1], atol=1e-4)
    for computed in (12, 0):
        reader, dataset = InputReader(rater, store), augmented(rater, table, views=2)
        for epoch, scores in enumerate(expected):
            found = scores_of(rater, reader, dataset, epoch, fill)
            torch.testing.assert_close(found, scores, atol=1e-5, rtol=0)
        assert reader.computed == computed


def test_more_views_take_those_that_are_there(rater, table, store):
    for views, computed in ((2, 12), (3, 6)):
        reader, dataset = InputReader(rater, store), augmented(rater, table, views=views)
        for epoch in range(6):
            scores_of(rater, reader, dataset, epoch)
        assert reader.computed == computed


def test_what_is_drawn_anew_is_neither_kept_nor_taken_from_what_is(rater, table, store):
    plain = RecordingDataset(table, rater.preprocessing)
    reader = InputReader(rater, store)
    as_they_are = scores_of(rater, reader, plain, 0)
    entries = store.summary().entries
    for epoch in (1, 2):
        expected = scores_of(rater, InputReader(rater), augmented(rater, table), epoch)
        assert scores_of(rater, reader, augmented(rater, table), epoch).equal(expected)
        assert not torch.allclose(expected, as_they_are, atol=1e-4)
    assert store.summary().entries == entries


@pytest.mark.parametrize("views", [None, 1, 3])
def test_the_recordings_themselves_are_never_taken_from_their_views(rater, table, store, views):
    expected = predict(rater, table.recordings)
    reader = InputReader(rater, store)
    scores_of(rater, reader, augmented(rater, table, views=views), 1)
    found = predict(rater, table.recordings, reader=reader)
    np.testing.assert_allclose(found["score"], expected["score"], atol=1e-5)


@pytest.mark.parametrize("views", [None, 2])
@pytest.mark.parametrize("kind", ADAPTATIONS)
def test_training_on_augmentation_goes_the_same_way_with_a_store(kind, table, store, views):
    _, _, plain = trained(kind, table, None, views=views)
    rater, reader, cached = trained(kind, table, store, views=views)
    for without, with_store in zip(plain.history, cached.history, strict=True):
        assert with_store["train_loss"] == pytest.approx(without["train_loss"], abs=2e-4)
        assert with_store["validation_loss"] == pytest.approx(without["validation_loss"], abs=2e-4)
    # the validation part as it is, and each view once
    assert reader.computed == 6 + 6 * (views or 0)
    expected = predict(rater, table.recordings)
    np.testing.assert_allclose(predict(rater, table.recordings, reader=reader)["score"], expected["score"], atol=1e-5)


def test_a_changed_recording_changes_the_keys_of_its_own_views_and_of_those_it_is_mixed_into(table, store):
    rater = make_adapted("frames")
    part = InputReader(rater, store).part
    changed = replace(table, recordings=table.recordings.assign(sha256=["0" * 64, *table.recordings["sha256"][1:]]))
    alone, mixed = (dict.fromkeys(range(6), 0) for _ in range(2))
    for steps, counts in (((NOISE,), alone), ((NOISE, MIX), mixed)):
        for epoch in range(40):
            keys = []
            for each in (table, changed):
                dataset = augmented(rater, each, *steps, views=40)
                dataset.set_epoch(epoch)
                keys.append(find_keys(part, dataset))
            for row in range(6):
                counts[row] += keys[0][row] != keys[1][row]
    assert alone == {0: 40, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0}
    # 0 and 1 are of one speaker, and so never mixed
    assert (mixed[0], mixed[1]) == (40, 0)
    assert all(0 < mixed[row] < 40 for row in (2, 3, 4, 5))


def test_the_forecast_counts_the_views(table, store):
    rater = make_adapted("frames")
    reader, dataset = InputReader(rater, store), augmented(rater, table, NOISE, views=3)
    scores_of(rater, reader, RecordingDataset(table, rater.preprocessing), 0)
    for epoch in range(3):
        scores_of(rater, reader, dataset, epoch)
    settings = CacheSettings(dtype="float32")
    found = forecast(rater, table, settings, augmented=table, views=3).size_bytes
    assert found == 4 * forecast(rater, table, settings).size_bytes
    assert store.summary().size_bytes == pytest.approx(found, rel=0.15)
