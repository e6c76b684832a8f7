"""A saved rater's pooling and head alone: their own folder, and how another rater takes them over, trait by trait."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from lalia.errors import ModelError, list_some
from lalia.model.heads import Head
from lalia.model.pooling import Pooling
from lalia.model.saved_rater import (
    CONFIG_FILE,
    FORMAT,
    RaterConfig,
    check_values,
    find_rater,
    read_values,
    read_weights,
)
from lalia.scale import Scale

PARTS = ("pooling.", "head.")


class HeadConfig(BaseModel):
    """What ``config.json`` holds in the folder of a head alone; the fields are those of a rater's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    holds: Literal["head"] = "head"
    format: Literal[1] = FORMAT
    lalia: str
    traits: tuple[str, ...]
    scale: Scale
    pooling: dict[str, Any]
    head: dict[str, Any]
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]]
    weights_sha256: str


class SavedHead(NamedTuple):
    """A pooling and a head as they were saved.

    Args:
        folder: where, for messages.
        config: traits, scale, pooling and head; that of a whole rater has more.
        weights: under ``pooling.`` and ``head.``.
    """

    folder: Path
    config: HeadConfig | RaterConfig
    weights: dict[str, Tensor]


def read_head(folder: str | Path) -> SavedHead:
    """Read the pooling and head in the folder of a saved head, of a rater, or of a run.

    Raises:
        RaterError: if files are missing, damaged, of another format, or do not fit each other.
    """
    found = find_rater(Path(folder))
    values = read_values(found)
    config: HeadConfig | RaterConfig
    if values.get("holds") == "head":
        config = check_values(HeadConfig, values, found / CONFIG_FILE)
    else:
        config = check_values(RaterConfig, values, found / CONFIG_FILE)
    return choose_head(found, config, read_weights(found, config))


def choose_head(folder: Path, config: HeadConfig | RaterConfig, weights: Mapping[str, Tensor]) -> SavedHead:
    """Return the pooling and the head among a rater's weights."""
    return SavedHead(folder, config, {name: values for name, values in weights.items() if name.startswith(PARTS)})


@torch.no_grad()
def take_over(pooling: Pooling, head: Head, traits: Sequence[str], saved: SavedHead) -> tuple[str, ...]:
    """Give a new pooling and head the saved weights: the pooling's, what traits share, and the traits of one name.

    Traits that were not saved keep their new weights, saved ones that are not among the traits are left out.

    Args:
        pooling: changed in place.
        head: changed in place; of the saved kind and sizes.
        traits: of the new head, in its order.
        saved: as ``read_head`` gives it.

    Returns:
        The traits that have their saved weights.

    Raises:
        ModelError: if the saved weights are of other sizes, as those of a head for frames of another width are.
    """
    parts = {
        part: {name.removeprefix(part): values for name, values in saved.weights.items() if name.startswith(part)}
        for part in PARTS
    }
    of_trait = {trait: number for number, trait in enumerate(saved.config.traits)}
    chosen = choose_traits(head, traits, parts["head."], of_trait)
    expected = {
        f"{part}{name}": values
        for part, module in zip(PARTS, (pooling, head), strict=True)
        for name, values in module.state_dict().items()
    }
    found = {f"pooling.{name}": values for name, values in parts["pooling."].items()}
    _check_shapes(expected, found | {f"head.{name}": values for name, values in chosen.items()}, saved.folder)
    pooling.load_state_dict(parts["pooling."])
    head.load_state_dict(chosen)
    return tuple(trait for trait in traits if trait in of_trait)


def choose_traits(
    head: Head, traits: Sequence[str], saved: Mapping[str, Tensor], of_trait: Mapping[str, int]
) -> dict[str, Tensor]:
    """Return a head's weights with those of saved traits in place, matched by the traits' names.

    What all traits share comes from the saved weights too.

    Args:
        head: whose weights the other traits keep; not changed.
        traits: the names of its traits, in its order.
        saved: the weights of a head of the same kind and sizes.
        of_trait: the number of each saved trait among ``saved``; others there are left out.

    Returns:
        The weights of the head by their names in it, without those that ``saved`` should have and has not.
    """
    # what is numbered by trait; everything else is shared, but for the rows of residual_sd
    numbered = ("outputs.",) if head.layers.is_shared else ("outputs.", "layers.stacks.")
    weights = {}
    for name, values in head.state_dict().items():
        prefix = next((each for each in numbered if name.startswith(each)), None)
        if name == "residual_sd":
            rows = [saved[name][of_trait[trait]] if trait in of_trait else values[i] for i, trait in enumerate(traits)]
            weights[name] = torch.stack(rows)
        elif prefix is None:
            weights |= {name: saved[name]} if name in saved else {}
        else:
            number, _, rest = name.removeprefix(prefix).partition(".")
            there = of_trait.get(traits[int(number)])
            source = f"{prefix}{there}.{rest}"
            if there is None:
                weights[name] = values.clone()
            elif source in saved:
                weights[name] = saved[source]
    return weights


def _check_shapes(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], folder: Path) -> None:
    problems = [
        f"{name} has shape {tuple(found[name].shape)} instead of {tuple(values.shape)}"
        if name in found
        else f"{name} is missing"
        for name, values in expected.items()
        if name not in found or found[name].shape != values.shape
    ]
    if problems:
        raise ModelError(
            f"The head saved in '{folder}' does not fit this encoder and these settings: {list_some(problems)}. A head"
            " goes onto an encoder of the width that it was trained on."
        )
