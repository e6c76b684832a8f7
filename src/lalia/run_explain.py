"""What a finished run has learned, from its folder to the files in ``explain/``."""

import hashlib
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import torch

from lalia.build import build_base, load_rater
from lalia.csv_files import read_csv
from lalia.data.audio import load_waveform
from lalia.data.decoding import Waveform
from lalia.data.storage import local_file
from lalia.data.table import read_table
from lalia.errors import EncoderError, ModelError, RunError
from lalia.evaluation.explain.edited import compare_edits
from lalia.evaluation.explain.edits import EDITS
from lalia.evaluation.explain.occlusion import occlude_bands, occlude_time, score_waveforms
from lalia.evaluation.explain.picture import make_spectrogram
from lalia.evaluation.explain.weight_change import compare_weights
from lalia.files import json_text, replacing_folder
from lalia.model.layer_mix import WeightedDepths
from lalia.model.rater import SpeechRater
from lalia.progress import Progress
from lalia.report.contents import Contents, read_contents
from lalia.report.explained import EXPLAIN_FOLDER
from lalia.run_folder import read_run
from lalia.settings import RunSettings

N_EACH: Final = 3
"""How many recordings of largest disagreement, and how many of close agreement, are looked at."""
N_EDITED: Final = 12
LONGEST_SECONDS: Final = 120.0
"""A longer recording is passed over: its scores would take too long to compute again and again."""

_MOST_PASSED_OVER = 100


class Chosen(NamedTuple):
    """A recording to look at, and for which trait."""

    recording: str
    trait: str
    why: str
    """``disagreement`` or ``agreement``."""
    rating: float
    answer: float
    """The score, of a binary head the probability."""


def explain_run(run: str | Path, progress: Progress | None = None) -> Path:
    """Compute what a finished run has learned and write it into ``explain/`` in its folder.

    ``explain.json`` holds the weights of the layer mix, how far each depth of the encoder moved in training, how edits
    of recordings move the scores, and which recordings were looked at; ``recording-<n>.npz`` holds of each its
    spectrogram, attention over time and what silenced stretches and bands do.

    Args:
        run: the folder.
        progress: is told what happens.

    Returns:
        The folder ``explain``.

    Raises:
        RunError: if the run has not finished, or a recording is not the one that it was trained with.
        LaliaError: if the rater, the table or a recording cannot be read.
    """
    progress = progress or Progress()
    folder, settings, _ = read_run(run)
    contents = read_contents(folder)
    rater = load_rater(folder).to("cuda" if torch.cuda.is_available() else "cpu").eval()
    notes: list[str] = []
    waveforms = _Waveforms(folder, settings, rater)
    chosen = choose_recordings(contents, waveforms)
    edited = _choose_edited(contents, waveforms)
    if not chosen:
        notes.append(f"No rated recording of the {contents.part} part is at most {LONGEST_SECONDS:g} s long.")
    progress.start("looking at recordings", len(chosen) + len(EDITS))
    with replacing_folder(folder / EXPLAIN_FOLDER) as temporary:
        for number, each in enumerate(chosen, start=1):
            arrays = _look_at(rater, waveforms.load(each.recording))
            np.savez_compressed(temporary / f"recording-{number}.npz", allow_pickle=False, **arrays)
            progress.advance()
        rows = _edit(rater, edited, waveforms, settings.seed, progress)
        found = {
            "part": contents.part,
            "traits": list(rater.traits),
            "recordings": [each._asdict() for each in chosen],
            "edited": len(edited),
            "edits": rows,
            "layer_weights": _layer_weights(rater),
            "weight_change": _weight_change(rater, settings, notes),
            "notes": notes,
        }
        (temporary / "explain.json").write_text(json_text(found), encoding="utf-8")
    return folder / EXPLAIN_FOLDER


class _Waveforms:
    """The recordings of a run, read when asked for."""

    def __init__(self, folder: Path, settings: RunSettings, rater: SpeechRater) -> None:
        table = read_table(settings.data, seed=settings.seed).recordings
        self.paths: dict[str, str] = dict(zip(table["recording"], table["path"], strict=True))
        self.preprocessing = rater.preprocessing
        hashes = folder / "data.csv"
        known = read_csv(hashes) if hashes.is_file() else None
        self._known = {} if known is None else dict(zip(known["recording"], known["sha256"], strict=True))
        self._loaded: dict[str, Waveform] = {}
        self._long: set[str] = set()

    def load(self, recording: str) -> Waveform:
        """Return a recording as the rater takes it, and check that it is the one the run was trained with."""
        if recording not in self._loaded:
            if recording not in self.paths:
                raise RunError(f"The table of the run has no recording '{recording}' any more. Train a new run.")
            path = local_file(self.paths[recording])
            waveform = load_waveform(path, self.preprocessing)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if self._known.get(recording, digest) != digest:
                raise RunError(f"The audio of '{recording}' is not what the run was trained with. Train a new run.")
            self._loaded[recording] = waveform
        return self._loaded[recording]

    def is_short_enough(self, recording: str) -> bool:
        """Return whether a recording can be scored again and again; after many that cannot, no more are read."""
        if recording in self._long or len(self._long) == _MOST_PASSED_OVER:
            return False
        if len(self.load(recording)) <= LONGEST_SECONDS * self.preprocessing.rate_hz:
            return True
        del self._loaded[recording]
        self._long.add(recording)
        return False


