"""What trials are called."""

from lalia.sweep.names import Names


def say(*varied):
    names = Names(varied)
    return [names.say(each) for each in varied]


def test_a_group_of_settings_is_called_by_its_kind_and_by_what_sets_it_apart():
    small = {"random": "wavlm", "layers": 4}
    trials = [
        {"model.encoder": small, "model.adapt": {"kind": "partial", "last": 1}},
        {"model.encoder": small | {"layers": 2}, "model.adapt": {"kind": "partial", "last": 0.5}},
        {"model.encoder": {"random": "hubert", "layers": 4}, "model.adapt": {"kind": "lora", "rank": 8}},
        {"model.encoder": "microsoft/wavlm-base", "model.adapt": "frozen"},
    ]
    assert say(*trials) == [
        "encoder wavlm (layers 4), adapt partial (last 1)",
        "encoder wavlm (layers 2), adapt partial (last 0.5)",
        "encoder hubert, adapt lora",
        "encoder microsoft/wavlm-base, adapt frozen",
    ]


def test_keys_that_end_alike_are_said_whole_and_a_kind_is_called_by_what_it_is_of():
    trials = [
        {"model.pooling.kind": "mean", "model.head.dropout": value, "augment.dropout": None} for value in (0, 0.1)
    ]
    assert say(*trials) == [
        "pooling mean, model.head.dropout 0, augment.dropout null",
        "pooling mean, model.head.dropout 0.1, augment.dropout null",
    ]


def test_no_two_different_trials_are_called_the_same():
    values = ["lora", {"kind": "lora"}, {"kind": "lora", "rank": 2}, {"kind": "lora", "targets": ["q", "k"]}]
    values += [
        [1, 2],
        [1],
        1,
        "1",
        None,
        {"layers": 2},
        {"layers": 3},
        {"a": {"kind": "b", "c": 1}},
        {"a": {"kind": "b"}},
    ]
    assert len(set(say(*({"model.adapt": value} for value in values)))) == len(values)


def test_a_word_of_one_key_alone_needs_no_key():
    trials = [
        {"model.encoder": "wavlm", "model.pooling.kind": "mean", "train.loss.level_weights": "none", "seed": 1},
        {"model.encoder": "hubert", "model.pooling.kind": "last", "model.layers": "last", "seed": 2},
    ]
    names = Names(trials)
    assert [names.say_briefly(each) for each in trials] == [
        "wavlm, mean, level_weights none, seed 1",
        "hubert, pooling last, layers last, seed 2",
    ]


def test_a_trial_that_changes_nothing_is_the_base_run():
    assert say({}) == ["the base run"]
