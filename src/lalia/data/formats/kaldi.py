"""A Kaldi data folder: wav.scp, utt2spk, segments, spk2gender, text, and a file for each thing that is known."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from lalia.data.formats.folder_table import PLACE_COLUMN, FolderTable, audio_folder, inside, name_recordings, to_cells
from lalia.data.formats.segments import SegmentFinder
from lalia.errors import TableError, list_some
from lalia.limits import Limits
from lalia.settings import DataSettings

# what a folder holds besides, made from the rest or of another kind
_PASSED_OVER = frozenset(["spk2utt", "feats.scp", "cmvn.scp", "vad.scp", "frame_shift", "utt2num_frames", "utt2dur"])
_FILE_NAME = re.compile(r"(?:utt2|spk2)?(?P<column>[A-Za-z][\w-]*)(?:\.txt)?", re.ASCII)
_COLUMNS = {"spk": "speaker"}
_ARCHIVE = re.compile(r"\.ark:\d+(\[.*\])?$")


def read_kaldi(folder: Path, data: DataSettings, limits: Limits) -> FolderTable:
    """Return the utterances of a data folder.

    The columns are recording (the utterance), speaker (of utt2spk; without it each utterance is a speaker, as in
    Kaldi), gender (of spk2gender), text, and one for each other file of the folder whose lines are an utterance, or
    with ``spk2`` a speaker, and a value: ``breathy``, ``utt2breathy``, ``spk2age``.

    Paths in wav.scp are relative to ``data.audio_dir`` or lie in it. With a file segments a recording is the stretch
    that it names.

    Raises:
        TableError: if a file is not what Kaldi writes, or wav.scp names a command: nothing of a data folder is run.
    """
    audio_dir = audio_folder(folder, data)
    files = _read_wav_scp(folder / "wav.scp", audio_dir)
    segments = _read_segments(folder / "segments", files) if (folder / "segments").is_file() else None
    utterances = list(files) if segments is None else list(segments)
    speaker_of = dict(_lines(folder / "utt2spk")) if (folder / "utt2spk").is_file() else {}
    if speaker_of:
        lacking = [utterance for utterance in utterances if utterance not in speaker_of]
        if lacking:
            raise TableError(f"utt2spk lacks {len(lacking)} utterances of the folder: {list_some(lacking)}. Add them.")
    speakers = [speaker_of.get(utterance, utterance) for utterance in utterances]
    places = [files[utterance if segments is None else segments[utterance][0]] for utterance in utterances]
    columns = {"speaker": speakers, PLACE_COLUMN: places}
    for file in sorted(folder.iterdir()):
        match = _FILE_NAME.fullmatch(file.name)
        if match and file.name not in {*_PASSED_OVER, "utt2spk", "segments"} and file.is_file():
            name = _COLUMNS.get(match["column"], match["column"])
            keys = speakers if file.name.startswith("spk2") else utterances
            column = _read_column(file, keys)
            if column is not None and name in columns:
                raise TableError(f"{folder.name}: two files are of '{name}'. Keep one of them.")
            if column is not None:
                columns[name] = column
    cells = to_cells(columns)
    cells = name_recordings(cells, pd.Series(utterances, index=cells.index, dtype=object), data)
    if segments is None:
        return FolderTable(cells)
    return FolderTable(cells, SegmentFinder([segments[utterance][1:] for utterance in utterances], limits))


def _read_wav_scp(path: Path, audio_dir: str | Path) -> dict[str, str]:
    files: dict[str, str] = {}
    for number, (name, place) in enumerate(_lines(path), start=1):
        if place.endswith("|") or place.startswith("|"):
            raise TableError(
                f"wav.scp, line {number}: '{name}' is a command ({place:.60}), and lalia runs none. Run it yourself and"
                " name the file that it writes."
            )
        if place == "-" or _ARCHIVE.search(place):
            raise TableError(
                f"wav.scp, line {number}: '{name}' lies in an archive or a pipe ({place:.60}). Write it to a file of"
                " its own (wav-copy does) and name that."
            )
        if not place:
            raise TableError(f"wav.scp, line {number}: '{name}' has no file.")
        files[name] = inside(place, audio_dir, f"wav.scp, line {number}")
    if not files:
        raise TableError("wav.scp is empty.")
    return files


def _read_segments(path: Path, files: dict[str, str]) -> dict[str, tuple[str, float, float | None]]:
    """Return recording, start and end of each utterance in seconds; no end is that of the recording."""
    segments = {}
    for number, (name, rest) in enumerate(_lines(path), start=1):
        words = rest.split()
        try:
            recording, start, end = words[0], float(words[1]), float(words[2])
        except (IndexError, ValueError) as cause:
            raise TableError(
                f"segments, line {number}: expected an utterance, a recording, start and end in seconds."
            ) from cause
        if recording not in files:
            raise TableError(f"segments, line {number}: '{recording}' is not in wav.scp.")
        # Kaldi's -1 is the end of the recording
        if not start >= 0 or not (end > start or end == -1):
            raise TableError(f"segments, line {number}: '{name}' goes from {start:g} s to {end:g} s.")
        segments[name] = (recording, start, None if end == -1 else end)
    if not segments:
        raise TableError("segments is empty.")
    return segments


def _read_column(file: Path, keys: list[str]) -> list[str] | None:
    """Return a value for each key, empty where the file has none; None if the file is of other things."""
    try:
        value_of = dict(_lines(file))
    except TableError:
        return None
    if not value_of.keys() & set(keys):
        return None
    return [value_of.get(key, "") for key in keys]


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the first word of each line and the rest.

    Raises:
        TableError: if the file is not text, or a word begins two lines.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise TableError(f"{path.name} cannot be read as UTF-8 text: {cause}.") from cause
    if "\0" in text:
        raise TableError(f"{path.name} is not text: it contains NUL characters.")
    seen = set()
    # not splitlines: a transcript may hold what Unicode calls a line's end
    for line in text.split("\n"):
        name, *rest = line.split(maxsplit=1) or [""]
        if name in seen:
            raise TableError(f"{path.name}: two lines begin with '{name}'. Keep one (utils/fix_data_dir.sh does).")
        if name:
            seen.add(name)
            yield name, rest[0].strip() if rest else ""
