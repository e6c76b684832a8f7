"""Training, validation and prediction from a store: the same scores, and nothing frozen is computed twice."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from adaptation_check import ADAPTATIONS
from covering import cover
from lalia.data.audio import scan_recordings
from lalia.data.dataset import RecordingDataset
from lalia.errors import EmptyRecordingError
from lalia.evaluation.predict import predict
from lalia.model.adapt import adapt_frozen, adapt_full, adapt_partial, freeze_unused
from lalia.model.adapters import adapt_lora
from lalia.model.inputs import KnownFrames, KnownVectors, Windows
from lalia.model.rater import SpeechRater
from lalia.settings import CacheSettings, TrainSettings
from lalia.training.cache import ActivationStore
from lalia.training.entries import forecast_bytes
from lalia.training.frozen import FrozenFrames, FrozenVectors, encode_windows, find_frozen_part
from lalia.training.loop import fit
from lalia.training.reader import InputReader, forecast
from toy_data import make_table
from toy_encoders import ENCODERS, FAMILIES, make_encoder, noise
from toy_rater import TRANSFORMER, make_rater

TRAINING = TrainSettings(
    epochs=2,
    batch_seconds=1.2,
    learning_rate=0.01,
    encoder_learning_rate=0.01,
    adapter_learning_rate=0.01,
    early_stopping=None,
)
ALL = [[0, 1, 2], [3, 4, 5]]


def last_block(encoder):
    return adapt_partial(encoder, last=1)


def all_but_features(encoder):
    return adapt_full(encoder, train_features=False)


def scanned(table, preprocessing):
    scan = scan_recordings(table.recordings[["recording", "path"]], preprocessing, min_seconds=0.025)
    kept = table.recordings.drop(columns="duration_seconds")
    return replace(table, recordings=kept).add_columns(scan[["recording", "duration_seconds", "sha256"]])


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Six recordings, the last one of three windows."""
    folder = tmp_path_factory.mktemp("audio")
    table = make_table(folder, count=6)
    random = np.random.default_rng(0)
    soundfile.write(folder / "r5.wav", 0.1 * random.normal(size=round(1.6 * 16_000)), 16_000)
    return scanned(table, make_rater().preprocessing)


def make_adapted(adapt, encoder=None, *, layers="last", pooling="mean", **options):
    encoder = encoder or make_encoder("wavlm")
    torch.manual_seed(3)
    adapt(encoder)
    freeze_unused(encoder, layers)
    return make_rater(encoder=encoder, layers=layers, pooling=pooling, window_seconds=0.7, **options)


def dataset_for(rater, table):
    return RecordingDataset(table, rater.preprocessing)


def encoder_passes(rater):
    """Return a list that grows by the number of windows of each pass through the whole encoder."""
    passes = []
    rater.encoder.register_forward_hook(lambda _, given, __: passes.append(len(given[0])))
    return passes


@torch.inference_mode()
def scores_of(rater, reader, table):
    batches = list(reader.read(dataset_for(rater, table), ALL))
    return torch.cat([torch.stack(rater.eval().decode(rater(batch.inputs))) for batch in batches], dim=1), batches


STARTS = {
    "frozen, last": (adapt_frozen, "last", "mean"),
    "frozen, weighted": (adapt_frozen, "weighted", "mean"),
    "frozen, weighted attention": (adapt_frozen, "weighted", "attention"),
    "frozen, weighted statistics": (adapt_frozen, "weighted", "statistics"),
    "frozen, side by side": (adapt_frozen, [1, 3], "statistics"),
    "frozen, max": (adapt_frozen, 2, "max"),
    "last block": (last_block, "last", "mean"),
    "last block, weighted": (last_block, "weighted", "attention"),
    "all blocks": (lambda encoder: adapt_full(encoder, train_stem=False), "last", "mean"),
    "lora": (ADAPTATIONS["lora"], "weighted", "mean"),
    "lora on the last block": (lambda encoder: adapt_lora(encoder, rank=2, last=1), [2, 3], "mean"),
    "soft prompt": (ADAPTATIONS["deep soft_prompt"], "last", "statistics"),
    "all but the features": (all_but_features, "weighted", "mean"),
}


