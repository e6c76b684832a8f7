"""The training loop on a tiny encoder and eight toy recordings."""

import math
import re
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from covering import cover
from lalia.data.audio import load_waveform
from lalia.data.dataset import BucketedBatches, RecordingDataset, load_batches
from lalia.errors import Stopped, TrainingError
from lalia.measures.metrics import METRICS
from lalia.model.adapt import adapt_frozen, adapt_full, adapt_partial
from lalia.model.adapters import adapt_adalora, adapt_ia3, adapt_lora, adapt_soft_prompt
from lalia.model.inputs import Windows
from lalia.model.losses import rating_loss
from lalia.progress import Progress
from lalia.settings import EarlyStopping, LossSettings
from lalia.training.loop import fit
from lalia.training.optimizer import parameter_groups
from lalia.training.validation import validate, why_undefined
from toy_data import make_table
from toy_rater import make_encoder, make_rater
from toy_training import FAST, SignalAt, make_sets, make_trained_rater, moved, settings, state_of, without_dropout

# every optimiser, with the options that make it keep the most
OPTIONS = [
    {"kind": "adamw", "amsgrad": True},
    {"kind": "adam"},
    {"kind": "nadam"},
    {"kind": "radam"},
    {"kind": "adamax"},
    {"kind": "adagrad", "lr_decay": 0.1},
    {"kind": "adadelta"},
    {"kind": "rmsprop", "momentum": 0.5, "centered": True},
    {"kind": "sgd", "momentum": 0.9, "nesterov": True},
    {"kind": "adafactor"},
]


@pytest.fixture
def table(tmp_path):
    return make_table(tmp_path)


def test_the_loss_falls_on_eight_recordings_twice_identically(table):
    histories = []
    for _ in range(2):
        rater = make_trained_rater()
        train = RecordingDataset(table, rater.preprocessing)
        result = fit(rater, train, train, settings(epochs=25), seed=3)
        histories.append([(row["train_loss"], row["validation_loss"]) for row in result.history])
    assert histories[0] == histories[1]
    assert histories[0][-1][1] < 0.5 * histories[0][0][1]


@pytest.mark.parametrize(
    "loss",
    [
        {"focal_gamma": 2.0},
        {"label_smoothing": 0.1},
        {"level_weights": "inverse_frequency"},
    ],
)
def test_every_option_of_the_loss_is_learned_from(table, loss):
    rater = make_trained_rater()
    train = RecordingDataset(table, rater.preprocessing)
    history = fit(rater, train, train, settings(epochs=10, loss=LossSettings(**loss)), seed=3).history
    assert history[-1]["validation_loss"] < 0.9 * history[0]["validation_loss"]


def test_soft_targets_are_learned_from_in_training_and_validation(table):
    # two raters who never agree: presence is as likely as not, which the lower level alone would hide
    given = [
        (recording, rater, trait, level)
        for recording in table.recordings["recording"]
        for trait in table.traits
        for rater, level in (("x", 1.0), ("y", 4.0))
    ]
    torn = replace(table, rater_ratings=pd.DataFrame(given, columns=["recording", "rater", "trait", "rating"]))
    rater = make_trained_rater(kind="binary")
    part = RecordingDataset(torn, rater.preprocessing)
    loss = LossSettings(targets="raters")
    history = fit(rater, part, part, settings(epochs=25, learning_rate=0.03, loss=loss), seed=3).history
    # the least that a mean cross-entropy with one half can be
    assert history[-1]["validation_loss"] == pytest.approx(math.log(2), abs=0.02)
    scores = rater.score([load_waveform(path, rater.preprocessing) for path in table.recordings["path"]])
    torch.testing.assert_close(scores.probability, torch.full((8, 2), 0.5), atol=0.1, rtol=0)


def test_different_seeds_train_differently(table):
    losses = []
    for seed in (1, 2):
        rater = make_trained_rater()
        losses.append(fit(rater, *make_sets(table, rater), FAST, seed=seed).history[-1]["train_loss"])
    assert losses[0] != losses[1]


