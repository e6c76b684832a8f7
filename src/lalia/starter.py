"""A first ``run.yaml`` for a metadata table: a guess to be read and mended, with a comment on each choice."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from lalia.data.formats.folder_table import PLACE_COLUMN
from lalia.data.formats.recognise import open_source, recognise_other
from lalia.data.inputs import TABLE_EXTENSIONS
from lalia.data.layout import AUDIO_EXTENSIONS, is_audio
from lalia.data.table import read_cells
from lalia.errors import RunError, TableError
from lalia.files import write_text
from lalia.settings import DataSettings

RECORDING_NAMES = ("recording", "id", "recording_id", "utt", "utterance", "file", "filename", "path", "audio")
SPEAKER_NAMES = ("speaker", "speaker_id", "participant", "participant_id", "subject", "subject_id", "patient")
COVARIATE_NAMES = ("age", "sex", "gender", "site", "group", "diagnosis", "language")
AUDIO_FOLDERS = ("", "audio", "recordings", "wav", "wavs", "clips")
RATER_COLUMN = re.compile(r"^(?P<trait>.+)_r(?P<rater>[^_]+)$")


@dataclass(frozen=True)
class Guess:
    """What a table seems to hold."""

    recording: str
    speaker: str
    date: str | None
    task: str | None
    covariates: tuple[str, ...]
    traits: tuple[str, ...]
    raters: str | None
    levels: tuple[float, ...]
    missing: tuple[float, ...]
    layout: str
    audio_dir: str
    extension: str


def write_starter(folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write ``run.yaml`` beside the metadata table of a folder, with guesses to check.

    A folder that another tool wrote (docs/data_formats.md) is its own table.

    Raises:
        TableError: if the folder has no metadata table, or several.
        RunError: if ``run.yaml`` exists already.
    """
    folder = Path(folder)
    metadata = folder if folder.is_dir() and recognise_other(folder) else _find_metadata(folder)
    target = folder / "run.yaml"
    if target.exists() and not overwrite:
        raise RunError(f"'{target}' exists already. Give --overwrite to write it anew.")
    named = "." if metadata == folder else metadata.name
    write_text(target, _render(named, guess_settings(metadata)))
    return target


def guess_settings(metadata: Path) -> Guess:
    """Guess what the columns of a table are, from their names and cells."""
    if metadata.is_dir():
        cells = open_source(DataSettings(metadata=str(metadata))).cells.drop(columns=PLACE_COLUMN)
    else:
        cells = read_cells(metadata)
    names = [str(name) for name in cells]
    recording = _first_named(names, RECORDING_NAMES) or names[0]
    speaker = _first_named(names, SPEAKER_NAMES) or "speaker"
    date, task = _first_named(names, ("date",)), _first_named(names, ("task",))
    covariates = tuple(name for name in names if name.lower() in COVARIATE_NAMES)
    others = [name for name in names if name not in {recording, speaker, date, task, *covariates}]
    rated = {name: found for name in others if (found := _scale_values(cells[name]))}
    matches = [match for name in rated if (match := RATER_COLUMN.match(name))]
    if matches:
        rated = {match[0]: rated[match[0]] for match in matches}
    traits = tuple(dict.fromkeys(match["trait"] for match in matches)) or tuple(rated)
    codes = sorted(set[float]().union(*rated.values()))
    lowest = next((code for code in codes if code >= 0), 0.0)
    levels = tuple(float(level) for level in range(int(lowest), int(codes[-1]) + 1)) if codes else ()
    if metadata.is_dir():
        layout, audio_dir, extension = "path", ".", "wav"
    else:
        layout, audio_dir, extension = _find_audio(metadata.parent, cells[recording])
    return Guess(
        recording, speaker, date, task, covariates, traits, "{trait}_r{rater}" if matches else None,
        levels if len(levels) > 1 else (1, 2, 3, 4),
        tuple(code for code in codes if code < 0),
        layout, audio_dir, extension,
    )  # fmt: skip


