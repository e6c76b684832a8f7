"""The probe of a run's settings: which encoder it looks at, and on which recordings."""

import pytest

from lalia.errors import SplitError
from lalia.progress import Progress
from lalia.run import train
from lalia.run_probe import run_probe
from toy_run import quick_settings


class Lines(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture
def corpus(finished_corpus):
    return finished_corpus


def settings_of(corpus, folder, *overrides):
    return quick_settings(
        corpus, folder / "runs", "train.epochs=1", "probe.folds=2", f"cache={{dir: {folder / 'cache'}}}", *overrides
    )


def test_the_test_part_is_left_alone_unless_it_is_named(corpus, tmp_path):
    assert run_probe(settings_of(corpus, tmp_path)).recordings == 12
    assert run_probe(settings_of(corpus, tmp_path, "probe.parts=[test]")).recordings == 4


def test_what_a_run_adapts_and_pools_does_not_matter(corpus, tmp_path):
    plain = run_probe(settings_of(corpus, tmp_path))
    other = settings_of(corpus, tmp_path, "model.adapt=full", "model.layers=weighted", "model.pooling=max")
    assert run_probe(other).table.equals(plain.table)


def test_a_trained_encoder_can_be_probed_and_a_note_says_what_flatters_it(corpus, tmp_path):
    run = train(settings_of(corpus, tmp_path, "model.layers=weighted", "model.adapt=full"))
    progress = Lines()
    start = ("model.encoder=null", f"model.start_from={run}", "model.layers=weighted", "probe.parts=[test]")
    result = run_probe(settings_of(corpus, tmp_path, *start), tmp_path / "out", progress)
    assert result.recordings == 4
    assert any("Recordings that it was trained on flatter it" in line for line in progress.lines)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["probe.csv", "probe.json", "probe.svg"]


def test_parts_without_a_rated_recording_are_refused(corpus, tmp_path):
    settings = settings_of(corpus, tmp_path, "split={train: 0.5, validation: 0.5, test: 0}", "probe.parts=[test]")
    with pytest.raises(SplitError, match=r"No recording of the parts test is rated\. Change probe\.parts\."):
        run_probe(settings)