@pytest.mark.parametrize(("family", "start"), cover(ENCODERS, STARTS, one_in=6))
def test_scores_from_the_store_are_those_without_it(family, start, table, tmp_path):
    adapt, layers, pooling = STARTS[start]
    encoder = make_encoder(family)
    if start == "soft prompt" and not encoder.takes_prompt:
        pytest.skip(f"{family} takes no prompt")
    rater = make_adapted(adapt, encoder, layers=layers, pooling=pooling)
    if encoder.first_changing_depth == 0 and not encoder.feature_modules:
        assert InputReader(rater, ActivationStore(tmp_path)).part is None
        pytest.skip(f"the stem of {family} is one whole")
    expected, plain = scores_of(rater, InputReader(rater), table)
    assert isinstance(plain[0].inputs, Windows)
    for dtype, tolerance in {"float32": 1e-5, "float16": 2e-3}.items():
        reader = InputReader(rater, ActivationStore(tmp_path / "cache", dtype=dtype))
        for computed in (6, 6):  # the first time all are computed, the second time none is
            found, batches = scores_of(rater, reader, table)
            torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)
            assert reader.computed == computed
            assert isinstance(batches[0].inputs, KnownFrames | KnownVectors)
            assert torch.equal(batches[1].ratings.isnan(), plain[1].ratings.isnan())
            assert torch.equal(batches[1].rows, plain[1].rows)


@pytest.mark.parametrize(
    ("adapt", "layers", "pooling", "expected"),
    [
        (adapt_frozen, "last", "mean", ("last",)),
        (adapt_frozen, "weighted", "mean", (0, 1, 2, 3)),
        (adapt_frozen, "weighted", "attention", (0, 1, 2, 3)),
        (adapt_frozen, "last", "attention", ("last",)),
        (last_block, "last", "mean", (2,)),
        (last_block, "weighted", "mean", (0, 1, 2)),
        (last_block, [1, 3], "mean", (1, 2)),
        (ADAPTATIONS["lora"], "last", "mean", (0,)),
        (ADAPTATIONS["soft_prompt"], "last", "mean", (0,)),
        (lambda encoder: adapt_full(encoder, train_stem=False), "weighted", "mean", (0,)),
        (all_but_features, "weighted", "mean", ("features",)),
    ],
)
def test_what_is_kept_follows_from_what_trains(adapt, layers, pooling, expected):
    part = find_frozen_part(make_adapted(adapt, layers=layers, pooling=pooling), "float16")
    assert part.depths == expected
    assert isinstance(part, FrozenVectors) == (adapt is adapt_frozen and pooling == "mean")


def test_nothing_is_kept_where_the_stem_trains():
    assert find_frozen_part(make_adapted(adapt_full), "float16") is None


def test_a_head_with_a_transformer_takes_frames():
    rater = make_adapted(adapt_frozen, transformer=TRANSFORMER)
    assert isinstance(find_frozen_part(rater, "float16"), FrozenFrames)


TRAINED = {
    "vectors": (adapt_frozen, "weighted", "mean"),
    "frames": (adapt_frozen, "last", "attention"),
    "last block": (last_block, "weighted", "attention"),
    "lora": (ADAPTATIONS["lora"], "last", "mean"),
    "soft prompt": (ADAPTATIONS["soft_prompt"], "last", "mean"),
    "ia3": (ADAPTATIONS["ia3"], "last", "mean"),
    "all but the features": (all_but_features, "last", "mean"),
}