@pytest.mark.parametrize(
    "adapt", [adapt_frozen, lambda e: adapt_partial(e, last=1), lambda e: adapt_full(e, train_stem=False), adapt_full]
)
def test_exactly_the_trainable_parameters_move(table, adapt):
    rater = make_trained_rater(adapt, layers="weighted", pooling="attention")
    before = state_of(rater)
    fit(rater, *make_sets(table, rater), settings(epochs=8), seed=0)
    assert moved(before, rater) == {name for name, parameter in rater.named_parameters() if parameter.requires_grad}


def test_every_trainable_parameter_is_in_the_optimizer_once():
    rater = make_trained_rater(lambda e: adapt_partial(e, last=1), layers="weighted", pooling="attention")
    groups = parameter_groups(rater, learning_rate=1.0, encoder_learning_rate=2.0, weight_decay=0.1)
    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(name for name, p in rater.named_parameters() if p.requires_grad)
    assert [id(p) for group in groups for p in group["params"]] == [
        id(dict(rater.named_parameters())[n]) for n in names
    ]


def test_norms_biases_and_mixes_do_not_decay_and_the_encoder_has_its_own_rate():
    rater = make_trained_rater(layers="weighted", pooling="attention")
    groups = parameter_groups(rater, learning_rate=1.0, encoder_learning_rate=2.0, weight_decay=0.1)
    of = {name: group for group in groups for name in group["names"]}
    shapes = {name: parameter.ndim for name, parameter in rater.named_parameters()}
    assert all((group["weight_decay"] == 0.1) == (shapes[name] > 1) for name, group in of.items())
    assert all((group["lr"] == 2.0) == name.startswith("encoder.") for name, group in of.items())
    assert of["layer_mix.logits"]["weight_decay"] == 0.0


def groups_of(rater, **rates):
    groups = parameter_groups(rater, learning_rate=1.0, encoder_learning_rate=2.0, weight_decay=0.1, **rates)
    return {name: group for group in groups for name in group["names"]}


@pytest.mark.parametrize("adapt", [adapt_lora, adapt_ia3, adapt_adalora, adapt_soft_prompt])
def test_what_is_added_to_the_encoder_has_its_own_rate(adapt):
    of = groups_of(make_trained_rater(adapt), adapter_learning_rate=3.0)
    assert {group["lr"] for name, group in of.items() if name.startswith("encoder.")} == {3.0}
    assert {group["lr"] for name, group in of.items() if not name.startswith("encoder.")} == {1.0}


def test_a_learned_mix_has_its_own_rate_if_it_is_given_one():
    rater = make_trained_rater(layers="weighted")
    for given, expected in ((None, 1.0), (5.0, 5.0)):
        of = groups_of(rater, mix_learning_rate=given)
        assert of["layer_mix.logits"]["lr"] == expected
        assert of["head.outputs.0.latent.weight"]["lr"] == 1.0
        assert sorted(of) == sorted(name for name, each in rater.named_parameters() if each.requires_grad)


def test_factors_and_prompts_do_not_decay():
    for adapt in (adapt_ia3, adapt_soft_prompt):
        of = groups_of(make_trained_rater(adapt))
        assert not any(group["weight_decay"] for name, group in of.items() if name.startswith("encoder."))
    of = groups_of(make_trained_rater(adapt_adalora))
    assert {name.split(".")[-2] for name, group in of.items() if group["weight_decay"] and "lora" in name} == {
        *("lora_A", "lora_B"),
    }


def test_rates_fall_from_the_last_block_to_the_stem():
    rater = make_trained_rater()
    of = groups_of(rater, layer_decay=0.5)
    depth_of = {f"encoder.model.{path}": rater.encoder.depth_of(path) for path, _ in rater.encoder.adaptable()}
    rates = {depth_of[name]: group["lr"] for name, group in of.items() if name in depth_of}
    assert rates == {2: 2.0, 1: 1.0, 0: 0.5}
    assert of["head.outputs.0.latent.weight"]["lr"] == 1.0


