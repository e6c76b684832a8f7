"""A rater and recordings in, a table of scores out."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lalia.build import load_rater
from lalia.config import load_config
from lalia.data.audio import scan_recordings
from lalia.data.dataset import BucketedBatches, RecordingDataset
from lalia.data.table import Flow, RecordingTable
from lalia.errors import AudioError, CacheError, ConfigError, list_some
from lalia.evaluation.ensemble import average_scores, find_members
from lalia.evaluation.prediction_files import PredictionFormat, write_predictions
from lalia.evaluation.predictions import reach_column
from lalia.limits import Limits
from lalia.model.rater import SpeechRater
from lalia.model.saved_rater import find_rater
from lalia.processes import Processes
from lalia.progress import Progress
from lalia.training.reader import InputReader, RatedInputs, open_reader

logger = logging.getLogger(__name__)


def predict(
    rater: SpeechRater,
    recordings: pd.DataFrame,
    *,
    batch_seconds: float = 120.0,
    workers: int = 0,
    device: str | torch.device | None = None,
    reader: InputReader | None = None,
    progress: Progress | None = None,
    processes: Processes | None = None,
    title: str = "scoring",
) -> pd.DataFrame:
    """Return the scores of recordings, each of which depends on its recording alone.

    Args:
        rater: is left in the mode, train or eval, that it is in.
        recordings: columns ``recording`` (an id) and ``path``; with ``duration_seconds`` (of ``scan_recordings``) the
            files are decoded once, without it twice. Its ``sha256`` too is needed to take from a store.
        batch_seconds: the most audio in a batch, padding included, unless one recording alone has more.
        workers: processes that read audio ahead; 0 reads in a thread of this one.
        device: where to compute; the rater moves there. None computes where the rater is.
        reader: of this rater; with a store, what is in it is not computed again and what is not is put there.
        progress: is advanced by each recording.
        processes: which share the recordings, and all get the scores of all; None: this one is alone.
        title: of the stage, for ``progress``.

    Returns:
        A row per recording, in the order given, and trait: ``recording``, ``trait``, ``score`` (in units of the scale;
        of a binary head the probability), ``level`` (NaN from a binary head) and ``probability`` of presence;
        ``abstains``, where nothing is to be decided, if the rater has that for any trait; and ``p_ge_LEVEL``, the
        probability of reaching each level that the head tells of, before any calibration.

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
        # a CPU gains nothing from batches, and padding costs
        batch_seconds=0.0 if rater.encoder.device.type == "cpu" else batch_seconds,
        seed=0,
        shuffle=False,
        preprocessing=rater.preprocessing,
    )
    reader = reader or InputReader(rater, workers=workers)
    reader.fill(dataset, progress)
    progress.start(title, len(recordings))
    rater.windows_at_once = max(1, int(batch_seconds // rater.preprocessing.window_seconds))
    processes = processes or Processes()
    scored = processes.collect(
        processes.together(lambda: _score(rater, reader.read(dataset, processes.deal(batches)), progress))
    )
    told = rater.head.told_levels
    # score, level, probability and those of reaching levels, of each recording and trait
    found = np.full((3 + len(told), len(recordings), len(rater.traits)), np.nan)
    for rows, values in scored:
        found[:, rows.numpy()] = values.numpy()
    table = pd.DataFrame(
        {
            "recording": np.repeat(recordings["recording"].to_numpy(), len(rater.traits)),
            "trait": np.tile(np.array(rater.traits), len(recordings)),
            "score": found[0].ravel(),
            "level": found[1].ravel(),
            "probability": found[2].ravel(),
        }
    )
    if rater.abstentions:
        table["abstains"] = rater.abstains(torch.from_numpy(found[2])).numpy().ravel()
    return table.assign(**{reach_column(level): found[3 + place].ravel() for place, level in enumerate(told)})


def predict_files(
    run: str | Path,
    recordings: pd.DataFrame,
    out: str | Path,
    *,
    format: PredictionFormat | None = None,
    limits: Limits = Limits(),  # noqa: B008
    progress: Progress | None = None,
) -> dict[str, str]:
    """Rate recordings with a saved rater and write the scores.

    Args:
        run: the folder of a run, or of a saved rater; of all folds, the mean of their raters is written.
        recordings: columns ``recording`` and ``path``.
        out: the file or folder to write; it appears complete or not at all.
        format: of what is written; None goes by the name of ``out``.
        limits: what the files may be. Those of the run do not count: it may be a stranger's.
        progress: is told of each recording.

    Returns:
        What is wrong with the recordings that could not be rated, by their id; the file holds the others.

    Raises:
        RaterError: if there is no rater in the folder.
        AudioError: if none of the recordings can be rated.
    """
    progress = progress or Progress()
    problems: dict[str, str] = {}
    tables = []
    scan = _Scan()
    for member in find_members(Path(run)):
        rater = load_rater(member).to("cuda" if torch.cuda.is_available() else "cpu")
        rater.preprocessing = replace(rater.preprocessing, limits=limits)
        scanned = scan.of(rater, recordings, progress)
        bad = scanned[scanned["problem"] != ""]
        if len(bad) == len(recordings):
            raise AudioError(f"None of the recordings can be rated: {_list_problems(bad)}.")
        problems |= dict(zip(bad["recording"], bad["problem"], strict=True))
        usable = recordings.assign(**{column: scanned[column].to_numpy() for column in ("duration_seconds", "sha256")})
        usable = usable[~usable["recording"].isin(problems)]
        reader = _reader_of_run(member, rater)
        tables.append(predict(rater, usable, reader=reader, progress=progress, title="rating"))
    tables = [table[~table["recording"].isin(problems)].reset_index(drop=True) for table in tables]
    write_predictions(average_scores(tables, rater.scale), out, format)
    return problems


class _Scan:
    """What is measured of recordings, once for all raters that read them alike."""

    def __init__(self) -> None:
        self._known: dict[object, pd.DataFrame] = {}

    def of(self, rater: SpeechRater, recordings: pd.DataFrame, progress: Progress) -> pd.DataFrame:
        """Return the columns of ``scan_recordings``."""
        key = (rater.preprocessing, rater.encoder.min_samples)
        if key not in self._known:
            progress.start("reading recordings", len(recordings))
            self._known[key] = _scan(rater, recordings, progress)
        return self._known[key]


@torch.inference_mode()
def _score(rater: SpeechRater, batches: Iterable[RatedInputs], progress: Progress) -> list[tuple[Tensor, Tensor]]:
    """Return the rows of each batch with their numbers, shape (3 + told levels, recordings, traits)."""
    scored = []
    was_training = rater.training
    rater.eval()
    try:
        for batch in batches:
            raw = rater(batch.inputs.to(rater.encoder.device))
            scored.append((batch.rows, torch.stack([*rater.decode(raw), *rater.head.reach(raw).unbind(dim=-1)]).cpu()))
            for _ in range(batch.n_recordings):
                progress.advance()
    finally:
        rater.train(was_training)
    return scored


def _measure(rater: SpeechRater, recordings: pd.DataFrame) -> pd.DataFrame:
    scan = _scan(rater, recordings, Progress())
    bad = scan[scan["problem"] != ""]
    if len(bad):
        raise AudioError(f"Recordings cannot be rated: {_list_problems(bad)}. Leave them out.")
    return recordings.assign(**{column: scan[column].to_numpy() for column in ("duration_seconds", "sha256")})


def _reader_of_run(run: str | Path, rater: SpeechRater) -> InputReader:
    """Return a reader with the store of the run that a rater lies in; without one where it lies elsewhere.

    The run may come from another machine, where its store was in another place.
    """
    settings = find_rater(Path(run)).parent / "config.yaml"
    if not settings.is_file():
        return InputReader(rater)
    try:
        return open_reader(rater, load_config(settings).cache)
    except (CacheError, ConfigError) as error:
        logger.warning("%s Everything is computed.", error)
        return InputReader(rater)


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
