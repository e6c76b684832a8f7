"""Settings: what is read, what is refused, and in which words."""

from pathlib import Path

import pytest

from lalia.config import identity_json, load_config, read_limits, save_config
from lalia.errors import ConfigError
from lalia.limits import Limits
from lalia.measures.metrics import METRICS
from lalia.settings import EarlyStopping, FullAdapt, PartialAdapt, RandomEncoder, RandomSplit, TransformerSettings

MINIMAL = "data: {metadata: table.csv}\nmodel: {encoder: 'random:wavlm'}\n"


@pytest.fixture
def run_yaml(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(MINIMAL)
    return path


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_all_problems_are_reported_at_once_with_the_nearest_names(run_yaml):
    write(run_yaml, MINIMAL + "train: {epoch: 5, epochs: 0}\nsplit: {kind: fold}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(run_yaml)
    assert str(caught.value) == (
        "run.yaml has 3 problems: split.kind must be one of 'random', 'column', 'folds', 'file', got 'fold'; "
        "train.epoch is not a setting (did you mean train.epochs?); train.epochs must be at least 1, got 0."
    )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train=fast", "train must be a group of settings, got 'fast'"),
        ("data=3", "data must be a group of settings, got 3"),
        ("name={a: 1}", "name must be text, got {'a': 1}"),
    ],
)
def test_a_value_of_the_wrong_kind_for_a_group_or_a_text_is_named(run_yaml, override, said):
    with pytest.raises(ConfigError) as caught:
        load_config(run_yaml, [override])
    assert str(caught.value) == f"run.yaml has 1 problem: {said}."


def test_a_missing_setting_is_named(run_yaml):
    with pytest.raises(ConfigError, match=r"run.yaml has 1 problem: data.metadata is missing\."):
        load_config(write(run_yaml, "data: {}\nmodel: {encoder: x}\n"))


def test_an_unknown_key_of_a_variant_is_named_with_its_path(run_yaml):
    with pytest.raises(ConfigError, match=r"model.encoder.widht is not a setting \(did you mean model.encoder.width\?"):
        load_config(run_yaml, ["model.encoder={random: wavlm, widht: 3}"])


def test_a_setting_of_several_types_gives_one_problem(run_yaml):
    with pytest.raises(
        ConfigError, match=r"1 problem: audio.normalize must be 'auto' or a valid boolean.*, got 'on air'\.$"
    ):
        load_config(run_yaml, ["audio.normalize=on air"])


@pytest.mark.parametrize("layers", ["last", "weighted", "last-4", 0, 11, -1, [9, 10, -1]])
def test_layers_come_back_as_they_were_given(run_yaml, tmp_path, layers):
    settings = load_config(run_yaml, [f"model.layers={layers}"])
    assert settings.model.layers == (tuple(layers) if isinstance(layers, list) else layers)
    save_config(settings, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == settings


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            "frist",
            "model.layers: expected last, weighted, last-n .such as last-4., a depth or a list of depths, got 'fr",
        ),
        ("last-0", "model.layers: expected last, weighted, last-n"),
        ("[]", r"model.layers: a list of depths names at least one, and each once, got \[\]"),
        ("[3, 3]", r"model.layers: a list of depths names at least one, and each once, got \[3, 3\]"),
        ("[a]", "model.layers.0 must be a valid integer, got 'a'"),
    ],
)
def test_layers_that_name_no_depth_are_refused(run_yaml, layers, message):
    with pytest.raises(ConfigError, match=message):
        load_config(run_yaml, [f"model.layers={layers}"])


GROUPS = "model.head={groups: {voice: [hoarse, breathy], rate: [slow]}}"


