"""A rater and recordings in, a table of scores out."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lalia.build import load_rater
from lalia.data.audio import scan_recordings
from lalia.data.dataset import BucketedBatches, RecordingDataset, load_batches
from lalia.data.table import Flow, RecordingTable
from lalia.errors import AudioError, list_some
from lalia.files import replacing
from lalia.model.rater import SpeechRater
from lalia.progress import Progress


def predict(
    rater: SpeechRater,
    recordings: pd.DataFrame,
    *,
    batch_seconds: float = 120.0,
    workers: int = 0,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return the scores of recordings, each of which depends on its recording alone.

    Args:
        rater: is left in the mode, train or eval, that it is in.
        recordings: columns ``recording`` (an id) and ``path``; with ``duration_seconds`` (of ``scan_recordings``) the
            files are decoded once, without it twice.
        batch_seconds: the most audio in a batch, padding included, unless one recording alone has more.
        workers: processes that read audio ahead; 0 reads in this one.
        device: where to compute; the rater moves there. None computes where the rater is.
        progress: is advanced by each recording.

    Returns:
        A row per recording, in the order given, and trait: ``recording``, ``trait``, ``score`` (in units of the scale;
        of a binary head the probability), ``level`` (NaN from a binary head) and ``probability`` of presence.

    Raises:
        AudioError: names a recording that cannot be read or is too short for the encoder.
    """
    progress = progress or Progress()
    if device is not None:
        rater.to(device)
    if "duration_seconds" not in recordings:
        recordings = _measure(rater, recordings)
    dataset = RecordingDataset(_as_table(rater, recordings), rater.preprocessing)
    batches = BucketedBatches(
        dataset.recordings,
        dataset.seconds,
        batch_seconds=batch_seconds,
        seed=0,
        shuffle=False,
        preprocessing=rater.preprocessing,
    )
    # score, level and probability of each recording and trait
    found = np.full((3, len(recordings), len(rater.traits)), np.nan)
    was_training = rater.training
    rater.eval()
    try:
        with torch.inference_mode():
            for batch in load_batches(dataset, batches, workers=workers):
                moved = batch.to(rater.encoder.device)
                scores = rater.decode(rater(moved.waveforms, moved.n_samples, moved.recording_of_window))
                values = torch.stack([scores.score, scores.level, scores.probability])
                found[:, batch.rows.numpy()] = values.cpu().numpy()
                for _ in range(batch.n_recordings):
                    progress.advance()
    finally:
        rater.train(was_training)
    return pd.DataFrame(
        {
            "recording": np.repeat(recordings["recording"].to_numpy(), len(rater.traits)),
            "trait": np.tile(np.array(rater.traits), len(recordings)),
            "score": found[0].ravel(),
            "level": found[1].ravel(),
            "probability": found[2].ravel(),
        }
    )


def predict_files(
    run: str | Path, recordings: pd.DataFrame, out: str | Path, *, progress: Progress | None = None
) -> dict[str, str]:
    """Rate recordings with a saved rater and write the scores as CSV.

    Args:
        run: the folder of a run, or of a saved rater.
        recordings: columns ``recording`` and ``path``.
        out: the file to write; it appears complete or not at all.
        progress: is told of each recording.

    Returns:
        What is wrong with the recordings that could not be rated, by their id; the file holds the others.

    Raises:
        RaterError: if there is no rater in the folder.
        AudioError: if none of the recordings can be rated.
    """
    progress = progress or Progress()
    rater = load_rater(run).to("cuda" if torch.cuda.is_available() else "cpu")
    progress.start("reading recordings", len(recordings))
    scan = _scan(rater, recordings, progress)
    bad = scan[scan["problem"] != ""]
    problems: dict[str, str] = dict(zip(bad["recording"], bad["problem"], strict=True))
    if len(bad) == len(recordings):
        raise AudioError(f"None of the recordings can be rated: {_list_problems(bad)}.")
    usable = recordings.assign(duration_seconds=scan["duration_seconds"].to_numpy())
    usable = usable[(scan["problem"] == "").to_numpy()]
    progress.start("rating", len(usable))
    scores = predict(rater, usable, progress=progress)
    with replacing(out) as temporary:
        scores.to_csv(temporary, index=False, lineterminator="\n")
    return problems


def _measure(rater: SpeechRater, recordings: pd.DataFrame) -> pd.DataFrame:
    scan = _scan(rater, recordings, Progress())
    bad = scan[scan["problem"] != ""]
    if len(bad):
        raise AudioError(f"Recordings cannot be rated: {_list_problems(bad)}. Leave them out.")
    return recordings.assign(duration_seconds=scan["duration_seconds"].to_numpy())


def _scan(rater: SpeechRater, recordings: pd.DataFrame, progress: Progress) -> pd.DataFrame:
    encoder = rater.encoder
    return scan_recordings(
        recordings,
        rater.preprocessing,
        min_seconds=encoder.min_samples / encoder.rate_hz,
        progress=progress.advance,
    )


def _list_problems(bad: pd.DataFrame) -> str:
    return list_some([f"'{row.recording}' {row.problem}" for row in bad.itertuples()])


def _as_table(rater: SpeechRater, recordings: pd.DataFrame) -> RecordingTable:
    """Return the recordings as a table in which no trait is rated."""
    return RecordingTable(
        recordings=recordings.reset_index(drop=True),
        ratings=pd.DataFrame(np.nan, index=range(len(recordings)), columns=list(rater.traits)),
        rater_ratings=pd.DataFrame(columns=["recording", "rater", "trait", "rating"]),
        scale=rater.scale,
        flow=Flow(recordings_in=len(recordings), speakers_in=0),
    )
