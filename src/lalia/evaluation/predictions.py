"""The table of predictions: the columns for the probability of reaching each level, and how predictions.csv is read."""

from pathlib import Path
from typing import Final

import pandas as pd

from lalia.csv_files import from_cells
from lalia.errors import RunError

_TEXTS: Final = ("recording", "speaker", "trait", "part")
_NUMBERS: Final = ("rating", "score", "level", "probability")
_REACH: Final = "p_ge_"


def reach_column(level: float) -> str:
    """Return the column with the probability that a rating is this level or above.

    Example:
        >>> reach_column(2.0), reach_column(2.5)
        ('p_ge_2', 'p_ge_2.5')
    """
    return f"{_REACH}{level:g}"


def reach_columns(predictions: pd.DataFrame) -> dict[float, str]:
    """Return the levels that predictions tell of, rising, with their columns."""
    names = [str(name) for name in predictions if str(name).startswith(_REACH)]
    return dict(sorted((float(name.removeprefix(_REACH)), name) for name in names))


def read_predictions(run: Path) -> pd.DataFrame:
    """Read the predictions.csv of a run: ids stay text (``007`` and ``NA`` are ids), an empty number is NaN.

    Args:
        run: its folder, or a file of the same columns.

    Raises:
        RunError: if the run has none.
    """
    path = run / "predictions.csv" if run.is_dir() else run
    try:
        table = from_cells(pd.read_csv(path, dtype=dict.fromkeys(_TEXTS, str), keep_default_na=False))
    except OSError as cause:
        raise RunError(f"The run '{run}' has no predictions.csv. Write it with: lalia evaluate {run}") from cause
    return table.assign(**{name: pd.to_numeric(table[name]) for name in (*_NUMBERS, *reach_columns(table).values())})
