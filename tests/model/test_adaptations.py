"""Adaptations on families of encoders: exactly what is declared trains, and it comes back from disk."""

import pytest

from adaptation_check import ADAPTATIONS, MERGEABLE, SILENT, check_adaptation
from covering import cover
from lalia.errors import EncoderError
from toy_encoders import FAMILIES, make_encoder

# attention sees only differences between keys: what is added to all of them has no gradient but rounding
KEY_BIASES = ("k_proj.bias", "linear_k.bias", "key.bias", "key_proj.bias")


def is_refused(family, name):
    encoder = make_encoder(family)
    adds = name not in ("frozen", "partial", "full", "full without the stem")
    return ("soft_prompt" in name and not encoder.takes_prompt) or (
        not encoder.n_blocks and (adds or name == "partial")
    )


# of WavLM's own attention and of Whisper's silence most went wrong elsewhere
SELECTED = cover(FAMILIES, ADAPTATIONS, one_in=5, also=[("wavlm", "lora"), ("whisper", "lora")])
CASES = [pytest.param(case.values, marks=case.marks, id=case.id) for case in SELECTED]


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    family, name = request.param
    if is_refused(family, name):
        with pytest.raises(EncoderError):
            ADAPTATIONS[name](make_encoder(family))
        pytest.skip("refused, with a message")
    return name, check_adaptation(family, name, tmp_path_factory.mktemp("case"))


def test_exactly_the_declared_parameters_train(case):
    _, outcome = case
    assert outcome.trainable == outcome.declared


def test_every_declared_parameter_is_in_the_optimizer_once(case):
    _, outcome = case
    assert sorted(outcome.in_optimizer) == sorted(outcome.declared)


def test_every_declared_parameter_gets_a_gradient_and_moves(case):
    _, outcome = case
    assert all(name.endswith(KEY_BIASES) for name in outcome.declared - outcome.with_gradient)
    assert all(name.endswith(KEY_BIASES) for name in outcome.declared - outcome.moved)


def test_everything_else_is_bit_identical_after_ten_steps(case):
    _, outcome = case
    assert outcome.moved <= outcome.declared


def test_adapters_change_no_score_before_training(case):
    name, outcome = case
    if name in SILENT:
        # DoRA divides the weights by their length and multiplies them with it
        assert outcome.changed_before_training <= (1e-5 if name == "dora" else 0.0)
    else:
        assert outcome.changed_before_training > 0


def test_a_saved_rater_gives_the_same_scores(case):
    _, outcome = case
    assert outcome.from_whole_folder <= 1e-6


def test_its_changes_alone_give_the_same_scores_on_a_fresh_encoder(case):
    _, outcome = case
    assert outcome.from_changes_alone <= 1e-6


def test_its_changes_alone_hold_no_weight_that_did_not_change(case):
    _, outcome = case
    added = {name for name in outcome.saved_changes if name.endswith(".ranknum.default")}
    buffers = {name for name, _ in outcome.rater.named_buffers()}
    assert outcome.saved_changes - added - buffers == outcome.declared


def test_merged_adapters_give_the_same_scores(case):
    name, outcome = case
    if name in MERGEABLE:
        assert outcome.after_merging <= 1e-5
