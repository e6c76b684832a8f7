"""Pooled vectors of recordings as a table: from an encoder and audio files to one file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from lalia.build import build_preprocessing
from lalia.data.audio import scan_recordings
from lalia.data.flow import Flow
from lalia.data.table import RecordingTable
from lalia.errors import AudioError, ConfigError, list_some
from lalia.evaluation.prediction_files import write_predictions
from lalia.limits import Limits
from lalia.model.encoders.base import Depth, SpeechEncoder
from lalia.model.pooling import Statistic
from lalia.progress import Progress
from lalia.scale import Scale
from lalia.settings import AudioSettings
from lalia.training.cache import ActivationStore
from lalia.training.pooled import pooled_depths


def read_depths(text: str) -> list[Depth]:
    """Return the depths that a text lists.

    Raises:
        ConfigError: if it holds something else.

    Example:
        >>> read_depths("0, 9,last")
        [0, 9, 'last']
    """
    depths: list[Depth] = []
    for part in text.split(","):
        depth = part.strip()
        if depth != "last" and not depth.isdecimal():
            raise ConfigError(f"Depths are numbers such as 9,12, or last; got '{text}'.")
        depths.append("last" if depth == "last" else int(depth))
    return list(dict.fromkeys(depths))


def embed_files(
    encoder: SpeechEncoder,
    recordings: pd.DataFrame,
    out: str | Path,
    *,
    depths: Sequence[Depth] = ("last",),
    statistic: Statistic = "mean",
    store: ActivationStore | None = None,
    limits: Limits = Limits(),  # noqa: B008
    progress: Progress | None = None,
) -> dict[str, str]:
    """Write a row per recording and depth: recording, depth, and the vector as the columns v0, v1, ...

    A vector is a statistic over all frames of a recording; a long one is encoded in windows of 30 s, as in a run.

    Args:
        encoder: used as it is, on the device that it is on.
        recordings: columns ``recording`` and ``path``.
        out: the file, which goes by its extension: parquet, jsonl, and csv for any other.
        depths: numbers from 0 (the stem) to ``encoder.n_blocks``, or ``"last"`` for the encoder's own output.
        statistic: over the frames.
        store: what is in it is not computed again; all depths and statistics are put there. None keeps nothing.
        limits: what the files may be.
        progress: is told of each recording.

    Returns:
        What is wrong with the recordings that could not be encoded, by their id; the file holds the others.

    Raises:
        EncoderError: if the encoder has no such depth.
        AudioError: if none of the recordings can be encoded.
    """
    encoder.check_depths(depths)
    progress = progress or Progress()
    preprocessing = replace(build_preprocessing(AudioSettings(), encoder), limits=limits)
    progress.start("reading recordings", len(recordings))
    shortest = encoder.min_samples / encoder.rate_hz
    scan = scan_recordings(recordings, preprocessing, min_seconds=shortest, progress=progress.advance)
    bad = scan[scan["problem"] != ""]
    problems = dict(zip(bad["recording"], bad["problem"], strict=True))
    if len(problems) == len(recordings):
        said = list_some([f"'{name}' {problem}" for name, problem in problems.items()])
        raise AudioError(f"None of the recordings can be encoded: {said}.")
    measured = {column: scan[column].to_numpy() for column in ("duration_seconds", "sha256")}
    usable = recordings.assign(**measured)[~recordings["recording"].isin(problems)].reset_index(drop=True)
    progress.start("encoding", len(usable))
    pooled = pooled_depths(
        encoder, _as_table(usable), preprocessing, store=store, statistics=[statistic], progress=progress
    )
    chosen = pooled.vectors[statistic][:, [pooled.depths.index(depth) for depth in depths]]
    table = pd.DataFrame(chosen.reshape(-1, encoder.width), columns=[f"v{number}" for number in range(encoder.width)])
    table.insert(0, "recording", np.repeat(usable["recording"].to_numpy(), len(depths)))
    table.insert(1, "depth", [str(depth) for depth in depths] * len(usable))
    write_predictions(table, out)
    return problems


def _as_table(recordings: pd.DataFrame) -> RecordingTable:
    """Return the recordings as a table of no traits."""
    return RecordingTable(
        recordings=recordings,
        ratings=pd.DataFrame(index=range(len(recordings))),
        rater_ratings=pd.DataFrame(columns=["recording", "rater", "trait", "rating"]),
        scale=Scale((0.0, 1.0), 1.0),
        flow=Flow(recordings_in=len(recordings), speakers_in=0),
    )