def _find_metadata(folder: Path) -> Path:
    if not folder.is_dir():
        raise TableError(f"There is no folder '{folder}'.")
    # a spreadsheet program that is open leaves ~$metadata.xlsx beside the table
    files = (file for file in folder.iterdir() if not file.name.startswith(("~", ".")))
    tables = sorted(file for file in files if file.suffix.lower() in TABLE_EXTENSIONS)
    named = [file for file in tables if file.stem == "metadata"]
    if len(named) == 1 or len(tables) == 1:
        return (named or tables)[0]
    found = ", ".join(file.name for file in tables) or "no table at all"
    raise TableError(
        f"'{folder}' needs one table named metadata.csv (or tsv, json, jsonl, parquet, xlsx, ods), found {found}."
    )


def _first_named(columns: Sequence[str], names: Sequence[str]) -> str | None:
    lowered = {column.lower(): column for column in reversed(columns)}
    return next((lowered[name] for name in names if name in lowered), None)


def _scale_values(column: pd.Series) -> set[float]:
    """Return the values of a column that looks like ratings: few, small, whole or half; otherwise nothing."""
    texts = {text.strip() for text in column} - {""}
    try:
        values = {float(text) for text in texts}
    except ValueError:
        return set()
    whole = {value for value in values if value == int(value) and value >= 0} if values else set()
    small = all(-99 <= value <= 10 and (2 * value) == int(2 * value) for value in values)
    return values if small and 2 <= len(whole) <= 11 else set()


def _find_audio(folder: Path, recordings: pd.Series) -> tuple[str, str, str]:
    """Return layout, audio_dir and extension under which the first recording's file is there."""
    first = next((text for text in recordings if text.strip()), "")
    for name in AUDIO_FOLDERS:
        if is_audio(Path(first)) and (folder / name / first).is_file():
            return "path", name or ".", Path(first).suffix.lstrip(".")
        for extension in sorted(AUDIO_EXTENSIONS):
            if (folder / name / f"{first}.{extension}").is_file():
                return "flat", name or ".", extension
            if (folder / name / first / f"waveform.{extension}").is_file():
                return "structured", name or ".", extension.lstrip(".")
    return "flat", ".", "wav"


def _render(metadata: str, guess: Guess) -> str:
    def flow(value: object) -> str:
        text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
        return text.removesuffix("\n").removesuffix("\n...")

    levels, missing = ([int(v) if v == int(v) else v for v in values] for values in (guess.levels, guess.missing))
    columns = {"recording": guess.recording, "speaker": guess.speaker, "date": guess.date, "task": guess.task}
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(metadata).stem).strip("-.") or "run"
    return f"""# Guessed from {metadata}: read every line, then run: lalia check run.yaml
name: {name}
seed: 42
data:
  metadata: {flow(metadata)}
  audio_dir: {flow(guess.audio_dir)}
  layout: {guess.layout}                # flat: <audio_dir>/<id>.<ext>, structured: <id>/waveform.<ext>, path: a column
  extension: {guess.extension}
  columns: {flow({key: value for key, value in columns.items() if value})}
  covariates: {flow(list(guess.covariates))}     # for subgroups, never model input
  traits: {flow(list(guess.traits))}
  scale:
    levels: {flow(levels)}
    present_from: {levels[1]}              # from this level on the trait counts as present
    missing: {flow(missing)}                # codes that mean "not rated"; empty cells always do
    recode: {{}}                 # such as {{1.5: 1}}
  raters: {flow(guess.raters)}
split: {{kind: random, train: 0.7, validation: 0.15, test: 0.15}}
model:
  encoder: microsoft/wavlm-base-plus     # a Hugging Face id or a folder
  layers: weighted
  adapt: {{kind: frozen}}     # or half, full, {{kind: lora, rank: 8}}, ...: docs/adaptation.md
  pooling: {{kind: mean}}
  head: {{kind: ordinal}}
train: {{epochs: 30, batch_seconds: 120, learning_rate: 1.0e-3}}
"""
