"""Finished runs compared on the speakers that they share: tables and a figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from lalia.csv_files import write_csv
from lalia.errors import RunError
from lalia.evaluation.compare import Model, check_comparable, compare_models, summarize_runs
from lalia.evaluation.evaluate import UNITS
from lalia.evaluation.predictions import read_predictions
from lalia.files import make_private, write_json
from lalia.progress import Progress
from lalia.report.difference_plot import plot_differences
from lalia.report.svg import write_svg
from lalia.run_folder import read_run
from lalia.scale import Scale

SHOWN_METRICS: Final = ("auc", "spearman")
"""Those of the figure: presence and severity."""


def compare(
    runs: Sequence[str | Path], out: str | Path, *, part: str = "test", seed: int = 0, progress: Progress | None = None
) -> pd.DataFrame:
    """Compare each run with the first one, and write ``compare.csv``, ``compare.json`` and ``compare.svg``.

    What all runs reach together goes to ``runs.csv``, see ``summarize_runs``.

    Args:
        runs: folders of finished runs on the same recordings, two or more.
        out: the folder of the files.
        part: train, validation or test.
        seed: of the drawn speakers and of the exchanges.
        progress: is advanced by each comparison.

    Returns:
        The columns of ``compare_models``, with unit, first_run and second_run before them.

    Raises:
        RunError: if there are fewer than two runs, one has not finished, or they were evaluated on other speakers,
            recordings, traits or scales.
    """
    if len(runs) < 2:
        raise RunError("A comparison needs two runs or more.")
    progress = progress or Progress()
    read = [_read(run, part) for run in runs]
    (first, scale), *others = read
    names = [model.name for model, _ in read]
    if len(set(names)) < len(names):
        raise RunError(f"A run is named twice: {', '.join(names)}.")
    for model, other_scale in others:
        if other_scale != scale:
            raise RunError(f"'{first.name}' and '{model.name}' have other scales: {scale} and {other_scale}.")
        check_comparable(first, model)
    progress.start("comparing", len(others) * len(UNITS))
    tables = []
    for model, _ in others:
        for unit in UNITS:
            found = compare_models(first, model, scale, unit=unit, seed=seed)
            found.insert(0, "unit", unit)
            found.insert(1, "first_run", first.name)
            found.insert(2, "second_run", model.name)
            tables.append(found)
            progress.advance()
    table = pd.concat(tables, ignore_index=True)
    models = [model for model, _ in read]
    together = [summarize_runs(models, scale, unit=unit, seed=seed).assign(unit=unit) for unit in UNITS]
    _write(table, pd.concat(together, ignore_index=True), Path(out), part, seed)
    return table


def _read(run: str | Path, part: str) -> tuple[Model, Scale]:
    folder, settings, manifest = read_run(run)
    predictions = read_predictions(folder)
    of_part = predictions[predictions["part"] == part].reset_index(drop=True)
    if not of_part["rating"].notna().any():
        raise RunError(f"The run '{folder}' has no rated recordings in its {part} part.")
    thresholds = {trait: float(found["value"]) for trait, found in manifest["thresholds"].items()}
    return Model(folder.resolve().name, of_part, thresholds), settings.data.scale.build()


def _write(table: pd.DataFrame, together: pd.DataFrame, folder: Path, part: str, seed: int) -> None:
    make_private(folder)
    write_csv(together, folder / "runs.csv")
    write_csv(table, folder / "compare.csv")
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    write_json(folder / "compare.json", {"part": part, "seed": seed, "differences": rows})
    shown = table[(table["unit"] == "recording") & table["metric"].isin(SHOWN_METRICS)]
    write_svg(plot_differences(shown), folder / "compare.svg")