@pytest.mark.parametrize(("trained", "workers"), cover(TRAINED, (0, 1), one_in=2, also=[(each, 0) for each in TRAINED]))
def test_training_goes_the_same_way_and_the_encoder_runs_once_per_window(trained, workers, table, tmp_path):
    adapt, layers, pooling = TRAINED[trained]
    results = []
    for store in (None, ActivationStore(tmp_path / "cache", dtype="float32")):
        rater = make_adapted(adapt, layers=layers, pooling=pooling)
        passes = encoder_passes(rater)
        reader = InputReader(rater, store, workers=workers)
        result = fit(rater, dataset_for(rater, table), dataset_for(rater, table), TRAINING, seed=0, reader=reader)
        results.append((result, rater, sum(passes)))
    (plain, _, _), (cached, rater, windows) = results
    # the validation part is the training part: its entries are there already
    assert windows == 8
    for without, with_store in zip(plain.history, cached.history, strict=True):
        assert with_store["train_loss"] == pytest.approx(without["train_loss"], abs=2e-4)
        assert with_store["validation_loss"] == pytest.approx(without["validation_loss"], abs=2e-4)
    assert plain.last.keys() == cached.last.keys()
    for name, values in plain.last.items():
        torch.testing.assert_close(cached.last[name], values, atol=5e-3, rtol=0)
    # what was trained before is found again after a save
    rater.save_pretrained(tmp_path / "model")
    loaded = SpeechRater.from_pretrained(tmp_path / "model")
    again = InputReader(loaded, store)
    kept, _ = scores_of(loaded, again, table)
    assert again.computed == 0
    torch.testing.assert_close(kept, scores_of(rater, reader, table)[0], atol=1e-6, rtol=0)


def test_gradual_unfreezing_starts_from_the_lowest_depth_that_will_train(table, tmp_path):
    rater = make_adapted(lambda encoder: adapt_partial(encoder, last=2))
    reader = InputReader(rater, ActivationStore(tmp_path / "cache"))
    assert reader.part.depths == (1,)
    settings = TRAINING.model_copy(update={"unfreeze_every": 1, "epochs": 3})
    before = {name: value.clone() for name, value in rater.encoder.named_parameters()}
    fit(rater, dataset_for(rater, table), dataset_for(rater, table), settings, seed=0, reader=reader)
    moved = {
        name.split("layers.")[1][0] for name, value in rater.encoder.named_parameters() if not value.equal(before[name])
    }
    assert moved == {"1", "2"}


def test_predictions_are_the_same_and_are_computed_once(table, tmp_path):
    rater = make_adapted(last_block)
    expected = predict(rater, table.recordings)
    reader = InputReader(rater, ActivationStore(tmp_path / "cache"))
    for _ in range(2):
        found = predict(rater, table.recordings, reader=reader)
        np.testing.assert_allclose(found["score"], expected["score"], atol=2e-3)
    assert reader.computed == 6


def test_recordings_that_were_not_hashed_are_computed_each_time(table, tmp_path):
    rater = make_adapted(last_block)
    reader = InputReader(rater, ActivationStore(tmp_path / "cache"))
    predict(rater, table.recordings.drop(columns="sha256"), reader=reader)
    assert reader.store.summary().entries == 0


def test_a_changed_recording_is_computed_again_and_no_other(table, tmp_path):
    rater = make_adapted(last_block)
    store = ActivationStore(tmp_path / "cache")
    scores_of(rater, InputReader(rater, store), table)
    changed = table.recordings.assign(sha256=["0" * 64, *table.recordings["sha256"][1:]])
    reader = InputReader(rater, store)
    scores_of(rater, reader, replace(table, recordings=changed))
    assert reader.computed == 1


def test_a_changed_block_below_computes_all_again_and_one_above_none(table, tmp_path):
    store = ActivationStore(tmp_path / "cache")
    computed = []
    for changed in (None, 2, 0):
        rater = make_adapted(last_block)
        if changed is not None:
            with torch.no_grad():
                next(rater.encoder.blocks[changed].parameters()).mul_(1.1)
        reader = InputReader(rater, store)
        scores_of(rater, reader, table)
        computed.append(reader.computed)
    assert computed == [6, 0, 6]