def test_accumulated_batches_give_the_step_of_one_batch(table):
    weights = []
    # a frozen encoder and no dropout: the two ways differ in nothing but the batching
    for batch_seconds, accumulate in ((30, 1), (0.5, 100)):
        rater = without_dropout(make_trained_rater(adapt_frozen))
        train, validation = make_sets(table, rater)
        fit(rater, train, validation, settings(epochs=1, batch_seconds=batch_seconds, accumulate=accumulate), seed=0)
        weights.append(state_of(rater))
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=1e-5, rtol=1e-4)


def test_last_partial_accumulation_still_steps(table, tmp_path):
    rater = make_trained_rater(adapt_frozen)
    train, validation = make_sets(table, rater)
    batches = BucketedBatches(train.recordings, train.seconds, batch_seconds=0.5, seed=0, shuffle=True)
    assert len(batches) == 6
    result = fit(
        rater,
        train,
        validation,
        settings(epochs=1, batch_seconds=0.5, accumulate=4),
        seed=0,
        checkpoints=tmp_path / "checkpoints",
    )
    assert len(result.history) == 1
    assert [path.name for path in (tmp_path / "checkpoints").glob("step-*")] == ["step-00000002"]


def test_best_weights_are_those_of_the_best_epoch(table):
    rater = make_trained_rater()
    train, validation = make_sets(table, rater)
    result = fit(rater, train, validation, settings(epochs=6, learning_rate=0.3), seed=0)
    losses = [row["validation_loss"] for row in result.history]
    assert result.best_epoch == losses.index(min(losses)) + 1
    assert validate(rater, validation, FAST)["validation_loss"] == min(losses)
    assert result.best.keys() == result.last.keys()


def test_early_stopping_waits_for_its_patience(table):
    rater = make_trained_rater()
    # a rate of zero: nothing ever improves on the first epoch
    still = settings(
        epochs=9, learning_rate=0.0, encoder_learning_rate=0.0, early_stopping=EarlyStopping(metric="auc", patience=2)
    )
    result = fit(rater, *make_sets(table, rater), still, seed=0)
    assert (len(result.history), result.best_epoch, result.stopped) == (3, 1, "no improvement for 2 epochs")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_the_best_epoch_by_a_metric_is_the_first_with_its_best_value(table, metric):
    rater = make_trained_rater(adapt_frozen)
    watching = settings(epochs=5, learning_rate=0.3, early_stopping=EarlyStopping(metric=metric.name, patience=9))
    result = fit(rater, *make_sets(table, rater), watching, seed=4)
    values = [row[f"validation_{metric.name}"] for row in result.history]
    best = (max if metric.better == "higher" else min)(values)
    assert result.best_epoch == values.index(best) + 1


def test_without_a_validation_part_the_last_epoch_is_the_best(table):
    rater = make_trained_rater()
    train, _ = make_sets(table, rater)
    nothing = RecordingDataset(table.select([False] * 8), rater.preprocessing)
    assert fit(rater, train, nothing, FAST, seed=0).best_epoch == 3


def test_frozen_encoder_keeps_its_bytes_and_its_mode(table):
    rater = make_trained_rater(adapt_frozen)
    before = {name: value.clone() for name, value in rater.encoder.state_dict().items()}
    rater.train()
    assert not any(module.training for module in rater.encoder.modules() if module is not rater.encoder)
    fit(rater, *make_sets(table, rater), FAST, seed=0)
    assert all(torch.equal(before[name], value) for name, value in rater.encoder.state_dict().items())


WAYS = {
    "full": (adapt_full, {}),
    "gradual": (adapt_full, {"unfreeze_every": 1, "layer_decay": 0.5}),
    "lora": (lambda e: adapt_lora(e, rank=2, dropout=0.2), {"unfreeze_every": 2}),
    "adalora": (lambda e: adapt_adalora(e, rank=1, start_rank=3), {}),
    **{each["kind"]: (lambda e: adapt_partial(e, last=1), {"optimizer": each}) for each in OPTIONS},
}
STEPS = (1, 4, 6, 10)


