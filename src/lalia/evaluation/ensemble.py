"""The raters of all folds as one: their scores averaged."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lalia.errors import RaterError
from lalia.evaluation.predictions import reach_columns
from lalia.scale import Scale


def find_members(run: Path) -> tuple[Path, ...]:
    """Return the folders of the runs that a cross-validation consists of, or of any other run the folder itself.

    Raises:
        RaterError: if one of the folds is not there any more.
    """
    try:
        folds = json.loads((run / "manifest.json").read_text(encoding="utf-8")).get("folds")
    except (OSError, ValueError):
        folds = None
    if not folds:
        return (run,)
    members = tuple(run / fold["folder"] for fold in folds)
    missing = [str(member) for member in members if not member.is_dir()]
    if missing:
        raise RaterError(f"The run '{run}' rates with all its folds, and these are missing: {', '.join(missing)}.")
    return members


def average_scores(tables: Sequence[pd.DataFrame], scale: Scale) -> pd.DataFrame:
    """Return the mean of what several raters say of the same recordings and traits.

    Scores and probabilities are averaged; the level is the one nearest to the mean score, none from binary heads;
    nothing is decided where half of the raters or more do not decide.

    Args:
        tables: as ``predict`` returns them, their rows in the same order.
        scale: of the ratings.
    """
    first, *others = tables
    if not others:
        return first
    names = ("score", "probability", *reach_columns(first).values())
    means = {name: np.mean([table[name] for table in tables], axis=0) for name in names}
    level = np.where(first["level"].isna(), np.nan, scale.nearest_level(means["score"]))
    averaged = first.assign(**means, level=level)
    if any("abstains" in table for table in tables):
        abstains = [table.get("abstains", pd.Series(False, index=table.index)) for table in tables]
        averaged["abstains"] = np.mean(abstains, axis=0) >= 0.5
    return averaged