def test_a_damaged_entry_is_computed_again_in_the_middle_of_training(table, tmp_path):
    rater = make_adapted(last_block)
    reader = InputReader(rater, ActivationStore(tmp_path / "cache"))
    expected, _ = scores_of(rater, reader, table)
    path = next(reader.store.folder.rglob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-7])
    found, _ = scores_of(rater, reader, table)
    assert reader.computed == 7
    assert torch.equal(found, expected)
    assert scores_of(rater, reader, table)[0].equal(expected)
    assert reader.computed == 7


@pytest.mark.parametrize(("start", "max_gb"), [("frozen, last", 3e-6), ("last block", 6e-6)])
def test_a_store_that_is_too_small_changes_no_score_and_keeps_what_fits(start, max_gb, table, tmp_path, caplog):
    adapt, layers, pooling = STARTS[start]
    rater = make_adapted(adapt, layers=layers, pooling=pooling)
    expected, _ = scores_of(rater, InputReader(rater), table)
    store = ActivationStore(tmp_path / "cache", max_gb=max_gb, dtype="float32")
    reader = InputReader(rater, store)
    reader.fill(dataset_for(rater, table))
    for _ in range(2):
        found, _ = scores_of(rater, reader, table)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert 1 <= store.summary().entries < 6
    assert store.summary().size_bytes <= max_gb * 1e9
    assert "Activations are not kept in the cache" in caplog.text


KINDS_OF_ENTRIES = ["frozen, last", "frozen, weighted attention", "last block", "soft prompt"]


@pytest.mark.parametrize(("family", "start"), cover(FAMILIES, KINDS_OF_ENTRIES, one_in=2))
def test_the_forecast_is_what_the_entries_take(family, start, table, tmp_path):
    adapt, layers, pooling = STARTS[start]
    encoder = make_encoder(family)
    if start == "soft prompt" and not encoder.takes_prompt:
        pytest.skip(f"{family} takes no prompt")
    rater = make_adapted(adapt, encoder, layers=layers, pooling=pooling)
    store = ActivationStore(tmp_path / "cache")
    reader = InputReader(rater, store)
    reader.fill(dataset_for(rater, table))
    needed = forecast_bytes(reader.part, rater.encoder, dataset_for(rater, table))
    assert store.summary().size_bytes == pytest.approx(needed, rel=0.15)
    found = forecast(rater, table, CacheSettings(dir=str(tmp_path / "cache")))
    assert (found.size_bytes, found.title) == (needed, reader.part.title)


def test_a_budget_of_0_keeps_nothing_and_starts_from_the_waveforms(table, tmp_path):
    rater = make_adapted(last_block)
    reader = InputReader(rater, ActivationStore(tmp_path / "cache", max_gb=0))
    assert (reader.part, reader.store) == (None, None)
    assert forecast(rater, table, CacheSettings(max_gb=0)) is None


def test_a_recording_without_a_frame_is_named(table, tmp_path):
    rater = make_adapted(last_block)
    part = find_frozen_part(rater, "float16")
    rater.encoder.stem = lambda waveforms, n_samples: (
        type(rater.encoder)
        .stem(rater.encoder, waveforms, n_samples)
        ._replace(is_real=torch.zeros(len(waveforms), 62, dtype=torch.bool))
    )
    with pytest.raises(EmptyRecordingError, match="Recording 'r0' is too short for the encoder"):
        part.encode(rater.encoder, {"r0": noise(20_000)}, 0)


def test_windows_go_through_together_where_the_limit_lets_them():
    encoder = make_encoder("wavlm")
    recordings = {"a": noise(16_000, 8_000, 12_000), "b": noise(30_000), "c": noise(5_000)}
    together = list(encode_windows(encoder, recordings, ["last"], 32_000))
    assert [names for names, _ in together] == [["a", "a"], ["a"], ["b"], ["c"]]
    alone = [frames["last"] for _, frames in encode_windows(encoder, recordings, ["last"], 0)]
    assert len(alone) == 5
    torch.testing.assert_close(together[0][1]["last"].values[1, :24], alone[1].values[0], atol=1e-5, rtol=0)
