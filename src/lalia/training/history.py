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


def in_words(row: Row, early_stopping: EarlyStopping | None = None, stale_epochs: int = 0) -> str:
    """Return the line that is shown after an epoch; those of one training stand in columns.

    It has both losses, the metric that chooses the best epoch, AUC and Spearman, those that have a value; the seconds;
    and whether it is the best so far, or else for how long there was none better.

    Args:
        row: of the epoch.
        early_stopping: what chooses and stops, None: the validation loss, and nothing.
        stale_epochs: how many epochs in a row were not better than the best.

    Example:
        >>> row = {"epoch": 3, "train_loss": 0.5, "validation_loss": 0.25, "validation_auc": 0.0, "is_best": True}
        >>> in_words(row | {"seconds": 12.34})
        'epoch   3 | training loss 0.5000 | validation loss 0.2500 | auc 0.000 |   12.3 s | best so far'
        >>> in_words(row | {"seconds": 1.0, "is_best": False}, EarlyStopping(metric="loss", patience=5), stale_epochs=2)
        'epoch   3 | training loss 0.5000 | validation loss 0.2500 | auc 0.000 |    1.0 s | 2 of 5 without a better one'
    """
    parts = [f"epoch {row['epoch']:>3}", f"training loss {row['train_loss']:.4f}"]
    if row.get("validation_loss") is not None:
        parts.append(f"validation loss {row['validation_loss']:.4f}")
    watched_metric = [early_stopping.metric] if early_stopping and early_stopping.metric != "loss" else []
    for name in dict.fromkeys([*watched_metric, "auc", "spearman"]):
        value = row.get(f"validation_{name}")
        if value is not None:
            parts.append(f"{name.replace('_', ' ')} {value:.3f}")
    parts.append(f"{row['seconds']:>6.1f} s")
    if row["is_best"]:
        parts.append("best so far")
    elif stale_epochs and early_stopping is not None and early_stopping.patience is not None:
        parts.append(f"{stale_epochs} of {early_stopping.patience} without a better one")
    return " | ".join(parts)