@pytest.mark.parametrize(
    ("way", "stop_at"), cover(WAYS, STEPS, one_in=4, also=[("full", step) for step in STEPS] + [("gradual", 6)])
)
def test_a_stopped_training_resumes_to_the_same_weights(table, tmp_path, way, stop_at):
    adapt, changes = WAYS[way]

    def train_once(folder, progress=None, resume=False):
        rater = make_trained_rater(adapt)
        options = settings(epochs=3, batch_seconds=0.8, **changes)
        result = fit(
            rater,
            *make_sets(table, rater),
            options,
            seed=5,
            checkpoints=tmp_path / folder,
            resume=resume,
            progress=progress,
        )
        return rater, result

    whole, expected = train_once("whole")
    with pytest.raises(Stopped, match=r"Stopped in epoch \d\. The state is saved: go on with --resume\.") as caught:
        train_once("stopped", SignalAt(stop_at))
    assert caught.value.signal_number == signal.SIGTERM
    resumed, result = train_once("stopped", resume=True)
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in resumed.state_dict().items())
    # the best weights may be older than the stop: the last ones tell more
    assert all(torch.equal(value, expected.last[name]) for name, value in result.last.items())
    assert [r["train_loss"] for r in result.history] == [r["train_loss"] for r in expected.history]


class NoteEpochs(Progress):
    """Notes after each step which depths train, are in training mode and have an optimiser's state."""

    def __init__(self, rater):
        self.rater = rater
        self.seen = []

    def advance(self, note=""):
        encoder = self.rater.encoder
        depths = sorted({encoder.depth_of(path) for path, each in encoder.adaptable() if each.requires_grad})
        modes = [depth for depth, block in enumerate(encoder.blocks, start=1) if block.training]
        self.seen.append((encoder.first_changing_depth, depths, modes))


def test_blocks_join_the_training_from_above_epoch_by_epoch(table):
    rater = make_trained_rater(lambda e: adapt_full(e, train_stem=False))
    noted = NoteEpochs(rater)
    fit(
        rater, *make_sets(table, rater), settings(epochs=3, batch_seconds=100, unfreeze_every=1), seed=0, progress=noted
    )
    assert noted.seen == [(2, [2], [2]), (1, [1, 2], [1, 2]), (1, [1, 2], [1, 2])]


def test_what_has_not_joined_yet_neither_moves_nor_decays(table):
    rater = make_trained_rater()
    before = state_of(rater)
    decaying = settings(epochs=2, unfreeze_every=2, weight_decay=0.5)
    result = fit(rater, *make_sets(table, rater), decaying, seed=0)
    encoder = rater.encoder
    depths = {
        encoder.depth_of(name.removeprefix("encoder.model.")) for name in moved(before, rater) if "model." in name
    }
    assert depths == {2}
    # what is to train later belongs to the state of the training all the same
    assert result.last.keys() == {name for name, p in rater.named_parameters() if p.requires_grad} | {
        name for name, _ in rater.named_buffers() if name in rater.state_dict()
    }


def test_after_training_all_that_was_declared_can_train_again(table):
    rater = make_trained_rater()
    declared = {name for name, p in rater.named_parameters() if p.requires_grad}
    fit(rater, *make_sets(table, rater), settings(epochs=1, unfreeze_every=1), seed=0)
    assert {name for name, p in rater.named_parameters() if p.requires_grad} == declared


def test_adalora_does_not_take_gradual_unfreezing(table):
    rater = make_trained_rater(adapt_adalora)
    with pytest.raises(TrainingError, match="AdaLoRA shares its ranks among all blocks"):
        fit(rater, *make_sets(table, rater), settings(unfreeze_every=1), seed=0)


def test_the_ranks_of_adalora_have_fallen_when_training_ends(table):
    rater = make_trained_rater(lambda e: adapt_adalora(e, rank=1, start_rank=3))
    result = fit(rater, *make_sets(table, rater), settings(epochs=8), seed=0)
    kept = [int((values != 0).sum()) for name, values in result.last.items() if ".lora_E." in name]
    assert len(kept) == len(rater.encoder.added["modules"]) == sum(kept)
    assert set(kept) != {1}


