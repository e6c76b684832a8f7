"""lalia's side: runs from audio files to trained raters, with what each epoch took."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.corpus import Corpus
from benchmarks.hugging_face import BATCH_SIZE
from benchmarks.timing import NOTHING, Seconds, measure, now
from lalia.build import build_rater
from lalia.model.rater import SpeechRater
from lalia.prepare import prepare
from lalia.progress import Progress
from lalia.run import fit_prepared
from lalia.settings import RunSettings

# the stage in which recordings go through an encoder; prediction has no other
ENCODING = "encoding recordings"


class Clock(Progress):
    """Measures epochs, and lets the other side run in between; its time does not count.

    Args:
        after_recording: is called after each recording that was encoded.
        before_epoch: is called before each epoch but the first.

    Attributes:
        epochs: what each epoch took.
        others: what the other side took.
    """

    def __init__(
        self, *, after_recording: Callable[[], object] | None = None, before_epoch: Callable[[], object] | None = None
    ) -> None:
        self.epochs: list[Seconds] = []
        self.others = NOTHING
        self._after_recording = after_recording
        self._before_epoch = before_epoch
        self._stage = ENCODING
        self._begun: Seconds | None = None

    def start(self, title: str, total: int) -> None:
        """Begin the clock if the stage is an epoch."""
        self._stage = title
        if title.startswith("epoch "):
            if self.epochs:
                self._let(self._before_epoch)
            self._begun = now()

    def advance(self, note: str = "") -> None:
        """Let the other side encode a recording after one of ours."""
        if self._stage == ENCODING:
            self._let(self._after_recording)

    def say(self, line: str) -> None:
        """End the clock at the line that sums up an epoch."""
        if self._begun is not None and line.startswith("epoch "):
            self.epochs.append(now() - self._begun)
            self._begun = None

    def measure(self, work: Callable[[], object]) -> Seconds:
        """Return what a call takes without the other side."""
        begun, before = now(), self.others
        work()
        return (now() - begun) - (self.others - before)

    def _let(self, other: Callable[[], object] | None) -> None:
        if other is not None:
            self.others += measure(other)


@dataclass(frozen=True)
class Trained:
    """What a training took.

    Attributes:
        total: from audio files to the trained rater, without the building of the model.
        building: of the model.
        epochs: each epoch.
    """

    total: Seconds
    building: Seconds
    epochs: list[Seconds]


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


def train(settings: RunSettings, clock: Clock | None = None) -> Trained:
    """Train a rater and say what it took.

    Args:
        settings: of the run.
        clock: lets the other side run in between.
    """
    clock = clock or Clock()
    begun = now()
    rater = build(settings)
    building = now() - begun
    total = clock.measure(lambda: fit_prepared(settings, prepare(settings, clock, rater=rater), progress=clock))
    return Trained(total, building, clock.epochs)


def build(settings: RunSettings) -> SpeechRater:
    """Build the rater of a run."""
    return build_rater(settings, settings.data.traits)


@contextmanager
def empty_cache() -> Iterator[Path]:
    """Give a cache folder that is deleted afterwards; what was measured of recordings is kept there too."""
    before = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory(prefix="lalia-benchmark-cache-") as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            os.environ.pop("XDG_CACHE_HOME")
            if before is not None:
                os.environ["XDG_CACHE_HOME"] = before
