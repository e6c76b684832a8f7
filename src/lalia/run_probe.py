"""A probe from the settings of a run to its files: pooled vectors, probes, table, heat map."""

from pathlib import Path
from typing import Any, Final

import pandas as pd
import torch

from lalia.csv_files import write_csv
from lalia.data.table import RecordingTable
from lalia.errors import SplitError
from lalia.evaluation.probe import INNER_FOLDS, PROBE_METRICS, ProbeResult, probe
from lalia.files import make_private, write_json
from lalia.measures.metrics import METRICS
from lalia.places import is_url
from lalia.prepare import Prepared, prepare
from lalia.progress import Progress
from lalia.report.figures import plot_heat_maps
from lalia.report.svg import write_svg
from lalia.settings import ModelSettings, RunSettings
from lalia.training.cache import open_store

SHOWN_METRICS: Final = ("auc", "spearman")
"""Those of the heat map: presence and severity."""


def run_probe(settings: RunSettings, out: str | Path | None = None, progress: Progress | None = None) -> ProbeResult:
    """Probe the encoder of a run as it is loaded, and write ``probe.csv``, ``probe.json`` and ``probe.svg``.

    Args:
        settings: of the run; how it adapts the encoder, pools and trains does not matter here.
        out: the folder of the files; None takes ``<name>-probe`` beside the run folders.
        progress: is told what happens.

    Raises:
        LaliaError: if a user has to mend something.
    """
    progress = progress or Progress()
    prepared = prepare(settings.model_copy(update={"model": keep_encoder(settings.model)}), progress)
    place = settings.model.start_from or settings.model.encoder
    if isinstance(place, str) and (Path(place) / "split.csv").is_file():
        progress.say(
            f"Note: the encoder was trained in '{place}'. Recordings that it was trained on flatter it: probe others,"
            " such as probe.parts=[test] with the same split."
        )
    table = _select_parts(prepared, settings)
    encoder = prepared.rater.encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    result = probe(
        encoder,
        table,
        prepared.rater.preprocessing,
        pooling=settings.probe.pooling,
        folds=settings.probe.folds,
        store=open_store(settings.cache),
        seed=settings.seed,
        progress=progress,
    )
    folder = probe_folder(settings, out)
    source = encoder.source
    described = {
        "encoder": {"name": source.name, "revision": source.revision, "family": source.family},
        "data": prepared.data_hash,
        "split": prepared.split.sha256,
        "settings": settings.probe.model_dump(mode="json") | {"inner_folds": INNER_FOLDS, "seed": settings.seed},
    }
    write_probe(result, folder, described)
    return result


def probe_folder(settings: RunSettings, out: str | Path | None) -> Path:
    """Return where the files of a probe go."""
    runs = Path("runs" if is_url(settings.runs) else settings.runs)
    return runs / f"{settings.name}-probe" if out is None else Path(out)


def write_probe(result: ProbeResult, folder: Path, described: dict[str, Any]) -> None:
    """Write what a probe found: each file appears complete or not at all.

    Args:
        result: of ``probe``.
        folder: is made.
        described: what was probed, put first into ``probe.json``.
    """
    table = result.table
    make_private(folder)
    write_csv(table, folder / "probe.csv")
    write_json(folder / "probe.json", {**described, **result.to_json()})
    titles = {metric.name: metric.title for metric in METRICS}
    maps = {titles[name]: _map_of(table, name) for name in SHOWN_METRICS}
    write_svg(plot_heat_maps(maps, chance={titles["auc"]: 0.5, titles["spearman"]: 0.0}), folder / "probe.svg")


def summarize(result: ProbeResult) -> list[tuple[str, dict[str, dict[str, Any]]]]:
    """Return for each row of the table the means over traits of each metric, as ``probe.json`` has them."""
    return [
        (depth, {name: tree["macro"][name].to_json() for name in PROBE_METRICS})
        for depth, tree in result.estimates.items()
    ]


def keep_encoder(model: ModelSettings) -> ModelSettings:
    """Return the settings of the encoder alone: nothing of it trains, and what a run puts on it is not needed."""
    return ModelSettings(
        encoder=model.start_from if model.encoder is None else model.encoder,
        revision=model.revision,
        context=model.context,
        download_dir=model.download_dir,
        keep_download=model.keep_download,
    )


def _select_parts(prepared: Prepared, settings: RunSettings) -> RecordingTable:
    parts = prepared.split.part_of(list(prepared.table.recordings["recording"]))
    table = prepared.table.select(pd.Series(parts).isin(list(settings.probe.parts)))
    if not table.ratings.notna().any(axis=None):
        raise SplitError(f"No recording of the parts {', '.join(settings.probe.parts)} is rated. Change probe.parts.")
    return table


def _map_of(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the values of a metric, a row per trait and a column per depth, differences left out."""
    rows = table[(table["metric"] == metric) & ~table["depth"].str.contains("minus")]
    traits, depths = rows["trait"].unique(), rows["depth"].unique()
    values = rows.pivot(index="trait", columns="depth", values="value").astype("float64")
    return values.loc[traits, depths].rename(index={"macro": "mean"})
