"""Hidden frames: only in training, the same with a store as without, whatever else is in the batch."""

from dataclasses import replace

import pytest
import torch

from adaptation_check import ADAPTATIONS
from lalia.build import build_augmentation
from lalia.data.audio import scan_recordings
from lalia.data.augment import Augmentation, Step
from lalia.data.dataset import RecordingDataset
from lalia.data.spec_augment import SpecAugment
from lalia.errors import ConfigError, EncoderError, Stopped
from lalia.model.adapt import adapt_frozen, adapt_full, adapt_partial, freeze_unused
from lalia.model.frame_masks import FrameMasks
from lalia.model.inputs import KnownFrames, Windows
from lalia.settings import TrainSettings
from lalia.training.cache import ActivationStore
from lalia.training.loop import fit
from lalia.training.masking import draw_masks
from lalia.training.reader import InputReader
from toy_data import make_table
from toy_encoders import ENCODERS, make_encoder, noise, pad
from toy_rater import make_rater
from toy_run import quick_settings, write_toy_corpus
from toy_training import SignalAt

MUCH = SpecAugment(masks_per_second=10.0, mask_seconds=(0.04, 0.1), feature_share=(0.25, 0.25))
HIDING = Augmentation((), seed=1, spec_augment=MUCH)
TRAINING = TrainSettings(
    epochs=3, batch_seconds=1, warmup=0.0, encoder_learning_rate=0.01, adapter_learning_rate=0.01, early_stopping=None
)
ALL = [[0, 1, 2], [3, 4, 5]]
WITH_FRAMES = [name for name in ENCODERS if name != "audio-spectrogram-transformer"]
# what is known of the frozen part lies at depth 0 or below
AT_MOST_0 = {
    "features": lambda encoder: adapt_full(encoder, train_features=False),
    "depth 0": lambda encoder: adapt_full(encoder, train_stem=False),
    "lora": ADAPTATIONS["lora"],
}
ABOVE_0 = {"vectors": adapt_frozen, "depth 2": lambda encoder: adapt_partial(encoder, last=1)}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    table = make_table(tmp_path_factory.mktemp("audio"), count=6)
    scan = scan_recordings(table.recordings, make_rater().preprocessing, min_seconds=0.025)
    kept = table.recordings.drop(columns="duration_seconds")
    return replace(table, recordings=kept).add_columns(scan[["recording", "duration_seconds", "sha256"]])


def make_adapted(adapt, family="wavlm", layers="weighted"):
    encoder = make_encoder(family)
    torch.manual_seed(3)
    adapt(encoder)
    freeze_unused(encoder, layers)
    return make_rater(encoder=encoder, layers=layers, window_seconds=0.3)


def hiding(rater, table, epoch=1, augmentation=HIDING):
    dataset = RecordingDataset(table, rater.preprocessing, augmentation)
    dataset.set_epoch(epoch)
    return dataset


@torch.inference_mode()
def scores_of(rater, reader, dataset, batches=ALL):
    reader.fill(dataset)
    read = list(reader.read(dataset, batches))
    return torch.cat([torch.stack(rater.eval().decode(rater(each.inputs))) for each in read], dim=1), read


@pytest.mark.parametrize("family", WITH_FRAMES)
def test_hidden_frames_are_the_mean_of_the_window_and_the_blocks_start_from_them(family):
    encoder = make_encoder(family)
    waveforms, n_samples = pad(noise(9_000, 16_000))
    frames = encoder.stem(waveforms, n_samples)
    counts = frames.is_real.sum(dim=1)
    times = torch.zeros(2, int(counts.max()), dtype=torch.bool)
    times[0, 2:5] = times[1, -1] = True
    masks = FrameMasks(times, torch.eye(2, 16, dtype=torch.bool))
    with torch.no_grad():
        found = encoder(waveforms, n_samples, [0, 1, "last"], masks)
        for window in range(2):
            real, masked = (each.values[window][each.is_real[window]] for each in (frames, found[0]))
            is_hidden = times[window, : counts[window], None] | masks.features[window]
            torch.testing.assert_close(masked, torch.where(is_hidden, real.mean(dim=0), real))
        again = encoder.frames_from(0, found[0], [1, "last"])
        assert all(torch.equal(again[depth].values, found[depth].values) for depth in (1, "last"))


def test_frames_cannot_be_hidden_above_depth_0():
    encoder = make_encoder("wavlm")
    frames = encoder.stem(*pad(noise(9_000)))
    masks = FrameMasks(torch.zeros(1, 1, dtype=torch.bool), torch.zeros(1, 16, dtype=torch.bool))
    with pytest.raises(EncoderError) as caught:
        encoder.frames_from(1, frames, [2], masks)
    assert str(caught.value) == "With masks frames are computed from those of depth 0, not of depth 1."


@pytest.mark.parametrize("family", ["wavlm", "whisper", "whisper on the clip"])
def test_a_score_with_hidden_frames_does_not_depend_on_the_batch(family, table):
    rater = make_adapted(adapt_full, family)
    together, _ = scores_of(rater, InputReader(rater), hiding(rater, table))
    alone, _ = scores_of(rater, InputReader(rater), hiding(rater, table), [[row] for row in range(6)])
    plain, _ = scores_of(rater, InputReader(rater), RecordingDataset(table, rater.preprocessing))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert not torch.allclose(together, plain, atol=1e-4)


