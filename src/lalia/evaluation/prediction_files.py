"""Scores of new recordings as files that other tools read: csv, jsonl, parquet, or an audformat database."""

from pathlib import Path
from typing import Any, Literal, cast

import pandas as pd
import yaml

from lalia.csv_files import write_csv
from lalia.files import replacing, replacing_folder

PredictionFormat = Literal["csv", "jsonl", "parquet", "audformat"]


def write_predictions(table: pd.DataFrame, out: str | Path, format: PredictionFormat | None = None) -> None:
    """Write scores; a file or folder of that name is replaced, and appears complete or not at all.

    Args:
        table: as ``lalia.evaluation.predict.predict`` returns it.
        out: the file, or for audformat the folder.
        format: None goes by the extension of ``out``: jsonl and parquet, and csv for any other.
    """
    if format is None:
        extension = Path(out).suffix.lower().lstrip(".")
        format = cast(PredictionFormat, extension) if extension in ("jsonl", "parquet") else "csv"
    if format == "audformat":
        _write_audformat(table, Path(out))
        return
    if format == "csv":
        write_csv(table, out)
        return
    with replacing(out) as temporary:
        if format == "jsonl":
            # pandas would round to ten digits
            table.to_json(temporary, orient="records", lines=True, force_ascii=False, double_precision=15)
        else:
            table.to_parquet(temporary, index=False)


def _write_audformat(table: pd.DataFrame, folder: Path) -> None:
    """Write a database with a filewise table for each quantity, such as score, and in it a column for each trait."""
    quantities = [str(name) for name in table if name not in ("recording", "trait")]
    traits = [str(trait) for trait in pd.unique(table["trait"])]
    header: dict[str, Any] = {
        "name": "predictions",
        "source": "lalia",
        "usage": "other",
        "description": "Scores of a rater. Levels are of its rating scale; probability is that the trait is present.",
        "schemes": {name: _scheme(name, table[name]) for name in quantities},
        "tables": {
            name: {"type": "filewise", "columns": {trait: {"scheme_id": name} for trait in traits}}
            for name in quantities
        },
    }
    files = pd.Index(pd.unique(table["recording"]), name="file")
    with replacing_folder(folder) as temporary:
        (temporary / "db.yaml").write_text(
            yaml.safe_dump(header, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
        for name in quantities:
            wide = table.pivot(index="recording", columns="trait", values=name).reindex(index=files, columns=traits)
            wide.to_csv(temporary / f"db.{name}.csv", index_label="file", lineterminator="\n")


def _scheme(name: str, values: "pd.Series[Any]") -> dict[str, Any]:
    if values.dtype == bool:
        return {"dtype": "bool"}
    is_probability = name == "probability" or name.startswith("p_ge_")
    return {"dtype": "float", **({"minimum": 0.0, "maximum": 1.0} if is_probability else {})}
