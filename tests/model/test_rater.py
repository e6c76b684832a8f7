import numpy as np
import pytest
import torch

from covering import cover
from lalia.data.audio import Preprocessing
from lalia.errors import AudioError, ModelError
from lalia.model.adapt import adapt_partial
from lalia.model.heads import build_head
from lalia.model.inputs import KnownFrames, Windows
from lalia.model.losses import rating_loss
from lalia.model.pooling import build_pooling
from lalia.model.rater import SpeechRater
from toy_rater import SCALE, SHARINGS, TRAITS, TRANSFORMER, make_batch, make_encoder, make_rater, make_waveform

POOLINGS = ["mean", "max", "statistics", "attention", {"kind": "attention", "heads": 3}, "attentive_statistics"]
LAYERS = ["last", "weighted", 1, [0, -1]]
HEADS = [("binary", "cumulative"), ("ordinal", "cumulative"), ("ordinal", "corn"), ("regression", "cumulative")]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("transformer", [None, TRANSFORMER])
def test_score_does_not_depend_on_batch_neighbours_or_windows_beside_it(pooling, layers, transformer):
    rater = make_rater(pooling=pooling, layers=layers, transformer=transformer, shared=False).eval()
    # two, one and three windows of at most 1.5 s
    waveforms = [make_waveform(2.7, seed=1), make_waveform(0.4, seed=2), make_waveform(3.2, seed=3)]
    with torch.no_grad():
        together = rater(make_batch(waveforms, rater.preprocessing))
        for raw, waveform in zip(together, waveforms, strict=True):
            alone = rater(make_batch([waveform], rater.preprocessing))
            torch.testing.assert_close(raw, alone[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("transformer", [None, TRANSFORMER])
def test_whisper_scores_do_not_depend_on_batch_neighbours(transformer):
    encoder = make_encoder("whisper", max_source_positions=100)
    rater = make_rater(encoder=encoder, layers="weighted", pooling="max", transformer=transformer).eval()
    waveforms = [make_waveform(2.7, seed=1), make_waveform(0.4, seed=2)]
    with torch.no_grad():
        together = rater(make_batch(waveforms, rater.preprocessing))
        alone = rater(make_batch(waveforms[1:], rater.preprocessing))
    torch.testing.assert_close(together[1], alone[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("transformer", [None, TRANSFORMER])
def test_score_is_the_decoded_forward_of_the_same_windows(pooling, transformer):
    rater = make_rater(pooling=pooling, layers="weighted", transformer=transformer).eval()
    waveforms = [make_waveform(2.7, seed=1), make_waveform(0.4, seed=2)]
    with torch.no_grad():
        expected = rater.decode(rater(make_batch(waveforms, rater.preprocessing)))
    for values, wanted in zip(rater.score(waveforms), expected, strict=True):
        torch.testing.assert_close(values, wanted, atol=1e-5, rtol=0)


def test_scores_are_the_same_to_the_last_bit_whatever_is_scored_along():
    rater = make_rater(pooling="attention", layers="weighted", transformer=TRANSFORMER)
    waveforms = [make_waveform(2.7, seed=1), make_waveform(0.4, seed=2)]
    assert torch.equal(rater.score(waveforms).score[1], rater.score(waveforms[1:]).score[0])


def test_the_windows_of_a_recording_are_pooled_as_one_sequence():
    rater = make_rater(pooling="mean").eval()
    waveforms, n_samples, *_ = make_batch([make_waveform(2.7)], rater.preprocessing)
    with torch.no_grad():
        first, second = rater.embed(Windows(waveforms, n_samples, torch.tensor([0, 1])))
        joined = rater.embed(Windows(waveforms, n_samples, torch.tensor([0, 0])))[0]
    n_first, n_second = rater.encoder.count_frames(n_samples).tolist()
    torch.testing.assert_close(joined, (n_first * first + n_second * second) / (n_first + n_second))


def test_score_leaves_training_mode_and_gradients_as_they_were():
    rater = make_rater().train()
    scores = rater.score([make_waveform(0.5)])
    assert rater.training
    assert rater.head.training
    assert not scores.score.requires_grad
    assert torch.equal(rater.score([make_waveform(0.5)]).score, scores.score)  # no dropout


def test_no_waveforms_give_no_scores():
    assert make_rater().score([]).probability.shape == (0, 2)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (
            np.zeros((2, 16_000), dtype=np.float32),
            r"Waveform 1 must be one row .* got torch.float32 of shape \(2, 16000",
        ),
        (np.zeros(16_000, dtype=np.int16), "Waveform 1 must be one row of finite floats .* got torch.int16"),
        (np.full(16_000, np.nan), "Waveform 1 must be one row of finite floats"),
        (np.zeros(399), r"Waveform 1 has 399 samples, the encoder needs 400 \(0.025 s\)"),
    ],
)
def test_waveforms_that_cannot_be_scored_are_named(waveform, message):
    with pytest.raises(AudioError, match=message):
        make_rater().score([make_waveform(0.5), waveform])


def test_the_layer_mix_is_over_all_depths():
    assert make_rater(layers="weighted").layer_mix.weights.shape == (3,)


def test_concatenated_depths_are_pooled_side_by_side():
    batch = make_batch([make_waveform(0.4), make_waveform(2.7, seed=1)], make_rater().preprocessing)
    lowest, highest = (make_rater(layers=depth).eval().embed(batch) for depth in (0, 2))
    torch.testing.assert_close(
        make_rater(layers=[0, -1]).eval().embed(batch), torch.cat([lowest, highest], dim=1), atol=1e-6, rtol=0
    )


def test_thresholds_are_a_half_where_none_is_given_and_can_be_set():
    rater = make_rater(thresholds={"slow_rate": 0.3})
    assert rater.thresholds == {"breathy": 0.5, "slow_rate": 0.3}
    rater.thresholds["breathy"] = 0.7
    assert rater.thresholds["breathy"] == 0.7


def test_window_longer_than_the_encoder_takes_is_refused():
    encoder = make_encoder("whisper", max_source_positions=50)  # one second
    with pytest.raises(ModelError, match=r"A window of 1.5 s is longer than the 1 s .*Set audio.window_seconds to 1 "):
        make_rater(encoder=encoder, window_seconds=1.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 3}, r"Unknown layers 3. Choose last, weighted, a depth from 0 to 2 \(or -1 for the last one\)"),
        ({"layers": "last-4"}, r"Unknown layers 'last-4'.* last-n for the last n of these 3, such as last-2"),
        ({"layers": [2, -1]}, r"Layers \[2, -1\] name a depth twice; depth -1 is 2"),
        ({"layers": "first"}, "Unknown layers 'first'"),
        ({"rate_hz": 8_000}, "The encoder takes 16000 Hz, the preprocessing gives 8000 Hz"),
        ({"traits": ("breathy",)}, r"The head rates 2 traits, the names are \['breathy'\]"),
        ({"traits": ("breathy", "breathy")}, "The head rates 2 traits"),
        ({"thresholds": {"slow_rat": 0.2}}, "for 'slow_rat', which is no trait. Did you mean 'slow_rate'?"),
        ({"thresholds": {"slow_rate": 2.0}}, "The threshold of 'slow_rate' must be a probability, got 2.0"),
    ],
)
def test_parts_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ModelError, match=message):
        make_rater(**settings)