def test_the_rates_of_an_epoch_are_in_its_row(table):
    rater = make_trained_rater(adapt_lora)
    options = settings(epochs=1, adapter_learning_rate=0.25, schedule="constant")
    (row,) = fit(rater, *make_sets(table, rater), options, seed=0).history
    assert (row["learning_rate"], row["encoder_learning_rate"], row["adapter_learning_rate"]) == (0.01, None, 0.25)


def test_the_newest_unreadable_checkpoint_is_passed_over(table, tmp_path, caplog):
    rater = make_trained_rater()
    fit(rater, *make_sets(table, rater), settings(epochs=2), seed=0, checkpoints=tmp_path / "c")
    newest = sorted((tmp_path / "c").glob("step-*"))[-1]
    (newest / "model.safetensors").write_bytes(b"half")
    again = make_trained_rater()
    result = fit(again, *make_sets(table, again), settings(epochs=2), seed=0, checkpoints=tmp_path / "c", resume=True)
    assert (
        f"Checkpoint {newest.name} cannot be used (model.safetensors is not as long as it was written)" in caplog.text
    )
    assert torch.equal(
        again.head.state_dict()[next(iter(again.head.state_dict()))],
        rater.head.state_dict()[next(iter(rater.head.state_dict()))],
    )
    assert len(result.history) == 2


def test_a_loss_that_is_not_finite_names_the_recordings(table):
    rater = make_trained_rater()
    with torch.no_grad():
        next(rater.head.parameters()).fill_(torch.nan)
    with pytest.raises(
        TrainingError, match=r"not finite in \d steps in a row, the last in epoch 1, step \d \(recordings r\d"
    ):
        fit(rater, *make_sets(table, rater), FAST, seed=0)


def test_a_rater_in_which_nothing_trains_is_refused(table):
    rater = make_trained_rater(adapt_frozen)
    rater.requires_grad_(False)
    with pytest.raises(TrainingError, match="Nothing in the rater trains"):
        fit(rater, *make_sets(table, rater), FAST, seed=0)


def test_validation_loss_is_the_mean_over_valid_ratings(table):
    rater = make_trained_rater()
    dataset = RecordingDataset(table, rater.preprocessing)
    rater.eval()
    batches = BucketedBatches(dataset.recordings, dataset.seconds, batch_seconds=100, seed=0, shuffle=False)
    (batch,) = load_batches(dataset, batches)
    with torch.no_grad():
        raw = rater(Windows(batch.waveforms, batch.n_samples, batch.recording_of_window))
    losses, has_rating = rating_loss(rater.head, raw, batch.ratings)
    assert has_rating.sum() == 15
    found = validate(rater, dataset, FAST)
    assert found["validation_loss"] == pytest.approx(float(losses.sum() / 15), rel=1e-5)
    assert 0.0 <= found["validation_auc"] <= 1.0


@pytest.mark.parametrize("family", ["wavlm", "whisper", "wav2vec2-conformer", "wav2vec2-bert"])
def test_gradient_checkpointing_changes_no_weight(family, table):
    results = []
    for checkpoints in (False, True):
        encoder = make_encoder(family)
        blocks = []
        encoder.blocks[1].register_forward_pre_hook(lambda *_, blocks=blocks: blocks.append(torch.is_grad_enabled()))
        adapt_partial(encoder, last=1)
        rater = make_rater(encoder=encoder)
        once = settings(gradient_checkpointing=checkpoints, epochs=1, batch_seconds=100.0)
        results.append(fit(rater, *make_sets(table, rater), once, seed=0).last)
        # the one step runs the block once, or twice; validation once without gradients
        assert blocks == [True] * (2 if checkpoints else 1) + [False]
    for name, values in results[0].items():
        assert torch.equal(results[1][name], values), name


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_that_is_computed_in_pieces_is_the_same_step(accumulate, table, monkeypatch):
    results, sizes = [], []
    for seconds in (100.0, 0.5):
        monkeypatch.setattr("lalia.training.loop.CPU_PIECE_SECONDS", seconds)
        rater = without_dropout(make_trained_rater())
        sizes.append([])
        rater.register_forward_pre_hook(lambda _, given, seen=sizes[-1]: seen.append(len(given[0].n_samples)))
        once = settings(epochs=1, batch_seconds=1.5, accumulate=accumulate)
        results.append(fit(rater, *make_sets(table, rater), once, seed=0))
    assert max(sizes[0]) > 1
    assert set(sizes[1][:6]) == {1}
    whole, pieces = results
    assert pieces.history[0]["train_loss"] == pytest.approx(whole.history[0]["train_loss"], rel=1e-5)
    for name, values in whole.last.items():
        torch.testing.assert_close(pieces.last[name], values, atol=1e-4, rtol=0)


