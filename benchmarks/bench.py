"""What the rows share: how large they are, their corpora, checkpoints and scratch folders."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.corpus import Corpus, write_corpus, write_wavlm, write_whisper


@dataclass(frozen=True)
class Sizes:
    """How much each row measures.

    Args:
        longest: the longest recording, in seconds; the shortest has 2.
        frozen: recordings of the frozen runs.
        seeds: of each frozen configuration.
        training: recordings of the runs in which the encoder trains.
        scored: recordings that are predicted.
        probed: recordings of the probe.
        clips: of 5 s, for Whisper.
        growth: numbers of recordings.
        repeats: of what is measured more than once.
        heavy_repeats: of the epochs in which half the encoder or more trains.
    """

    longest: float
    frozen: int
    seeds: int
    training: int
    scored: int
    probed: int
    clips: int
    growth: tuple[int, ...]
    repeats: int
    heavy_repeats: int


FULL = Sizes(
    longest=15.0,
    frozen=24,
    seeds=3,
    training=8,
    scored=24,
    probed=48,
    clips=16,
    growth=(100, 400, 1600),
    repeats=3,
    heavy_repeats=2,
)
QUICK = Sizes(
    longest=6.0,
    frozen=20,
    seeds=1,
    training=8,
    scored=8,
    probed=24,
    clips=8,
    growth=(100, 400),
    repeats=1,
    heavy_repeats=1,
)


class Bench:
    """Corpora and checkpoints, made when they are first asked for.

    Args:
        sizes: of the rows.
        folder: where they are made.
    """

    def __init__(self, sizes: Sizes, folder: Path) -> None:
        self.sizes = sizes
        self.folder = folder
        self._corpora: dict[tuple[int, float, float], Corpus] = {}

    @property
    def scratch(self) -> Path:
        """A folder for what nobody reads."""
        return self.folder / "scratch"

    @cached_property
    def wavlm(self) -> Path:
        """The folder of a WavLM of base size with random weights."""
        return write_wavlm(self.folder / "wavlm-base")

    @cached_property
    def whisper(self) -> Path:
        """The folder of a Whisper of base size with random weights."""
        return write_whisper(self.folder / "whisper-base")

    def corpus(self, recordings: int, shortest: float = 2.0, longest: float | None = None) -> Corpus:
        """Return recordings from the shortest to the longest, in seconds."""
        key = (recordings, shortest, self.sizes.longest if longest is None else longest)
        if key not in self._corpora:
            folder = self.folder / f"corpus-{len(self._corpora)}"
            self._corpora[key] = write_corpus(folder, recordings, shortest=shortest, longest=key[2])
        return self._corpora[key]
