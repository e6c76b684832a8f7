"""Every YAML in examples/ is a run that loads and whose rater builds."""

from pathlib import Path

import pytest

from lalia.build import build_rater
from lalia.config import load_config

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_loads_and_its_rater_builds(path):
    settings = load_config(path)
    rater = build_rater(settings, settings.data.traits)
    assert rater.traits == settings.data.traits
    assert any(parameter.requires_grad for parameter in rater.parameters())