def test_where_the_metric_is_undefined_in_every_epoch_the_last_is_kept_and_that_is_told(table):
    class Said(Progress):
        def __init__(self):
            self.lines = []

        def say(self, line):
            self.lines.append(line)

    rater, said = make_trained_rater(), Said()
    train, validation = make_sets(table, rater)
    validation.ratings = np.ones_like(validation.ratings)
    options = settings(epochs=2, early_stopping=EarlyStopping(metric="auc", patience=1))
    result = fit(rater, train, validation, options, seed=0, progress=said)
    assert [row["validation_auc"] for row in result.history] == [None, None]
    assert result.best_epoch == 2
    assert [row["is_best"] for row in result.history] == [False, True]
    assert all(torch.equal(result.best[name], value) for name, value in result.last.items())
    assert result.warnings == (
        "train.early_stopping.metric: validation_auc was undefined in every epoch (only one class among the 4 rated "
        "recordings), so nothing could stop training early and the weights of the last epoch, 2, are kept.",
    )
    assert said.lines[-1] == f"Note: {result.warnings[0]}"
    assert not rater.training


@pytest.mark.parametrize(
    ("metric", "ratings", "reason"),
    [
        ("spearman", 2.0, "all ratings of the 4 rated recordings are equal"),
        ("sensitivity", 1.0, "the trait is absent in all of the 4 rated recordings"),
        ("loss", np.nan, "no rated recordings"),
        ("loss", 1.0, "the loss or the scores are not finite"),
    ],
)
def test_why_a_metric_is_undefined_is_told_by_its_own_reason(metric, ratings, reason, table):
    rater = make_trained_rater()
    _, validation = make_sets(table, rater)
    validation.ratings = np.full_like(validation.ratings, ratings)
    assert why_undefined(rater, validation, settings(), metric) == reason


def test_where_an_epoch_has_a_value_there_is_no_warning(table):
    rater = make_trained_rater()
    assert fit(rater, *make_sets(table, rater), settings(epochs=1), seed=0).warnings == ()


def test_each_step_tells_loss_rate_speed_and_memory(table):
    class Told(Progress):
        def __init__(self):
            self.notes = []

        def advance(self, note=""):
            self.notes.append(note)

    rater, told = make_trained_rater(), Told()
    options = settings(epochs=1, batch_seconds=1, learning_rate=1e-3, encoder_learning_rate=1e-4, warmup=0.0)
    result = fit(rater, *make_sets(table, rater), options, seed=0, progress=told)
    words = r"loss (.*), rate (.*), encoder rate (.*), (.*) s audio/s, (.*) GiB, (.*) left"
    *numbers, left = re.fullmatch(words, told.notes[-1]).groups()
    loss, _, _, pace, memory = map(float, numbers)
    assert loss == pytest.approx(result.history[0]["train_loss"], abs=1e-4)
    assert pace == pytest.approx(result.history[0]["audio_seconds_per_second"], abs=1)
    assert memory > 0
    assert left == "0:00:00"
    assert told.notes[0].split(", ")[1:3] == ["rate 1.0e-03", "encoder rate 1.0e-04"]