def make_unchecked_rater(*, layers, pooling_width, head_width):
    return SpeechRater(
        make_encoder(),
        layers=layers,
        pooling=build_pooling("statistics", width=pooling_width),
        head=build_head("binary", width=head_width, n_traits=2, scale=SCALE),
        traits=TRAITS,
        scale=SCALE,
        preprocessing=Preprocessing(16_000, None, 1.0, 1.0),
    )


def test_a_head_of_another_width_is_refused():
    with pytest.raises(ModelError, match="The head takes width 20, the pooling gives 32"):
        make_unchecked_rater(layers="last", pooling_width=16, head_width=20)


def test_a_pooling_of_another_width_is_refused():
    with pytest.raises(ModelError, match=r"pooling takes frames of width 16, the layers \(1, 2\) .* give 32"):
        make_unchecked_rater(layers=[1, 2], pooling_width=16, head_width=32)


def test_a_transformer_for_frames_of_another_width_is_refused():
    head = build_head("binary", width=16, frame_width=8, n_traits=2, scale=SCALE, transformer=TRANSFORMER)
    with pytest.raises(ModelError, match="The head's transformer takes frames of width 8, the pooling 16"):
        SpeechRater(
            make_encoder(),
            layers="last",
            pooling=build_pooling("mean", width=16),
            head=head,
            traits=TRAITS,
            scale=SCALE,
            preprocessing=Preprocessing(16_000, None, 1.0, 1.0),
        )


