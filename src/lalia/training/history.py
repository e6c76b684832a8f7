"""The rows of a training's history: one per epoch, which of them is the best, how they are shown."""

import math
from collections.abc import Iterable
from typing import Any

from lalia.settings import EarlyStopping
from lalia.training.validation import HIGHER_IS_BETTER

Row = dict[str, float | int | bool | None]

# with layer decay, the rate of the last block
RATE_COLUMNS = {
    "rest": "learning_rate",
    "encoder": "encoder_learning_rate",
    "adapter": "adapter_learning_rate",
    "mix": "mix_learning_rate",
}


def largest_rates(groups: Iterable[dict[str, Any]]) -> Row:
    """Return the largest learning rate of each part of a rater, None where nothing of it trains.

    Args:
        groups: of the optimiser, each with its ``part``.
    """
    known = list(groups)
    rates = {part: [group["lr"] for group in known if group["part"] == part] for part in RATE_COLUMNS}
    return {column: max(rates[part], default=None) for part, column in RATE_COLUMNS.items()}


def finite_values(values: dict[str, float | None]) -> Row:
    """Return values with None for those that are not finite."""
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}


def watched(row: Row, early_stopping: EarlyStopping | None) -> float | None:
    """Return the value that says which epoch is the best, None where it is undefined."""
    value = row.get(f"validation_{early_stopping.metric if early_stopping else 'loss'}")
    return None if value is None else float(value)


def improves(value: float | None, best: float | None, early_stopping: EarlyStopping | None) -> bool:
    """Return whether a value is better than the best one so far; an undefined one never is."""
    if value is None:
        return False
    if best is None:
        return True
    return value > best if early_stopping and early_stopping.metric in HIGHER_IS_BETTER else value < best


def in_words(row: Row) -> str:
    """Return the line that is shown after an epoch; a star marks the best so far."""
    parts = [f"epoch {row['epoch']:>3}", f"training loss {row['train_loss']:.4f}"]
    parts += [
        f"{name.replace('_', ' ')} {row[name]:.4f}" for name in ("validation_loss", "validation_auc") if row.get(name)
    ]
    return ", ".join(parts) + (" *" if row["is_best"] else "")