def choose_recordings(contents: Contents, waveforms: Any) -> list[Chosen]:
    """Return the recordings where model and raters are farthest apart, then some where they agree, each once.

    Those of close agreement are chosen among the recordings where the raters found the trait, as far as there are any.

    Args:
        contents: of the run.
        waveforms: says by ``is_short_enough`` which recordings can be looked at.
    """
    rows = contents.disagreements(most=len(contents.predictions))
    rows["far"] = rows["difference"].abs()
    present = contents.scale.is_present(rows["rating"]) == 1
    orders = {
        "disagreement": rows.sort_values("far", ascending=False, kind="stable"),
        "agreement": rows.assign(absent=~present).sort_values(["absent", "far"], kind="stable"),
    }
    taken: set[str] = set()
    chosen = []
    for why, order in orders.items():
        left = N_EACH
        for row in order.to_dict("records"):
            recording = str(row["recording"])
            if recording in taken or not waveforms.is_short_enough(recording):
                continue
            chosen.append(Chosen(recording, str(row["trait"]), why, float(row["rating"]), float(row["answer"])))
            taken.add(recording)
            left -= 1
            if not left:
                break
    return chosen


def _choose_edited(contents: Contents, waveforms: _Waveforms) -> pd.DataFrame:
    """Return recordings of the headline part, one of each speaker before a second of any, in no order of theirs."""
    rows = contents.predictions[contents.predictions["part"] == contents.part]
    rows = rows.drop_duplicates("recording")[["recording", "speaker"]]
    rows = rows.assign(key=[hashlib.sha256(each.encode()).hexdigest() for each in rows["recording"]]).sort_values("key")
    rows = rows.assign(turn=rows.groupby("speaker").cumcount()).sort_values(["turn", "key"])
    kept: list[Any] = []
    for row in rows.itertuples():
        if len(kept) == N_EDITED:
            break
        if waveforms.is_short_enough(str(row.recording)):
            kept.append(row.Index)
    return rows.loc[kept]


def _look_at(rater: SpeechRater, waveform: Waveform) -> dict[str, Any]:
    """Return all that is drawn of one recording, as arrays."""
    picture = make_spectrogram(waveform, rater.preprocessing.rate_hz)
    score = score_waveforms(rater, [waveform])[0]
    time, bands = occlude_time(rater, waveform, score), occlude_bands(rater, waveform, score)
    arrays: dict[str, Any] = {
        "level_db": picture.level_db.astype(np.float16),
        "seconds": np.array(picture.seconds),
        "middles_hz": picture.middles_hz,
        "score": score,
        "stretches_seconds": time.bounds,
        "stretches_change": time.change,
        "bands_hz": bands.bounds,
        "bands_change": bands.change,
    }
    if rater.learns_frame_weights:
        weights, seconds = rater.attention(waveform)
        arrays |= {"attention": weights.mean(dim=1).numpy(), "attention_seconds": seconds.numpy()}
    return arrays


def _edit(
    rater: SpeechRater, chosen: pd.DataFrame, waveforms: _Waveforms, seed: int, progress: Progress
) -> list[dict[str, Any]]:
    if not len(chosen):
        return []
    loaded = [waveforms.load(recording) for recording in chosen["recording"]]
    rows = []
    for number, row in enumerate(compare_edits(rater, loaded, list(chosen["speaker"]), seed), start=1):
        rows.append(row)
        if number % len(rater.traits) == 0:
            progress.advance()
    return rows


def _layer_weights(rater: SpeechRater) -> list[float] | None:
    mix = rater.layer_mix
    return [float(weight) for weight in mix.weights] if isinstance(mix, WeightedDepths) else None


def _weight_change(rater: SpeechRater, settings: RunSettings, notes: list[str]) -> list[dict[str, Any]] | None:
    """Fold the adapters in, and compare with the encoder that the run began with; None where it cannot be had."""
    try:
        before = build_base(settings)
        if rater.encoder.prompt is None:
            rater.merge()
        return [each._asdict() for each in compare_weights(rater.encoder, before)]
    except (EncoderError, ModelError) as error:
        notes.append(f"The weights cannot be compared with those before training. {error}")
        return None