@pytest.mark.parametrize("sharing", SHARINGS)
def test_all_that_stands_on_the_encoder_is_found_by_its_prefix(sharing):
    rater = make_rater(layers="weighted", pooling="attentive_statistics", transformer=TRANSFORMER, **sharing)
    assert {name.split(".")[0] for name in rater.state_dict()} == {"encoder", "layer_mix", "pooling", "head"}
    depths = make_rater(layers=[0, 1], transformer=TRANSFORMER, **sharing).state_dict()
    assert {name.split(".")[0] for name in depths} == {"encoder", "head"}


ATTENTIONS = [("attention", 1), ({"kind": "attention", "heads": 3}, 3), ("attentive_statistics", 1)]


@pytest.mark.parametrize(("pooling", "heads"), ATTENTIONS)
@pytest.mark.parametrize("transformer", [None, TRANSFORMER])
@pytest.mark.parametrize("family", ["wavlm", "whisper"])
def test_attention_of_a_recording_has_a_weight_per_real_frame_trait_and_head(pooling, heads, transformer, family):
    encoder = make_encoder(family, **({"max_source_positions": 100} if family == "whisper" else {}))
    rater = make_rater(encoder=encoder, pooling=pooling, transformer=transformer, shared=False)
    waveform = make_waveform(2.7)  # windows of 1.5 and 1.2 s
    weights, seconds = rater.attention(waveform)
    n_frames = int(encoder.count_frames(torch.tensor([24_000, 19_200])).sum())
    assert weights.shape == (2, heads, n_frames)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, heads))
    assert seconds.shape == (n_frames,)
    assert 0 <= seconds[0] < 0.02
    assert 2.66 < seconds[-1] < 2.7
    # between two windows, what is left behind the last whole frame
    assert ((seconds.diff() > 0.015) & (seconds.diff() < 0.045)).all()


@pytest.mark.parametrize("transformer", [None, TRANSFORMER])
def test_attention_is_what_the_embedding_is_made_with(transformer):
    rater = make_rater(pooling="attention", transformer=transformer, shared=False).eval()
    batch = make_batch([make_waveform(2.7)], rater.preprocessing)
    with torch.no_grad():
        values, is_real = rater.encoder(*batch[:2], ["last"])["last"]
        frames = values[is_real][None]
        of_stacks = rater.head.layers.transform(frames, torch.ones(frames.shape[:2], dtype=torch.bool))
        embeddings = rater.embed(batch).reshape(len(of_stacks), 16)
    weights = rater.attention(make_waveform(2.7)).weights[:, 0]
    for embedding, frames_of_stack, weight in zip(embeddings, of_stacks, weights, strict=transformer is not None):
        torch.testing.assert_close(embedding, weight @ frames_of_stack[0], atol=1e-5, rtol=0)


def test_attention_differs_between_traits_only_where_each_has_a_transformer():
    def first_equals_second(**settings):
        first, second = make_rater(pooling="attention", **settings).attention(make_waveform(0.5)).weights
        return torch.equal(first, second)

    assert first_equals_second(shared=False)
    assert first_equals_second(transformer=TRANSFORMER)
    assert not first_equals_second(transformer=TRANSFORMER, shared=False)
    assert not first_equals_second(transformer=TRANSFORMER, groups={"b": [0], "a": [1]})


def test_attention_leaves_training_mode_and_gradients_as_they_were():
    rater = make_rater(pooling="attention", transformer=TRANSFORMER).train()
    weights = rater.attention(make_waveform(0.5)).weights
    assert rater.head.training
    assert not weights.requires_grad
    assert torch.equal(rater.attention(make_waveform(0.5)).weights, weights)  # no dropout


@pytest.mark.parametrize("pooling", ["mean", "max", "statistics"])
def test_attention_of_a_pooling_that_learns_none_is_refused(pooling):
    with pytest.raises(
        ModelError, match=f"Pooling of kind {pooling} learns no weights.* Only attention and attentive_st"
    ):
        make_rater(pooling=pooling).attention(make_waveform(0.5))


