"""An audit from the settings of a run to its files: one reading of the recordings, all checks, tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from lalia.build import build_rater
from lalia.config import load_config
from lalia.csv_files import write_csv
from lalia.data.decoding import Decoded
from lalia.data.few_speakers import warn_of_few_speakers
from lalia.data.fingerprint import fingerprint
from lalia.data.log_mel import measure_log_mel
from lalia.data.quality import measure_quality
from lalia.data.splits import read_given_parts, split_speakers
from lalia.data.table import RecordingTable, read_table
from lalia.errors import SplitError
from lalia.evaluation.audit.confounds import probe_confounds
from lalia.evaluation.audit.duplicates import find_duplicates
from lalia.evaluation.audit.identity import measure_identity_confound
from lalia.evaluation.audit.leakage import find_shared_speakers, place_duplicates
from lalia.evaluation.audit.learning_curve import learning_curve
from lalia.evaluation.audit.nuisances import read_nuisances
from lalia.evaluation.audit.quality_differences import compare_quality
from lalia.evaluation.audit.result import QUALITY_TABLE, Audit
from lalia.evaluation.audit.subgroups import evaluate_subgroups, group_recordings
from lalia.evaluation.audit.vectors import RecordingVectors, acoustic_vectors, read_cached_vectors
from lalia.evaluation.audit.voices import find_like_voices
from lalia.evaluation.predictions import read_predictions
from lalia.files import make_private, write_json
from lalia.model.rater import SpeechRater
from lalia.places import is_url
from lalia.prepare import add_audio
from lalia.progress import Progress
from lalia.run_folder import read_run
from lalia.run_probe import keep_encoder
from lalia.settings import ColumnSplit, RunSettings
from lalia.training.cache import open_store
from lalia.training.pooled import pooled_depths


def run_audit(settings: RunSettings, out: str | Path | None = None, progress: Progress | None = None) -> Audit:
    """Audit the data of a run, and write ``audit.json`` and a CSV for each table. Nothing is trained.

    A split by a column or a file that puts a speaker into two parts, which every other command refuses, is audited.

    Args:
        settings: of the run; how it adapts the encoder, pools and trains does not matter here.
        out: the folder of the files; None takes ``<name>-audit`` beside the run folders.
        progress: is told what happens.

    Raises:
        LaliaError: if a user has to mend something.
    """
    progress = progress or Progress()
    part_column = settings.split.column if isinstance(settings.split, ColumnSplit) else None
    table = read_table(settings.data, part_column=part_column, seed=settings.seed)
    plain = settings.model_copy(update={"model": keep_encoder(settings.model)})
    rater = build_rater(plain, table.traits, table.raters)
    table = add_audio(table, rater, unreadable=settings.data.unreadable, progress=progress, describe=_describe)
    audit = audit_table(table, _find_parts(table, settings), settings, rater=rater, progress=progress)
    _write(audit, audit_folder(settings, out))
    return audit


def audit_table(
    table: RecordingTable,
    parts: pd.DataFrame,
    settings: RunSettings,
    *,
    rater: SpeechRater,
    progress: Progress | None = None,
) -> Audit:
    """Audit recordings that have been read; see ``run_audit``.

    Args:
        table: with what ``add_audio`` adds when it measures all that an audit needs.
        parts: columns recording, speaker, part.
        settings: of the run.
        rater: its encoder and preprocessing are looked at.
        progress: is told what happens.
    """
    progress = progress or Progress()
    seed, folds = settings.seed, settings.audit.folds
    progress.start("checks", 6)
    recordings = table.recordings
    of_recording = parts.set_index("recording")["part"].reindex(recordings["recording"]).fillna("").tolist()
    quality = recordings.assign(part=of_recording)[list(QUALITY_TABLE)]
    differences = compare_quality(table, of_recording, seed=seed)
    progress.advance()
    prints = list(recordings["fingerprint"])
    duplicates = find_duplicates(list(recordings["recording"]), list(recordings["sha256"]), prints)
    progress.advance()
    nuisances = read_nuisances(table)
    confounds = probe_confounds(table, nuisances, covariates=table.covariates, folds=folds, seed=seed)
    progress.advance()
    vectors = _find_vectors(table, settings, rater, progress)
    notes = []
    like_voices = find_like_voices(vectors.values, list(recordings["speaker"]))
    if not vectors.is_encoded:
        like_voices = like_voices.iloc[:0]
        notes.append(
            "Voices were not compared, and the learning curve and the identity confound are those of log-mel "
            "statistics: the cache lacks the encoder's pooled vectors of some recordings. Set audit.encode to true to "
            "compute them."
        )
    progress.advance()
    identity = {trait: measure_identity_confound(vectors.values, table, trait, seed=seed) for trait in table.traits}
    progress.advance()
    curve = learning_curve(vectors.values, table, folds=folds, seed=seed)
    progress.advance()
    known = recordings[["recording", "speaker"]].assign(part=of_recording)
    return Audit(
        quality=quality,
        differences=differences,
        shared_speakers=find_shared_speakers(parts),
        duplicates=place_duplicates(duplicates, known),
        like_voices=like_voices,
        confounds=confounds,
        left_out=nuisances.left_out,
        identity=identity,
        curve=curve,
        vectors=vectors.source,
        few_speakers=warn_of_few_speakers(table, settings.audit.min_speakers),
        notes=tuple(notes),
    )


def audit_run(run: str | Path, overrides: Sequence[str] = ()) -> pd.DataFrame:
    """Evaluate a finished run in each group of speakers, and write ``subgroups.csv`` and ``subgroups.json``.

    The files go into the run's folder ``audit``, not into ``metrics.json``: they need the predictions alone, can be
    made anew for other covariates, and numbers of small groups should not leave with a run's metrics unasked.

    Args:
        run: its folder.
        overrides: settings to change, such as ``data.covariates=[sex]``; the run's own stay as they are.

    Raises:
        RunError: if the run has not finished, or its predictions are not there.
    """
    folder, _, manifest = read_run(run)
    settings = load_config(folder / "config.yaml", overrides)
    predictions = read_predictions(folder)
    part_column = settings.split.column if isinstance(settings.split, ColumnSplit) else None
    table = read_table(settings.data, part_column=part_column, seed=settings.seed)
    thresholds = {trait: float(found["value"]) for trait, found in manifest["thresholds"].items()}
    groups = group_recordings(table)
    found = evaluate_subgroups(
        predictions,
        groups,
        table.scale,
        thresholds,
        min_speakers=settings.audit.min_speakers,
        seed=settings.seed,
    )
    write_csv(found, folder / "audit" / "subgroups.csv")
    rows = found.astype(object).where(found.notna(), None).to_dict("records")
    write_json(folder / "audit" / "subgroups.json", {"min_speakers": settings.audit.min_speakers, "groups": rows})
    return found


def audit_folder(settings: RunSettings, out: str | Path | None) -> Path:
    """Return where the files of an audit go."""
    runs = Path("runs" if is_url(settings.runs) else settings.runs)
    return runs / f"{settings.name}-audit" if out is None else Path(out)


def _describe(decoded: Decoded) -> Mapping[str, object]:
    """Measure all that an audit needs of a file while it is decoded."""
    return {
        **measure_quality(decoded),
        **measure_log_mel(decoded),
        "fingerprint": fingerprint(decoded.waveform, decoded.rate_hz),
    }


def _find_parts(table: RecordingTable, settings: RunSettings) -> pd.DataFrame:
    """Return the parts of a run, those of a column or a file also where a speaker is in two of them."""
    try:
        return split_speakers(table, settings.split, settings.seed).parts
    except SplitError:
        given = read_given_parts(table, settings.split)
        if find_shared_speakers(given).empty:
            raise
        return given


def _find_vectors(
    table: RecordingTable, settings: RunSettings, rater: SpeechRater, progress: Progress
) -> RecordingVectors:
    if settings.cache.max_gb == 0 and not settings.audit.encode:
        return acoustic_vectors(table)
    store = open_store(settings.cache)
    if settings.audit.encode:
        encoder = rater.encoder.to("cuda" if torch.cuda.is_available() else "cpu")
        depth = encoder.n_blocks // 2
        pooled = pooled_depths(
            encoder, table, rater.preprocessing, store=store, statistics=("mean",), progress=progress
        )
        place = pooled.depths.index(depth)
        return RecordingVectors(pooled.vectors["mean"][:, place], f"{encoder.source.name}, depth {depth}", True)
    cached = read_cached_vectors(rater.encoder, table, rater.preprocessing, store)
    return acoustic_vectors(table) if cached is None else cached


def _write(audit: Audit, folder: Path) -> None:
    """Write what an audit found: each file appears complete or not at all."""
    make_private(folder)
    for name, table in audit.tables.items():
        write_csv(table, folder / f"{name}.csv")
    write_json(folder / "audit.json", audit.to_json())