def test_groups_come_back_as_they_were_given(run_yaml, tmp_path):
    settings = load_config(run_yaml, [GROUPS, "data.traits=[slow, breathy, hoarse]"])
    assert settings.model.head.groups == {"voice": ("hoarse", "breathy"), "rate": ("slow",)}
    save_config(settings, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == settings


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([GROUPS, "model.head.shared=false"], "model.head: groups share hidden layers and shared: false shares none"),
        (["model.head.groups={voice: [hoarse], rate: []}"], r"model.head: the groups \['rate'\] name no trait"),
        (
            ["model.head.groups={voice: [hoarse, slow], rate: [slow]}"],
            r"model.head.groups must name each trait once: 'slow' stands 2 times\.$",
        ),
        (
            [GROUPS, "data.traits=[slow, breathy, horse, harsh]"],
            "1 problem: model.head.groups must name each trait once: 'hoarse' is no trait .did you mean 'horse'..,"
            r" 'horse' is in no group, 'harsh' is in no group\.$",
        ),
    ],
)
def test_groups_that_do_not_name_each_trait_once_are_refused(run_yaml, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(run_yaml, overrides)


def test_a_transformer_is_none_unless_asked_for(run_yaml):
    assert load_config(run_yaml).model.head.transformer is None
    assert load_config(run_yaml, ["model.head.transformer={}"]).model.head.transformer == TransformerSettings()
    assert load_config(run_yaml, ["model.head.transformer.layers=2"]).model.head.transformer.layers == 2
    with pytest.raises(
        ConfigError, match="model.head.transformer.layres is not a setting .did you mean model.head.tran"
    ):
        load_config(run_yaml, ["model.head.transformer.layres=2"])


def test_proportions_are_compared_with_a_tolerance(run_yaml):
    split = load_config(run_yaml, ["split={train: 0.7, validation: 0.2, test: 0.1}"]).split
    assert split == RandomSplit(train=0.7, validation=0.2, test=0.1)


def test_proportions_that_do_not_add_up_are_refused(run_yaml):
    with pytest.raises(ConfigError, match="split: train, validation and test must add up to 1, got 0.9"):
        load_config(run_yaml, ["split={train: 0.6, validation: 0.2, test: 0.1}"])


def test_a_level_cannot_be_a_missing_code(run_yaml):
    with pytest.raises(ConfigError, match=r"data.scale: \[4.0\] cannot be both a level and a missing code"):
        load_config(run_yaml, ["data.scale.missing=[4]"])


def test_present_from_must_be_a_level_above_the_first(run_yaml):
    with pytest.raises(ConfigError, match=r"present_from must be one of \[2.0, 3.0, 4.0\], got 1.0"):
        load_config(run_yaml, ["data.scale.present_from=1"])


def test_hop_longer_than_window_is_refused(run_yaml):
    with pytest.raises(ConfigError, match="hop_seconds must not be more than window_seconds"):
        load_config(run_yaml, ["audio.window_seconds=10", "audio.hop_seconds=20"])


def test_numbers_in_scientific_notation_are_numbers(run_yaml):
    assert load_config(run_yaml, ["train.learning_rate=1e-3"]).train.learning_rate == 0.001


def test_text_is_short_for_a_kind(run_yaml):
    assert load_config(run_yaml, ["model.adapt=full"]).model.adapt == FullAdapt()


def test_changing_the_architecture_of_a_random_encoder_drops_the_config_of_the_old_one(run_yaml):
    text = (
        "data: {metadata: t.csv}\nmodel: {encoder: {random: whisper, layers: 3, config: {max_source_positions: 200}}}\n"
    )
    settings = load_config(write(run_yaml, text), ["model.encoder={random: wavlm, width: 32}"])
    assert settings.model.encoder == RandomEncoder(random="wavlm", width=32)
    kept = load_config(run_yaml, ["model.encoder={random: whisper, width: 32}"]).model.encoder
    assert (kept.layers, kept.config) == (3, {"max_source_positions": 200})


def test_changing_a_kind_drops_the_settings_of_the_old_one(run_yaml):
    write(run_yaml, "data: {metadata: t.csv}\nmodel: {encoder: x, adapt: {kind: partial, last: 2}}\n")
    assert load_config(run_yaml, ["model.adapt.last=3"]).model.adapt == PartialAdapt(last=3)
    assert load_config(run_yaml, ["model.adapt.kind=full"]).model.adapt == FullAdapt()


def test_random_encoder_is_read_from_text(run_yaml):
    assert load_config(run_yaml).model.encoder == RandomEncoder(random="wavlm")


def test_paths_in_a_file_are_relative_to_the_file(run_yaml, tmp_path):
    assert load_config(run_yaml).data.metadata == str(tmp_path / "table.csv")


def test_paths_in_an_override_are_relative_to_the_working_directory(run_yaml, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_config(run_yaml, ["data.metadata=t.csv"]).data.metadata == str(tmp_path / "elsewhere" / "t.csv")


def test_an_encoder_that_is_not_a_folder_stays_an_id(run_yaml):
    assert load_config(run_yaml, ["model.encoder=microsoft/wavlm-base"]).model.encoder == "microsoft/wavlm-base"


def test_saved_settings_give_the_same_run(run_yaml, tmp_path):
    settings = load_config(run_yaml, ["data.scale.recode={1.5: 1}", "model.adapt={kind: partial, last: 0.5}", "seed=7"])
    save_config(settings, tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml") == settings


def test_identity_does_not_change_with_name_and_place(run_yaml):
    one = load_config(run_yaml)
    other = load_config(
        run_yaml,
        [
            "name=other",
            "runs=/elsewhere",
            "data.metadata=/a/b.csv",
            "model.download_dir=/c",
            "model.keep_download=false",
        ],
    )
    assert identity_json(one) == identity_json(other)


def test_identity_changes_with_what_is_computed(run_yaml):
    assert identity_json(load_config(run_yaml)) != identity_json(load_config(run_yaml, ["train.epochs=31"]))


def test_settings_are_frozen(run_yaml):
    with pytest.raises(ValueError, match="frozen"):
        load_config(run_yaml).seed = 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: [1", "run.yaml is not valid YAML"),
        ("seed: 1\nseed: 2\n", "'seed' stands twice"),
        ("a: &a [1]\nb: *a\n", "aliases are not allowed"),
        ("- 1\n", "run.yaml must hold settings such as 'name: my-run', got list"),
    ],
)
def test_yaml_that_is_not_settings_is_refused(run_yaml, text, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(run_yaml, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"Cannot read the settings '.*nowhere.yaml': No such file"):
        load_config(tmp_path / "nowhere.yaml")


def test_an_override_without_a_value_is_refused(run_yaml):
    with pytest.raises(ConfigError, match=r"Cannot read the override 'train'\. Write key.path=value"):
        load_config(run_yaml, ["train"])


# --- adaptations ------------------------------------------------------------------------------------------------------


def adapt_settings(tmp_path, adapt, *overrides):
    path = tmp_path / "run.yaml"
    path.write_text(f"data: {{metadata: m.csv}}\nmodel: {{encoder: a/b, adapt: {adapt}}}\n")
    return load_config(path, list(overrides)).model.adapt


@pytest.mark.parametrize(
    ("short", "written_out"),
    [
        ("all", "{kind: frozen}"),
        ("half", "{kind: partial, last: 0.5}"),
        ("exclude-last", "{kind: partial, last: 1}"),
        ("required-only", "{kind: full, train_features: false}"),
        ("optional", "{kind: full, train_stem: false}"),
        (
            "{kind: layer, unfreeze: [11, -1, encoder.layers.3]}",
            "{kind: partial, unfreeze: [11, -1, encoder.layers.3]}",
        ),
        ("lora", "{kind: lora, rank: 8, alpha: 16, blocks: all}"),
        ("{kind: lora, blocks: last 4}", "{kind: lora, blocks: {last: 4}}"),
        ("{kind: ia3, blocks: last 0.5}", "{kind: ia3, blocks: {last: 0.5}}"),
    ],
)
def test_short_names_of_adaptations_mean_what_the_table_says(tmp_path, short, written_out):
    assert adapt_settings(tmp_path, short) == adapt_settings(tmp_path, written_out)


def test_a_short_name_can_be_changed_by_an_override(tmp_path):
    found = adapt_settings(tmp_path, "half", "model.adapt.last=3")
    assert (found.kind, found.last) == ("partial", 3)


@pytest.mark.parametrize(
    ("adapt", "message"),
    [
        ("layer", "model.adapt: give either last or unfreeze"),
        ("most", "model.adapt.kind must be one of .*'lora'.*, got 'most'"),
        ("{kind: lora, rank: 0}", "model.adapt.rank must be at least 1, got 0"),
        ("{kind: lora, rnk: 4}", r"model.adapt.rnk is not a setting \(did you mean model.adapt.rank\?\)"),
        ("{kind: lora, blocks: {last: 0}}", "last must be 1 or more blocks"),
        ("{kind: lora, blocks: last few}", "model.adapt.blocks"),
        ("{kind: adalora, rank: 12}", "start_rank must be more than rank, got 12 and 12"),
        ("{kind: adalora, warmup: 0.5, settle: 0.5}", "together less than 1"),
        ("{kind: soft_prompt, length: 0}", "model.adapt.length must be at least 1, got 0"),
    ],
)
def test_an_adaptation_that_cannot_be_is_refused(tmp_path, adapt, message):
    with pytest.raises(ConfigError, match=message):
        adapt_settings(tmp_path, adapt)


def test_adalora_does_not_go_with_gradual_unfreezing(tmp_path):
    with pytest.raises(ConfigError, match="train.unfreeze_every does not go with adalora"):
        adapt_settings(tmp_path, "adalora", "train.unfreeze_every=1")


# --- augment ----------------------------------------------------------------------------------------------------------


def test_a_list_is_short_for_what_augmentation_applies(run_yaml, tmp_path):
    listed = load_config(run_yaml, ["augment=[{kind: noise, snr_db: [5, 20], probability: 0.3}, polarity]"])
    written_out = "augment={views: null, apply: [{kind: noise, snr_db: [5, 20], probability: 0.3}, {kind: polarity}]}"
    assert listed == load_config(run_yaml, [written_out])
    assert [each.kind for each in listed.augment.apply] == ["noise", "polarity"]
    save_config(listed, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == listed
    assert load_config(run_yaml, ["augment=[]"]) == load_config(run_yaml)


def test_views_can_be_set_beside_a_list_in_the_file(run_yaml):
    write(run_yaml, MINIMAL + "augment: [polarity]\n")
    augment = load_config(run_yaml, ["augment.views=4"]).augment
    assert (augment.views, [each.kind for each in augment.apply]) == (4, ["polarity"])


def test_one_number_is_a_range_of_itself(run_yaml):
    assert load_config(run_yaml, ["augment=[{kind: noise, snr_db: 20}]"]).augment.apply[0].snr_db == (20, 20)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("[{kind: nois}]", "augment.apply.0.kind must be one of 'noise', 'mix', .*'audiomentations', got 'nois'"),
        ("[polarity, nois]", "augment.apply.1.kind must be one of 'noise', 'mix', .*'audiomentations', got 'nois'"),
        ("[{snr_db: 3}]", "augment.apply.0.kind is missing"),
        ("[{kind: noise, snr: 3}]", r"augment.apply.0.snr is not a setting .did you mean augment.apply.0.snr_db."),
        (
            "[{kind: noise, snr_db: [30, 10]}]",
            r"augment.apply.0.snr_db: a range goes from a lower to a higher number within -20 to 100, got \[30.0, 10",
        ),
        ("[{kind: speed, factor: [0.1, 1]}]", r"augment.apply.0.factor: a range .* within 0.5 to 2, got \[0.1, 1.0\]"),
        ("[{kind: codec, codecs: [aac]}]", "augment.apply.0.codecs.0 must be 'mp3', 'vorbis' or 'opus', got 'aac'"),
        ("[{kind: gain, gain_db: loud}]", "augment.apply.0.gain_db must be a valid tuple, got 'loud'"),
        ("[{kind: gain, probability: 2}]", "augment.apply.0.probability must be at most 1, got 2"),
        ("[audiomentations]", "augment.apply.0.transform is missing"),
        ("{spec_augment: {mask_seconds: 11}}", "augment.spec_augment.mask_seconds: a range .* within 0 to 10"),
        ("{views: 0}", "augment.views must be at least 1, got 0"),
        ("{view: 2}", "augment.view is not a setting .did you mean augment.views"),
        ("nois", "augment.apply.0.kind must be one of .noise., "),
        ("3", "augment must be .*, got 3"),
    ],
)
def test_augmentation_that_cannot_be_is_refused_with_its_place(run_yaml, augment, message):
    with pytest.raises(ConfigError, match=message):
        load_config(run_yaml, [f"augment={augment}"])


def test_augmentation_makes_another_run(run_yaml):
    plain, noisy, viewed = (
        identity_json(load_config(run_yaml, [f"augment={augment}"]))
        for augment in ("[]", "[noise]", "{views: 2, apply: [noise]}")
    )
    assert len({plain, noisy, viewed}) == 3


def test_an_optimizer_is_read_by_name_and_an_override_keeps_it(run_yaml):
    settings = load_config(write(run_yaml, MINIMAL + "train: {optimizer: sgd}\n"), ["train.optimizer.momentum=0.9"])
    assert (settings.train.optimizer.kind, settings.train.optimizer.momentum) == ("sgd", 0.9)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("adamv", r"train\.optimizer\.kind must be one of 'adamw', 'adam', .*'adafactor', got 'adamv'"),
        ("{kind: sgd, momentun: 0.9}", r"train\.optimizer\.momentun is not a setting \(did you mean .*\.momentum\?"),
        ("{kind: sgd, nesterov: true}", r"train\.optimizer: nesterov needs momentum, and no dampening"),
    ],
)
def test_an_optimizer_that_is_not_there_or_cannot_be_is_refused(run_yaml, value, said):
    with pytest.raises(ConfigError, match=said):
        load_config(run_yaml, [f"train.optimizer={value}"])


