"""A saved head: all that stands on an encoder's frames, alone in a folder or as part of a saved rater."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from lalia.errors import RaterError
from lalia.model.saved_rater import CONFIG_FILE, find_rater, read_config, read_weights, write_folder
from lalia.model.untrusted import find_code, find_excess, read_json_object
from lalia.scale import Scale

PREFIXES = ("pooling.", "head.")


class HeadConfig(BaseModel):
    """What ``config.json`` holds beside a head that was saved alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    format: Literal["head-1"] = "head-1"
    """The version of this layout."""
    lalia: str
    """The version of lalia that saved it."""
    traits: tuple[str, ...]
    """The traits in the order of the head's outputs."""
    scale: Scale
    """The rating scale."""
    pooling: dict[str, Any]
    """The arguments of ``build_pooling``, without the width."""
    head: dict[str, Any]
    """The arguments of ``build_head``, without widths, traits and scale."""
    thresholds: dict[str, float]
    """Per trait, the probability from which on it counts as present."""
    weights_sha256: str
    """The hash of the weights; ``model.safetensors`` carries it too."""


@dataclass(frozen=True)
class SavedHead:
    """A head as it was saved, pooling included.

    Args:
        config: its own, or that of the rater which it is a part of.
        weights: by their names in the rater.
    """

    config: Any
    weights: dict[str, Tensor]


def head_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return those of a rater's weights that belong to its head, pooling included."""
    return {name: values for name, values in weights.items() if name.startswith(PREFIXES)}


def write_head(folder: Path, config: HeadConfig, weights: Mapping[str, Tensor]) -> None:
    """Write a head's folder through a temporary one beside it.

    Args:
        folder: its parents are made.
        config: its ``weights_sha256`` is that of the weights.
        weights: those of ``head_weights``, on the CPU, contiguous.

    Raises:
        RaterError: if the folder cannot be written.
    """
    write_folder(folder, config, weights)


def read_head(folder: Path) -> SavedHead:
    """Read the head in a folder: saved alone, or that of a saved rater, or of a run's.

    Raises:
        RaterError: if there is none, or it cannot be read.
    """
    path = folder / CONFIG_FILE
    config: Any = _read_alone(path)
    if config is None:
        folder = find_rater(folder)
        config = read_config(folder)
    return SavedHead(config, head_weights(read_weights(folder, config)))


def _read_alone(path: Path) -> HeadConfig | None:
    try:
        values = read_json_object(path)
    except (OSError, ValueError):
        # whatever is wrong with it, the reader of a rater says so
        return None
    if values.get("format") != "head-1":
        return None
    try:
        if (wrong := find_code(values) or find_excess(values)) is not None:
            raise RaterError(f"'{path}' is not that of a head: {wrong}.")
        return HeadConfig.model_validate(values)
    except ValidationError as cause:
        problems = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in cause.errors()]
        raise RaterError(f"'{path}' cannot be used: {'; '.join(problems)}. Save the head again.") from cause
