"""Short clips of recordings for the page: the first seconds, as MP3 in the page itself."""

import base64
import hashlib
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import soundfile
import soxr

from lalia.csv_files import read_csv
from lalia.data.audio import read_audio
from lalia.data.decoding import Waveform
from lalia.data.storage import local_file
from lalia.data.table import read_table
from lalia.errors import DataError
from lalia.report.contents import Contents
from lalia.report.tables import format_number

logger = logging.getLogger(__name__)

CLIP_SECONDS = 10.0
MOST_CLIPS = 10
# MP3 knows few rates; these keep what a voice has
_RATES_HZ = (8000, 16000, 24000)


@dataclass(frozen=True)
class Clip:
    """A recording that can be heard.

    Attributes:
        name: of the recording, id or hash.
        source: its first seconds as a data URL; empty where it cannot be heard.
        seconds: how long it is.
        reason: why it cannot be heard, or empty.
        said: what raters and model said of it, one sentence per trait.
    """

    name: str
    source: str
    seconds: float
    reason: str
    said: tuple[str, ...]


def read_clips(folder: Path, contents: Contents, rows: pd.DataFrame) -> list[Clip]:
    """Return the first recordings of a table of disagreements to be heard.

    Args:
        folder: of the run; a file that is not the one that the run scored, by ``data.csv`` in it, is left out.
        contents: of the run.
        rows: of ``Contents.disagreements``, the largest first.
    """
    chosen = list(dict.fromkeys(rows["recording"]))[:MOST_CLIPS]
    try:
        table = read_table(contents.settings.data, seed=contents.settings.seed)
    except (DataError, OSError) as cause:
        # not on the page: the reason names places
        logger.warning("The report has no audio: %s", cause)
        return [_clip(rows, recording, "", 0.0, "the recordings are not where they were") for recording in chosen]
    paths = dict(zip(table.recordings["recording"], table.recordings["path"], strict=True))
    hashes = _read_hashes(folder / "data.csv")
    return [_cut(rows, recording, paths.get(recording), hashes) for recording in chosen]


def encode_clip(waveform: Waveform, rate_hz: int, *, seconds: float = CLIP_SECONDS) -> tuple[str, float]:
    """Return the first seconds of a waveform as a data URL of an MP3, and how long they are.

    Ogg would do too, but libsndfile gives its streams a random number, and not every browser plays it.

    Args:
        waveform: mono, shape (samples,).
        rate_hz: of the waveform; more than 24 kHz is resampled.
        seconds: the longest clip.
    """
    start = waveform[: round(seconds * rate_hz)]
    target_hz = max((rate for rate in _RATES_HZ if rate <= rate_hz), default=_RATES_HZ[0])
    samples = start if target_hz == rate_hz else soxr.resample(start, rate_hz, target_hz)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples.clip(-1.0, 1.0), target_hz, format="MP3", subtype="MPEG_LAYER_III")
    return f"data:audio/mpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}", len(start) / rate_hz


def _cut(rows: pd.DataFrame, recording: str, path: str | None, hashes: Mapping[str, str]) -> Clip:
    if path is None:
        return _clip(rows, recording, "", 0.0, "the recording is not where it was")
    try:
        content = local_file(path).read_bytes()
        if recording in hashes and hashlib.sha256(content).hexdigest() != hashes[recording]:
            return _clip(rows, recording, "", 0.0, "the file is not the one that the run scored")
        source, seconds = encode_clip(*read_audio(path))
    except (DataError, OSError, soundfile.SoundFileError, ValueError):
        return _clip(rows, recording, "", 0.0, "the recording cannot be read, or MP3 not be written")
    return _clip(rows, recording, source, seconds, "")


def _clip(rows: pd.DataFrame, recording: str, source: str, seconds: float, reason: str) -> Clip:
    found = rows[rows["recording"] == recording]
    said = tuple(
        f"{trait}: rated {format_number(rating)}, model {format_number(answer)}"
        for trait, rating, answer in zip(found["trait"], found["rating"], found["answer"], strict=True)
    )
    return Clip(str(found["name"].iloc[0]), source, seconds, reason, said)


def _read_hashes(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    table = read_csv(path)
    return dict(zip(table["recording"], table["sha256"], strict=True))