def learn(kind, method, **settings):
    """Train on eight toy recordings and return the losses and the weights."""
    rater = make_rater(kind=kind, method=method, **{"layers": "weighted", "pooling": "attention"} | settings).train()
    waveforms = [make_waveform(0.2 + 0.02 * seed, seed) for seed in range(8)]
    ratings = torch.tensor([[1.0, 4.0], [2.0, 1.0], [3.0, torch.nan], [4.0, 2.0]] * 2)
    rater.head.start_from_ratings(ratings)
    optimizer = torch.optim.Adam([p for p in rater.parameters() if p.requires_grad], lr=0.02)
    batch = make_batch(waveforms, rater.preprocessing)
    torch.manual_seed(5)  # dropout
    losses = []
    for _ in range(20):
        each, has_rating = rating_loss(rater.head, rater(batch), ratings)
        loss = each.sum() / has_rating.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, rater.state_dict()


@pytest.mark.parametrize(("kind", "method"), HEADS)
def test_the_loss_falls_on_eight_recordings_twice_identically(kind, method):
    losses, weights = learn(kind, method)
    again, weights_again = learn(kind, method)
    assert losses[-1] < 0.9 * losses[0]
    assert losses == again
    assert all(torch.equal(weight, weights_again[name]) for name, weight in weights.items())


POOLINGS_TO_LEARN = ["statistics", {"kind": "attention", "heads": 3}, "attentive_statistics"]


@pytest.mark.parametrize(
    ("kind", "method", "pooling", "sharing"),
    cover([HEADS[1][0]], [HEADS[1][1]], POOLINGS_TO_LEARN, SHARINGS, one_in=3)
    + [(*head, "attentive_statistics", SHARINGS[2]) for head in HEADS if head != HEADS[1]],
)
def test_a_head_with_transformers_on_two_depths_learns_twice_identically(kind, method, pooling, sharing):
    settings = {"layers": "last-2", "pooling": pooling, "transformer": TRANSFORMER, **sharing}
    losses, weights = learn(kind, method, **settings)
    again, weights_again = learn(kind, method, **settings)
    assert losses[-1] < 0.9 * losses[0]
    assert losses == again
    assert all(torch.equal(weight, weights_again[name]) for name, weight in weights.items())


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("transformer", [None, TRANSFORMER])
@pytest.mark.parametrize("sharing", SHARINGS)
def test_everything_above_a_frozen_encoder_gets_a_gradient(pooling, transformer, sharing):
    rater = make_rater(layers="weighted", pooling=pooling, transformer=transformer, **sharing).train()
    rater(make_batch([make_waveform(0.3), make_waveform(1.8)], rater.preprocessing)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in rater.parameters() if p.requires_grad)
    assert all(p.grad is None for p in rater.encoder.parameters())


@pytest.mark.parametrize("is_known", [False, True])
def test_the_windows_of_a_long_recording_can_be_encoded_a_few_at_a_time(is_known):
    rater = make_rater(layers="weighted", pooling="attention", window_seconds=0.5)
    adapt_partial(rater.encoder, last=1)
    inputs = make_batch([make_waveform(2.3)], rater.preprocessing)
    if is_known:
        with torch.no_grad():
            inputs = KnownFrames(rater.encoder(inputs.waveforms, inputs.n_samples, [0, 1]), inputs.recording_of_window)
    block = rater.encoder.blocks[1]
    sizes = []
    block.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    found = []
    for at_once in (None, 2):
        rater.windows_at_once = at_once
        rater.zero_grad()
        rater.train()
        # dropout draws per element, so its masks differ between pieces and the whole: none here
        for module in rater.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        block.attention.dropout = 0.0
        raw = rater(inputs)
        raw.square().sum().backward()
        found.append([raw.detach(), *(each.grad for each in rater.parameters() if each.requires_grad)])
    assert sizes == [5, 2, 2, 1, 1, 2, 2]  # the last three again, for the backward pass
    for whole, pieces in zip(*found, strict=True):
        torch.testing.assert_close(pieces, whole, atol=1e-4, rtol=1e-3)


def test_a_batch_of_several_recordings_is_encoded_as_a_whole():
    rater = make_rater(window_seconds=0.5).eval()
    inputs = make_batch([make_waveform(1.3), make_waveform(0.9, seed=1)], rater.preprocessing)
    expected = rater(inputs)
    rater.windows_at_once = 1
    torch.testing.assert_close(rater(inputs), expected)
