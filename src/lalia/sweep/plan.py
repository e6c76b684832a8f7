"""What a sweep will do before it does it: its trials, the passes through frozen encoders, and what they cost."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lalia.data.dataset import RecordingDataset
from lalia.data.table import RecordingTable
from lalia.errors import ConfigError, ModelError
from lalia.model.encoders.base import SpeechEncoder
from lalia.prepare import Prepared, Scans, prepare
from lalia.progress import Progress
from lalia.settings import FoldSplit, RunSettings, is_cross_validation
from lalia.sweep.search import Values
from lalia.training.cache import open_store
from lalia.training.entries import find_keys, forecast_bytes
from lalia.training.frozen import FrozenPart, find_frozen_part

# of noise, for one forward pass that is timed
_TIMED_SECONDS = 5.0
# a step is a forward and a backward pass, which costs about two
_PASSES_OF_A_STEP = 3.0


@dataclass(frozen=True)
class FrozenPass:
    """What is computed once for all trials that share it.

    Attributes:
        key: by which two trials share it.
        title: what is kept, in words.
        encoder: its name.
        recordings: that are to be read.
        missing: of these, those that the cache lacks.
        size_bytes: of what is kept.
        seconds: forecast for what is missing, on this machine.
    """

    key: str
    title: str
    encoder: str
    recordings: int
    missing: int
    size_bytes: int
    seconds: float


@dataclass(frozen=True)
class PlannedTrial:
    """A trial, and what it will cost.

    Attributes:
        varied: by key path.
        pass_key: of the pass that it shares; None where nothing of its encoder is frozen or kept.
        seconds: forecast for its training, all epochs, without the frozen pass; heads on kept vectors count nothing.
    """

    varied: Values
    pass_key: str | None
    seconds: float


@dataclass(frozen=True)
class Plan:
    """A batch of trials.

    Attributes:
        trials: ordered so that those that share a frozen pass follow each other.
        passes: the distinct ones.
        audio_seconds: of all recordings.
    """

    trials: tuple[PlannedTrial, ...]
    passes: tuple[FrozenPass, ...]
    audio_seconds: float

    @property
    def seconds(self) -> float:
        """The forecast for all of it, one after another on this machine."""
        return sum(one.seconds for one in self.passes) + sum(one.seconds for one in self.trials)


def plan_trials(trials: Sequence[tuple[Values, RunSettings]], progress: Progress, scans: Scans) -> Plan:
    """Find what trials have in common, and forecast what they cost.

    The forecast comes from one forward pass of each distinct encoder over a few seconds of noise. It is of this machine
    and of all epochs, which early stopping may cut short.

    Args:
        trials: settings by key path, and in full.
        progress: is told what happens.
        scans: keeps the decoded recordings for the trials themselves.

    Raises:
        LaliaError: whatever a user has to mend before these runs can train.
    """
    known: dict[str, tuple[FrozenPass | None, float]] = {}
    planned: list[PlannedTrial] = []
    passes: dict[str, FrozenPass] = {}
    audio_seconds = 0.0
    progress.start("planning", len(trials))
    for values, settings in trials:
        key = json.dumps([settings.model.model_dump(mode="json"), settings.audio.model_dump(mode="json")])
        alone = _one_of(settings)
        if key not in known:
            try:
                prepared = prepare(alone, progress, scans=scans)
            except (ConfigError, ModelError):
                # a rater that cannot be built fails alone, when its turn comes
                known[key] = (None, 0.0)
            else:
                audio_seconds = max(audio_seconds, float(prepared.table.recordings["duration_seconds"].sum()))
                known[key] = _look_at(prepared, settings)
        frozen, rate = known[key]
        if frozen is not None:
            passes.setdefault(frozen.key, frozen)
        planned.append(
            PlannedTrial(values, frozen.key if frozen else None, _train_seconds(settings, rate, audio_seconds))
        )
        progress.advance()
    places = {key: place for place, key in enumerate(passes)}
    # what shares nothing comes last; equals stay as they were proposed
    planned.sort(key=lambda one: places.get(one.pass_key or "", len(places)))
    return Plan(tuple(planned), tuple(passes.values()), audio_seconds)


def _look_at(prepared: Prepared, settings: RunSettings) -> tuple[FrozenPass | None, float]:
    """Return the pass of a rater, and how many seconds what trains of its encoder takes for a second of audio."""
    rater = prepared.rater
    part = find_frozen_part(rater, settings.cache.dtype) if settings.cache.max_gb else None
    rate = _time_forward(rater.encoder, rater.preprocessing.window_seconds)
    frozen = None if part is None else _describe_pass(part, rater.encoder, prepared.table, settings, rate)
    return frozen, rate * _share_that_trains(rater.first_changing_depth, rater.encoder)


def _one_of(settings: RunSettings) -> RunSettings:
    """Return settings with one fold instead of all, whose parts can be looked at."""
    if not is_cross_validation(settings):
        return settings
    assert isinstance(settings.split, FoldSplit)
    return settings.model_copy(update={"split": settings.split.model_copy(update={"fold": 1, "inner": None})})


def _describe_pass(
    part: FrozenPart, encoder: SpeechEncoder, table: RecordingTable, settings: RunSettings, rate: float
) -> FrozenPass:
    dataset = RecordingDataset(table, part.preprocessing)
    store = open_store(settings.cache)
    lacks = [any(key not in store for key in keys) for keys in find_keys(part, dataset)]
    seconds = sum(length for length, is_missing in zip(dataset.seconds, lacks, strict=True) if is_missing)
    return FrozenPass(
        part.pass_key,
        part.title,
        encoder.source.name,
        len(table.recordings),
        sum(lacks),
        forecast_bytes(part, encoder, dataset),
        float(seconds) * rate,
    )


def _time_forward(encoder: SpeechEncoder, window_seconds: float) -> float:
    """Return how many seconds a second of audio takes."""
    n_samples = max(encoder.min_samples, round(min(_TIMED_SECONDS, window_seconds) * encoder.rate_hz))
    waveform = torch.randn(1, n_samples, generator=torch.Generator().manual_seed(0)).to(encoder.device)
    was_training = encoder.training
    encoder.eval()
    try:
        with torch.inference_mode():
            encoder(waveform, torch.tensor([n_samples]), ["last"])
            begun = time.perf_counter()
            float(encoder(waveform, torch.tensor([n_samples]), ["last"])["last"].values.sum())
    finally:
        encoder.train(was_training)
    return (time.perf_counter() - begun) / (n_samples / encoder.rate_hz)


def _share_that_trains(first_changing_depth: int, encoder: SpeechEncoder) -> float:
    """Return which share of the depths is computed in every step; 0 where only what stands on the encoder trains."""
    depths = encoder.n_blocks + 1
    return max(0.0, depths - first_changing_depth) / depths


def _train_seconds(settings: RunSettings, rate: float, audio_seconds: float) -> float:
    share = getattr(settings.split, "train", 0.7)
    runs, epochs = 1, settings.train.epochs
    if isinstance(settings.split, FoldSplit):
        share = 1 - 1 / settings.split.folds
        runs = settings.split.folds if settings.split.fold == "all" else 1
        if settings.split.inner:
            candidates = 1
            for choices in settings.choose.grid.values():
                candidates *= len(choices)
            runs *= 1 + settings.split.inner * candidates
    return runs * epochs * _PASSES_OF_A_STEP * rate * share * audio_seconds


def describe_plan(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON."""
    return {
        "trials": [{"values": one.varied, "pass": one.pass_key, "seconds": one.seconds} for one in plan.trials],
        "passes": [vars(one) for one in plan.passes],
        "audio_seconds": plan.audio_seconds,
        "seconds": plan.seconds,
    }