@pytest.mark.parametrize("family", ["wavlm", "whisper"])
@pytest.mark.parametrize("known", AT_MOST_0)
def test_frames_of_depth_0_from_the_store_are_hidden_as_those_without_it(known, family, table, tmp_path):
    if (known, family) == ("features", "whisper"):
        pytest.skip("the stem of whisper is one whole")
    rater = make_adapted(AT_MOST_0[known], family)
    reader = InputReader(rater, ActivationStore(tmp_path, dtype="float32"))
    # kept with nothing hidden
    scores_of(rater, reader, RecordingDataset(table, rater.preprocessing))
    for epoch in (1, 2):
        dataset = hiding(rater, table, epoch)
        expected, _ = scores_of(rater, InputReader(rater), dataset)
        found, read = scores_of(rater, reader, dataset)
        assert all(isinstance(each.inputs, KnownFrames) for each in read)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert reader.computed == 6


@pytest.mark.parametrize("known", ABOVE_0)
def test_what_is_known_above_depth_0_is_not_used_where_frames_are_hidden(known, table, tmp_path):
    rater = make_adapted(ABOVE_0[known])
    reader = InputReader(rater, ActivationStore(tmp_path, dtype="float32"))
    plain = RecordingDataset(table, rater.preprocessing)
    as_they_are, _ = scores_of(rater, reader, plain)
    expected, _ = scores_of(rater, InputReader(rater), hiding(rater, table))
    found, read = scores_of(rater, reader, hiding(rater, table))
    assert all(isinstance(each.inputs, Windows) for each in read)
    assert torch.equal(found, expected)
    assert torch.equal(scores_of(rater, reader, plain)[0], as_they_are)
    assert reader.computed == 6


def test_with_views_of_the_waveform_frames_are_hidden_anew_in_every_epoch(table, tmp_path):
    rater = make_adapted(AT_MOST_0["lora"])
    views = replace(HIDING, steps=(Step("polarity"),), views=1)
    reader = InputReader(rater, ActivationStore(tmp_path, dtype="float32"))
    first, second = (scores_of(rater, reader, hiding(rater, table, epoch, views))[0] for epoch in (1, 2))
    assert reader.computed == 6
    assert not torch.allclose(first, second, atol=1e-4)


def test_a_long_recording_in_pieces_is_hidden_as_in_one(table):
    rater = make_adapted(adapt_full)
    dataset = hiding(rater, table)
    whole, _ = scores_of(rater, InputReader(rater), dataset, [[3]])
    rater.windows_at_once = 1
    pieces, _ = scores_of(rater, InputReader(rater), dataset, [[3]])
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=0)


def test_a_stopped_training_goes_on_with_what_would_have_been_hidden(table, tmp_path):
    def trained(name, augmentation=HIDING, **options):
        rater = make_adapted(AT_MOST_0["lora"], layers="last")
        reader = InputReader(rater, ActivationStore(tmp_path / "cache"))
        sets = (hiding(rater, table, augmentation=augmentation), RecordingDataset(table, rater.preprocessing))
        return fit(rater, *sets, TRAINING, seed=3, reader=reader, checkpoints=tmp_path / name, **options)

    whole = trained("whole")
    with pytest.raises(Stopped):
        trained("stopped", progress=SignalAt(step=4))
    resumed = trained("stopped", resume=True)
    assert all(torch.equal(resumed.last[name], value) for name, value in whole.last.items())
    assert trained("plain", augmentation=None).history[0]["train_loss"] != whole.history[0]["train_loss"]


def test_nothing_is_hidden_without_the_setting_and_in_validation(table):
    rater = make_adapted(adapt_full)
    plain = RecordingDataset(table, rater.preprocessing)
    assert draw_masks(plain, [0], torch.tensor([9]), torch.tensor([0]), rater.encoder) is None
    assert all(each.inputs.masks is None for each in scores_of(rater, InputReader(rater), plain)[1])
    hidden = []
    rater.encoder.register_forward_hook(lambda module, given, _: hidden.append((rater.training, given[3] is not None)))
    fit(rater, hiding(rater, table), plain, TRAINING, seed=0)
    assert set(hidden) == {(True, True), (False, False)}


@pytest.mark.parametrize("family", ["audio-spectrogram-transformer", "whisper"])
def test_the_settings_reach_the_training_part_and_patches_are_refused(family, tmp_path):
    corpus = write_toy_corpus(tmp_path / "corpus", speakers=4)
    settings = quick_settings(corpus, tmp_path, "augment={spec_augment: {masks_per_second: 1, feature_share: 0.2}}")
    encoder = make_encoder(family)
    if family == "whisper":
        expected = SpecAugment(1.0, (0.0, 0.2), (0.2, 0.2))
        assert build_augmentation(settings, encoder) == Augmentation(
            (), settings.seed, min_samples=encoder.min_samples, spec_augment=expected
        )
        return
    with pytest.raises(ConfigError) as caught:
        build_augmentation(settings, encoder)
    assert str(caught.value) == (
        "augment.spec_augment hides frames from an encoder's blocks, but what random:audio-spectrogram-transformer "
        "computes is patches. Take it out; time_mask silences the waveform instead."
    )
