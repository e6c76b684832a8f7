"""Every YAML in examples/ is a run that loads and whose rater builds."""

from pathlib import Path

import pytest

from lalia.build import build_rater
from lalia.config import load_config, load_sweep, with_values
from lalia.sweep.search import open_search

FOLDER = Path(__file__).parents[1] / "examples"
SWEEPS = [FOLDER / "sweep-seed.yaml"]
EXAMPLES = sorted(set(FOLDER.glob("*.yaml")) - set(SWEEPS))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_loads_and_its_rater_builds(path):
    settings = load_config(path)
    rater = build_rater(settings, settings.data.traits)
    assert rater.traits == settings.data.traits
    assert any(parameter.requires_grad for parameter in rater.parameters())


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_trials_of_an_example_sweep_can_be_run_and_each_kind_of_rater_builds(path):
    sweep = load_sweep(path)
    base = load_config(sweep.base)
    (trials,) = open_search(sweep).batches()
    models = {}
    for values in trials:
        settings = with_values(base, values)
        models[settings.model.encoder.random, settings.model.adapt.model_dump_json()] = settings
    assert len(trials) == 144 and len(models) == 18
    for settings in models.values():
        rater = build_rater(settings, settings.data.traits)
        assert any(parameter.requires_grad for parameter in rater.parameters())
