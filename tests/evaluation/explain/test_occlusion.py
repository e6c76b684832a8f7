"""What parts of a recording add to its scores, where the answer is known: on speech made by number.

A small rater learns from such speech how breathy it is and whether there are pauses in it.
"""

import numpy as np
import pytest
import torch

from lalia.data.audio import Preprocessing
from lalia.data.synth import STYLES
from lalia.data.voice import RATE_HZ, TRAITS, Voice, speak
from lalia.evaluation.explain.edited import compare_edits
from lalia.evaluation.explain.edits import find_pauses
from lalia.evaluation.explain.occlusion import band_edges, occlude_bands, occlude_time, score_waveforms
from lalia.model.encoders.load import load_encoder
from lalia.model.heads import build_head
from lalia.model.losses import RatingLoss
from lalia.model.pooling import build_pooling
from lalia.model.rater import SpeechRater
from lalia.scale import Scale
from toy_rater import make_rater, make_waveform

BREATHY, SILENCES = "breathy", "inappropriate_silences_or_prolonged_intervals"
CONFIG = {"max_source_positions": 200, "num_mel_bins": 40, "init_std": 0.1}


def say_some(count, seed):
    """Return recordings, and how severe both traits are in each: 0 or 2.5 above the first level."""
    rng = np.random.default_rng(seed)
    waveforms, ratings = [], []
    for number in range(count):
        breathy, silences = 2.5 * (number % 2), 2.5 * (number // 2 % 2)
        voice = Voice(rng.choice([118, 200]) + rng.normal(0, 10), rng.uniform(1, 1.15), rng.uniform(0.17, 0.21))
        severity = dict.fromkeys(TRAITS, 0.0) | {BREATHY: breathy, SILENCES: silences}
        speech = speak(voice, severity, STYLES["sentence_repetition"], rng)
        waveforms.append((0.03 * speech + 0.0003 * rng.normal(size=len(speech))).astype(np.float32))
        ratings.append((1 + breathy, 1 + silences))
    return waveforms, np.array(ratings, dtype=np.float32)


@pytest.fixture(scope="module")
def learned():
    """A rater whose head has learned both traits from 48 recordings; the encoder is as it began."""
    encoder = load_encoder({"random": "whisper", "layers": 1, "width": 32, "heads": 2, "config": CONFIG})
    scale = Scale((1, 2, 3, 4), present_from=2)
    torch.manual_seed(0)
    rater = SpeechRater(
        encoder,
        layers=0,
        pooling=build_pooling("statistics", width=32),
        head=build_head("regression", width=64, n_traits=2, scale=scale, hidden=(), dropout=0.0),
        traits=(BREATHY, SILENCES),
        scale=scale,
        preprocessing=Preprocessing(RATE_HZ, trim_db=None, window_seconds=4.0, hop_seconds=4.0),
    )
    waveforms, ratings = say_some(48, seed=0)
    known = torch.from_numpy(ratings)
    with torch.no_grad():
        embeddings = torch.cat([rater._embed_one(torch.from_numpy(each)) for each in waveforms])
    rater.head.start_from_ratings(known)
    optimizer = torch.optim.Adam(rater.head.parameters(), lr=0.01)
    for _ in range(400):
        loss = RatingLoss()(rater.head, rater.head(embeddings), known).losses.mean()
        loss = loss + 1e-3 * sum(each.square().sum() for each in rater.head.parameters())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return rater.eval()


@pytest.fixture(scope="module")
def others():
    """Recordings that the rater has not heard."""
    return say_some(12, seed=1)


def test_the_rater_has_learned_both_traits(learned, others):
    scores = score_waveforms(learned, others[0])
    for place in range(2):
        assert np.corrcoef(scores[:, place], others[1][:, place])[0, 1] > 0.7


def test_edits_move_the_trait_that_they_belong_to(learned, others):
    waveforms, _ = others
    rows = {(row["edit"], row["trait"]): row for row in compare_edits(learned, waveforms, [*"abcdefghijkl"], seed=0)}
    # removing the pauses lowers the trait of pauses, breath drives the one of breath
    assert rows["pauses cut to 0.12 s", SILENCES]["high"] < -1.0
    assert rows["pauses cut to 0.12 s", SILENCES]["change"] < 2 * rows["pauses cut to 0.12 s", BREATHY]["change"]
    assert rows["a pause of 0.6 s put in", SILENCES]["low"] > 0.5
    assert rows["breath added above 1.5 kHz", BREATHY]["low"] > 1.0
    assert rows["silent above 3 kHz", BREATHY]["high"] < -0.3
    assert abs(rows["breath added above 1.5 kHz", SILENCES]["change"]) < 0.6
    # half of the recordings have pauses; to the others that edit does nothing
    assert rows["pauses cut to 0.12 s", SILENCES]["recordings"] == 6
    assert rows["10 dB softer", SILENCES]["recordings"] == 12
    assert all(row["low"] <= row["change"] <= row["high"] for row in rows.values())


def test_an_edit_that_changes_nothing_has_no_mean_and_a_single_speaker_no_interval(learned, others):
    waveforms = [each for each in others[0] if not find_pauses(each, RATE_HZ)]
    rows = list(compare_edits(learned, waveforms, ["a"] * len(waveforms), 0))
    cut = [row for row in rows if "cut" in row["edit"]]
    assert [(row["recordings"], row["change"], row["low"], row["high"]) for row in cut] == [(0, None, None, None)] * 2
    assert all(row["change"] is not None and row["low"] is None for row in rows if "cut" not in row["edit"])


def test_silencing_speech_makes_pauses_and_silencing_a_pause_does_nothing(learned, others):
    speaking, paused = [], []
    for waveform, rating in zip(*others, strict=True):
        found = occlude_time(learned, waveform)
        assert found.bounds[0] == 0
        assert found.bounds[-1] == len(waveform) / RATE_HZ
        middles = (found.bounds[:-1] + found.bounds[1:]) / 2 * RATE_HZ
        pauses = find_pauses(waveform, RATE_HZ)
        within = np.array([any(start < middle < end for start, end in pauses) for middle in middles])
        paused += list(found.change[within, 1])
        speaking += list(found.change[1:-1][~within[1:-1], 1]) if rating[1] < 2 else []
    # without a stretch of speech the trait is higher, so the stretch added less than nothing
    assert np.mean(speaking) < -0.3
    assert abs(np.mean(paused)) < 0.4 * abs(np.mean(speaking))


def test_high_bands_make_breath(learned, others):
    edges = band_edges(RATE_HZ)
    changes = np.mean([occlude_bands(learned, each).change for each in others[0]], axis=0)
    assert changes.shape == (len(edges) - 1, 2)
    assert changes[edges[:-1] > 1_500, 0].sum() > 0.5


@pytest.mark.parametrize("seconds", [0.1, 0.6, 9.0])
def test_the_number_of_scores_is_bounded_and_short_recordings_are_taken(seconds):
    rater = make_rater().eval()
    found = occlude_time(rater, make_waveform(seconds))
    assert found.change.shape == (min(16, max(1, int(seconds / 0.25))), 2)
    assert np.isfinite(found.change).all()
    assert occlude_bands(rater, make_waveform(seconds)).change.shape == (10, 2)


def test_batches_of_waveforms_get_the_scores_that_each_has_alone(monkeypatch):
    rater = make_rater(window_seconds=0.5).eval()
    waveforms = [make_waveform(seconds, number) for number, seconds in enumerate((0.4, 1.3, 0.5, 0.7))]
    alone = score_waveforms(rater, waveforms)
    monkeypatch.setattr("lalia.evaluation.explain.occlusion._takes_one_by_one", lambda rater: False)
    monkeypatch.setattr("lalia.evaluation.explain.occlusion._BATCH_SECONDS", 2.7)
    np.testing.assert_allclose(score_waveforms(rater, waveforms), alone, atol=1e-5)
