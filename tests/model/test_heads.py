import math

import pytest
import torch

from lalia.errors import ModelError
from lalia.model.heads import build_head
from lalia.model.pooling import build_pooling
from lalia.scale import Scale

SCALE = Scale((1, 2, 3, 4), present_from=2)
NAN = torch.nan
HEADS = [("binary", ""), ("ordinal", "cumulative"), ("ordinal", "coral"), ("ordinal", "corn"), ("regression", "")]
# the first trait is rated 1, 1, 2, 4, the second once, the third never
RATINGS = torch.tensor([[1.0, 3.0, NAN], [1.0, NAN, NAN], [2.0, NAN, NAN], [4.0, NAN, NAN]])


SHARINGS = [{"shared": True}, {"shared": False}, {"groups": {"voice": [0, 2], "rate": [1]}}]
TRANSFORMER = {"layers": 1, "heads": 1, "hidden": 6, "dropout": 0.1}


def make_head(kind="ordinal", method="cumulative", n_traits=3, scale=SCALE, **settings):
    return build_head(kind, method=method, width=5, n_traits=n_traits, scale=scale, **settings)


def raw_of_zero_input(head):
    """What the head says where every input of the outputs is 0: the base rates."""
    for output in head.outputs:
        for name, weight in output.named_parameters():
            if name.endswith("weight"):
                torch.nn.init.zeros_(weight)
    return head(torch.zeros(1, 5))


@pytest.mark.parametrize(("kind", "method"), HEADS)
@pytest.mark.parametrize("hidden", [(), (7,), (7, 6)])
@pytest.mark.parametrize("shared", [True, False])
def test_raw_outputs_and_scores_have_their_shapes(kind, method, hidden, shared):
    head = make_head(kind, method, hidden=hidden, shared=shared, dropout=0.1)
    raw = head(torch.randn(2, 5))
    assert raw.shape == (2, 3, 3 if kind == "ordinal" else 1)
    assert all(values.shape == (2, 3) for values in head.decode(raw))


def test_separate_heads_do_not_start_from_the_same_weights():
    head = make_head(hidden=(7,), shared=False)
    first, second, _ = (stack.state_dict() for stack in head.layers.stacks)
    assert not torch.equal(first["2.weight"], second["2.weight"])
    assert not torch.equal(head.outputs[0].latent.weight, head.outputs[1].latent.weight)


def weights_of(module):
    """All weights that are drawn, in one row: those of linear layers."""
    drawn = [p.flatten() for name, p in module.named_parameters() if name.endswith("weight") and p.ndim > 1]
    return torch.cat(drawn)


@pytest.mark.parametrize("sharing", SHARINGS[1:])
@pytest.mark.parametrize(("kind", "method"), HEADS)
def test_every_stack_transformer_and_output_starts_from_different_weights(kind, method, sharing):
    head = make_head(kind, method, hidden=(7,), transformer=TRANSFORMER, frame_width=4, **sharing)
    for modules in (head.layers.stacks, head.layers.transformers, head.outputs):
        drawn = [weights_of(module) for module in modules]
        assert len(drawn) > 1
        assert len({tuple(weights.tolist()) for weights in drawn}) == len(drawn)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_the_seed_decides_the_initial_weights(sharing):
    def draw(seed):
        torch.manual_seed(seed)
        return weights_of(make_head(hidden=(7,), transformer=TRANSFORMER, frame_width=4, **sharing))

    assert torch.equal(draw(3), draw(3))
    assert not torch.isclose(draw(3), draw(4)).any()


@pytest.mark.parametrize("transformer", [None, TRANSFORMER])
@pytest.mark.parametrize(
    ("sharing", "of_first", "of_second"),
    [
        (SHARINGS[0], [True], [True]),
        (SHARINGS[1], [True, False, False], [False, True, False]),
        (SHARINGS[2], [True, False], [False, True]),
    ],
)
def test_a_trait_trains_the_stack_of_those_that_it_shares_with_and_no_other(transformer, sharing, of_first, of_second):
    def stacks_that_feel(trait):
        head = make_head(hidden=(7,), layer_norm=False, transformer=transformer, **sharing)
        pooled = head.layers.pool(build_pooling("max", width=5), torch.randn(2, 3, 5), torch.ones(2, 3) > 0)
        head(pooled)[:, trait].sum().backward()
        parts = list(zip(head.layers.stacks, head.layers.transformers or head.layers.stacks, strict=True))
        feel = [[any(p.grad.any() for p in part.parameters() if p.grad is not None) for part in pair] for pair in parts]
        assert all(stack == transformer for stack, transformer in feel)
        return [stack for stack, _ in feel]

    assert stacks_that_feel(trait=0) == of_first
    assert stacks_that_feel(trait=1) == of_second


def test_the_traits_of_a_group_see_the_same_features():
    head = make_head(hidden=(7,), groups={"voice": [0, 2], "rate": [1]})
    first, second, third = head.layers(torch.randn(2, 5))
    assert torch.equal(first, third)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize(("sharing", "n_stacks"), list(zip(SHARINGS, [1, 3, 2], strict=True)))
