"""lalia's side: runs from audio files to trained raters, with what each epoch took."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.corpus import Corpus
from benchmarks.hugging_face import BATCH_SIZE
from benchmarks.timing import NOTHING, Seconds, now
from lalia.build import build_rater
from lalia.model.rater import SpeechRater
from lalia.prepare import Prepared, prepare
from lalia.progress import Progress
from lalia.run import fit_prepared
from lalia.settings import RunSettings


class EpochClock(Progress):
    """Measures the epochs of a training, and lets something else run between them.

    Args:
        between: is called before each epoch but the first; its time does not count.
    """

    def __init__(self, between: Callable[[], object] | None = None) -> None:
        self.epochs: list[Seconds] = []
        self.between = NOTHING
        self._between = between
        self._begun: Seconds | None = None

    def start(self, title: str, total: int) -> None:
        """Begin the clock if the stage is an epoch."""
        if not title.startswith("epoch "):
            return
        if self.epochs and self._between is not None:
            begun = now()
            self._between()
            self.between += now() - begun
        self._begun = now()

    def say(self, line: str) -> None:
        """End the clock at the line that sums up an epoch."""
        if self._begun is not None and line.startswith("epoch "):
            self.epochs.append(now() - self._begun)
            self._begun = None


@dataclass(frozen=True)
class Trained:
    """What a training took.

    Attributes:
        total: from audio files to the trained rater, without the building of the model.
        building: of the model.
        epochs: each epoch.
        prepared: the run's recordings and its rater.
    """

    total: Seconds
    building: Seconds
    epochs: list[Seconds]
    prepared: Prepared


def make_settings(corpus: Corpus, encoder: Any, cache: Path, **changes: Any) -> RunSettings:
    """Return settings of a run on all recordings of a corpus: all train, none validates.

    Args:
        corpus: the recordings; the first trait is rated unless ``changes`` say otherwise.
        encoder: the folder of a checkpoint, or a random one.
        cache: where activations are kept.
        changes: sections with what is to be different, such as ``model={"layers": "weighted"}``.
    """
    sections: dict[str, Any] = {
        "name": "benchmark",
        "data": {
            "metadata": str(corpus.folder / "metadata.csv"),
            "columns": {"recording": "id", "speaker": "speaker"},
            "traits": corpus.traits[:1],
        },
        "split": {"kind": "random", "train": 1.0, "validation": 0.0, "test": 0.0},
        "model": {"encoder": encoder, "layers": "last", "head": {"kind": "ordinal"}},
        "train": {
            "epochs": 30,
            # as many recordings in a step, on average, as on the other side
            "batch_seconds": max(BATCH_SIZE * corpus.seconds / len(corpus.paths), 30.0),
            "early_stopping": None,
        },
        "cache": {"dir": str(cache)},
    }
    for name, change in changes.items():
        sections[name] = {**sections[name], **change} if isinstance(change, dict) and name in sections else change
    return RunSettings.model_validate(sections)


def train(settings: RunSettings, between: Callable[[], object] | None = None) -> Trained:
    """Train a rater and say what it took.

    Args:
        settings: of the run.
        between: is called before each epoch but the first.
    """
    begun = now()
    rater = build(settings)
    built = now()
    clock = EpochClock(between)
    prepared = prepare(settings, clock, rater=rater)
    fit_prepared(settings, prepared, progress=clock)
    total = now() - built - clock.between
    return Trained(total, built - begun, clock.epochs, prepared)


def build(settings: RunSettings) -> SpeechRater:
    """Build the rater of a run."""
    return build_rater(settings, settings.data.traits)


@contextmanager
def empty_cache() -> Iterator[Path]:
    """Give a cache folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="lalia-benchmark-cache-") as folder:
        yield Path(folder)