def test_early_stopping_watches_the_loss_or_any_metric():
    watched = EarlyStopping.model_fields["metric"].annotation.__args__
    assert watched == ("loss", *(metric.name for metric in METRICS))


def test_an_unknown_metric_to_stop_by_is_refused_and_the_metrics_are_listed(run_yaml):
    with pytest.raises(ConfigError, match=r"train\.early_stopping\.metric must be 'loss', 'auc', .*'qwk', got 'f1'"):
        load_config(run_yaml, ["train.early_stopping.metric=f1"])


def test_a_binary_head_is_not_stopped_by_a_metric_of_levels(run_yaml):
    with pytest.raises(ConfigError, match=r"train\.early_stopping\.metric: mae needs levels, which a binary head"):
        load_config(run_yaml, ["model.head=binary", "train.early_stopping.metric=mae"])


def test_adalora_takes_no_moving_average(run_yaml):
    with pytest.raises(ConfigError, match=r"train\.ema does not go with adalora: ranks that fall would not fall"):
        load_config(run_yaml, ["model.adapt=adalora", "train.ema={decay: 0.99}"])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.head=regression", "train.loss.focal_gamma=2"], "are for binary and ordinal heads"),
        (["model.head=regression", "train.loss.rank={margin: 2}"], "are for binary and ordinal heads"),
        (["model.head=regression", "train.loss.targets=raters"], "are for binary and ordinal heads"),
        (["data.raters=null", "model.rater_heads=true"], "model.rater_heads needs raters"),
        (["data.raters={}", "model.rater_heads=true", "model.head.transformer={}"], "share one embedding"),
        (["data.raters=null", "train.loss.targets=raters"], "raters needs several of them (data.raters)"),
        (["train.loss.regression=concordance"], "needs model.head.kind regression"),
        (
            [
                "model.head=regression",
                "train.loss.regression=concordance",
                "train.loss.level_weights=inverse_frequency",
            ],
            "level_weights does not go with concordance",
        ),
        (["train.loss.regression=absolute"], "needs model.head.kind regression"),
        (["data.traits=[slow]", "train.loss.trait_weights={fast: 2}"], "['fast'] are no traits of data.traits"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused(run_yaml, overrides, said):
    with pytest.raises(ConfigError) as caught:
        load_config(run_yaml, overrides)
    assert said in str(caught.value)


def test_limits_of_audio_are_read_one_by_one():
    assert read_limits([]) == Limits()
    assert read_limits(["max_seconds=20000", "memory_gb=0.5"]) == Limits(max_seconds=20_000, memory_gb=0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_second=1", r"'max_second=1' is no limit. Did you mean 'max_seconds'\?"),
        ("max_gb", r"'max_gb' is no limit. Did you mean 'max_gb'\?|'max_gb' is no limit."),
        ("max_gb=-1", r"The limit max_gb cannot be used: more than 0, got -1"),
        ("min_rate_hz=500000", r"min_rate_hz must not be more than max_rate_hz"),
    ],
)
def test_a_limit_that_cannot_be_used_is_named(text, message):
    with pytest.raises(ConfigError, match=message):
        read_limits([text])