def test_with_transformers_there_is_an_embedding_per_stack(sharing, n_stacks):
    head = make_head(transformer=TRANSFORMER, frame_width=4, **sharing).eval()
    frames, is_real = torch.randn(2, 6, 4), torch.ones(2, 6, dtype=torch.bool)
    pooling = build_pooling("mean", width=4)
    embeddings = head.layers.pool(pooling, frames, is_real)
    assert embeddings.shape == (2, n_stacks, 4)
    for stack, transformer in enumerate(head.layers.transformers):
        assert torch.equal(embeddings[:, stack], pooling(transformer(frames, is_real), is_real))


def test_without_transformers_there_is_one_embedding():
    frames, is_real = torch.randn(2, 6, 5), torch.ones(2, 6, dtype=torch.bool)
    pooling = build_pooling("mean", width=5)
    assert torch.equal(make_head(shared=False).layers.pool(pooling, frames, is_real), pooling(frames, is_real))


def test_cumulative_decoding_by_hand():
    head = make_head(n_traits=1)
    reach = torch.tensor([[[0.9, 0.6, 0.2]]])
    scores = head.decode(torch.logit(reach))
    torch.testing.assert_close(scores.score, torch.tensor([[1 + 0.9 + 0.6 + 0.2]]))
    torch.testing.assert_close(scores.level, torch.tensor([[3.0]]))
    torch.testing.assert_close(scores.probability, torch.tensor([[0.9]]))


def test_corn_decoding_multiplies_the_conditional_probabilities():
    head = make_head(method="corn", n_traits=1)
    scores = head.decode(torch.logit(torch.tensor([[[0.9, 0.6, 0.5]]])))
    torch.testing.assert_close(scores.score, torch.tensor([[1 + 0.9 + 0.54 + 0.27]]))
    torch.testing.assert_close(scores.level, torch.tensor([[3.0]]))


def test_expected_level_and_presence_follow_an_uneven_scale():
    head = make_head(n_traits=1, scale=Scale((0, 10, 100), present_from=100))
    scores = head.decode(torch.logit(torch.tensor([[[0.8, 0.3]]])))
    torch.testing.assert_close(scores.score, torch.tensor([[0.8 * 10 + 0.3 * 90]]))
    torch.testing.assert_close(scores.level, torch.tensor([[10.0]]))
    torch.testing.assert_close(scores.probability, torch.tensor([[0.3]]))


def test_binary_decoding_gives_a_probability_and_no_level():
    scores = make_head("binary", n_traits=1).decode(torch.tensor([[[0.0]]]))
    assert scores.score.item() == scores.probability.item() == 0.5
    assert scores.level.isnan().all()


def test_regression_decoding_takes_the_lower_of_two_equally_near_levels():
    scores = make_head("regression", n_traits=4).decode(torch.tensor([[[2.5], [2.51], [-3.0], [9.0]]]))
    assert scores.level.tolist() == [[2.0, 3.0, 1.0, 4.0]]
    torch.testing.assert_close(scores.score, torch.tensor([[2.5, 2.51, -3.0, 9.0]]))


def test_regression_probability_is_that_of_a_normal_error_above_the_boundary():
    head = make_head("regression", n_traits=1)
    head.set_residual_sd(torch.tensor([0.5]))
    # the boundary lies at 1.5: one standard deviation below a score of 2
    torch.testing.assert_close(head.decode(torch.tensor([[[2.0]]])).probability, torch.tensor([[0.8413447]]))


@pytest.mark.parametrize(("kind", "method"), HEADS)
def test_the_probability_of_reaching_the_level_of_presence_is_that_of_presence(kind, method):
    head = make_head(kind, method, scale=Scale((1, 2, 3, 4), present_from=3))
    raw = head(torch.randn(2, 5))
    reach = head.reach(raw)
    assert reach.shape == (2, 3, len(head.told_levels))
    place = head.told_levels.index(3)
    torch.testing.assert_close(reach[..., place], head.decode(raw).probability)
    assert head.told_levels == ((3,) if kind == "binary" else (2, 3, 4))


def test_regression_tells_the_probability_of_each_level_by_a_normal_error_around_the_score():
    head = make_head("regression", n_traits=1)
    head.set_residual_sd(torch.tensor([0.5]))
    torch.testing.assert_close(head.reach(torch.tensor([[[2.0]]])), torch.tensor([[[0.8413447, 0.1586553, 0.0013499]]]))


def test_a_long_scale_tells_the_probability_of_presence_alone():
    head = make_head("regression", n_traits=1, scale=Scale(tuple(range(101)), present_from=30))
    assert head.told_levels == (30,)
    assert head.reach(torch.tensor([[[29.5]]])).tolist() == [[[0.5]]]


def test_residual_sd_keeps_what_it_has_for_nan_and_is_never_zero():
    head = make_head("regression")
    head.set_residual_sd(torch.tensor([NAN, 0.0, 0.7]))
    torch.testing.assert_close(head.residual_sd, torch.tensor([1.5, 0.0015, 0.7]))


@pytest.mark.parametrize(("kind", "method"), HEADS)
def test_scores_of_a_diverged_head_are_nan_and_no_level(kind, method):
    head = make_head(kind, method)
    scores = head.decode(torch.full_like(head(torch.zeros(1, 5)), NAN))
    assert all(values.isnan().all() for values in scores)


@pytest.mark.parametrize("method", ["cumulative", "corn"])
def test_reach_probabilities_fall_for_any_input_after_any_step(method):
    head = make_head(method=method)
    optimizer = torch.optim.SGD(head.parameters(), lr=10.0)
    for _ in range(3):
        optimizer.zero_grad()
        # pull the thresholds against their order
        (head(torch.randn(4, 5)) * torch.tensor([1.0, 0.0, -1.0])).sum().backward()
        optimizer.step()
    # equal thresholds may differ in the last digit of the sigmoid
    assert (head.reach_probabilities(head(torch.randn(9, 5))).diff(dim=-1) <= 1e-6).all()


@pytest.mark.parametrize("method", ["cumulative", "corn"])
def test_ordinal_head_starts_where_each_level_is_equally_likely(method):
    head = make_head(method=method)
    reach = head.reach_probabilities(raw_of_zero_input(head))
    torch.testing.assert_close(reach[0, 0], torch.tensor([0.75, 0.5, 0.25]))


@pytest.mark.parametrize("method", ["cumulative", "corn"])
def test_ordinal_head_started_from_ratings_gives_their_smoothed_shares(method):
    head = make_head(method=method)
    head.start_from_ratings(RATINGS)
    reach = head.reach_probabilities(raw_of_zero_input(head))[0]
    # counts 2, 1, 0, 1 and a quarter more of each
    torch.testing.assert_close(reach[0], torch.tensor([2.75 / 5, 1.5 / 5, 1.25 / 5]))
    torch.testing.assert_close(reach[1], torch.tensor([1.75 / 2, 1.5 / 2, 0.25 / 2]))
    torch.testing.assert_close(reach[2], torch.tensor([0.75, 0.5, 0.25]))


def test_binary_head_started_from_ratings_gives_the_smoothed_share_of_presence():
    head = make_head("binary")
    head.start_from_ratings(RATINGS)
    torch.testing.assert_close(
        head.decode(raw_of_zero_input(head)).probability, torch.tensor([[2.75 / 5, 1.75 / 2, 0.75]])
    )


def test_regression_head_started_from_ratings_gives_their_mean():
    head = make_head("regression")
    head.start_from_ratings(RATINGS)
    torch.testing.assert_close(head.decode(raw_of_zero_input(head)).score, torch.tensor([[2.0, 3.0, 2.5]]))


def test_regression_output_scales_with_the_range():
    torch.manual_seed(0)
    small = make_head("regression", scale=Scale((1, 4), present_from=4))
    torch.manual_seed(0)
    large = make_head("regression", scale=Scale((0, 100), present_from=100))
    embedding = torch.randn(6, 5)
    torch.testing.assert_close((small(embedding) - 2.5) / 1.5, (large(embedding) - 50) / 50)


def test_level_index_is_that_of_the_scale():
    values = torch.tensor([[0.0, 1.5, 1.51], [2.5, 3.49, 9.0]])
    assert make_head().scale.level_index(values).tolist() == SCALE.level_index(values.numpy()).tolist()


def test_two_levels_are_enough_for_an_ordinal_head():
    head = make_head(scale=Scale((0, 1), present_from=1), n_traits=1)
    raw = head(torch.randn(2, 5))
    raw.sum().backward()
    assert raw.shape == (2, 1, 1)
    assert math.isfinite(head.outputs[0].first.grad.item())


@pytest.mark.parametrize(("kind", "method"), HEADS)
@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("transformer", [None, TRANSFORMER])
def test_head_is_built_again_from_its_config(kind, method, sharing, transformer):
    settings = {"hidden": (7,), "dropout": 0.2, "layer_norm": False, "activation": "tanh", "transformer": transformer}
    head = make_head(kind, method, frame_width=4, **settings, **sharing).eval()
    again = build_head(**head.config, width=5, frame_width=4, n_traits=3, scale=SCALE).eval()
    again.load_state_dict(head.state_dict())
    embedding = torch.randn(2, len(head.layers.stacks), 5) if transformer else torch.randn(2, 5)
    assert torch.equal(again(embedding), head(embedding))
    assert again.config == head.config


def test_dropout_is_off_in_eval_mode():
    head = make_head(hidden=(7,), dropout=0.9).eval()
    embedding = torch.randn(2, 5)
    assert torch.equal(head(embedding), head(embedding))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "ordnial"}, r"Unknown head 'ordnial'. Did you mean 'ordinal'\? Choose from binary, ordinal"),
        ({"method": "corl"}, r"Unknown ordinal method 'corl'.* Choose from cumulative, coral, corn"),
        ({"activation": "glue"}, r"Unknown activation 'glue'. Did you mean 'gelu'\?"),
        ({"groups": {"voice": [0]}}, "Each of the traits 0 to 2 belongs in exactly one group"),
    ],
)
def test_settings_that_make_no_head_say_what_there_is(settings, message):
    with pytest.raises(ModelError, match=message):
        make_head(**settings)
