"""Starting from what was trained before: a new rater takes over a saved head, trait by trait."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lalia.errors import ModelError, list_some
from lalia.model.rater import SpeechRater
from lalia.model.saved_head import SavedHead, head_weights
from lalia.model.sharing import Sharing

_OF_TRAIT = re.compile(r"^head\.outputs\.(\d+)\.(.*)$")
_OF_STACK = re.compile(r"^head\.layers\.(stacks|transformers)\.(\d+)\.(.*)$")
# buffers with one value per trait
_PER_TRAIT = ("head.residual_sd",)
_SHARING = ("shared", "groups")


@torch.no_grad()
def take_head(rater: SpeechRater, saved: SavedHead, origin: str) -> frozenset[str]:
    """Give a rater the pooling and the head that were saved; traits are matched by their names.

    A trait that both rate keeps its output, its threshold and the layers that are its own; layers that traits share go
    on where all shared them before, those of a group where the group has kept its name. A trait that is new keeps the
    weights it has, one that is gone is left out.

    Args:
        rater: changed in place; its encoder may be another one, of the same width.
        saved: by ``lalia.model.saved_head.read_head``.
        origin: where it comes from, for messages.

    Returns:
        The traits that were taken over.

    Raises:
        ModelError: lists what differs between the two heads and cannot.
    """
    _check_alike(rater, saved, origin)
    own = head_weights(rater.state_dict())
    traits = {new: saved.config.traits.index(t) for new, t in enumerate(rater.traits) if t in saved.config.traits}
    stacks = _match_stacks(rater, saved)
    for name, values in own.items():
        if name in _PER_TRAIT:
            for new, old in traits.items():
                values[new] = saved.weights[name][old]
            continue
        source = _find_source(name, traits, stacks)
        if source is not None:
            _copy(name, values, saved.weights.get(source), origin)
    kept = frozenset(rater.traits[new] for new in traits)
    rater.thresholds |= {trait: saved.config.thresholds[trait] for trait in kept if trait in saved.config.thresholds}
    return kept


def _check_alike(rater: SpeechRater, saved: SavedHead, origin: str) -> None:
    config = saved.config
    pairs = {
        "data.scale": (rater.scale, config.scale),
        **_pairs("model.pooling", rater.pooling.config, config.pooling),
        **_pairs("model.head", rater.head.config, config.head),
    }
    different = [f"{name} is {ours!r}, there {theirs!r}" for name, (ours, theirs) in pairs.items() if ours != theirs]
    if different:
        raise ModelError(
            f"The head in '{origin}' is another one than asked for: {list_some(different)}. Set them alike."
        )


def _pairs(place: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    # dropout is how a head trains, not what it is
    keys = [key for key in dict.fromkeys([*ours, *theirs]) if key != "dropout"]
    pairs = {f"{place}.{key}": (ours.get(key), theirs.get(key)) for key in keys if key != "groups"}
    # which traits are in a group may change with the traits; whether there are groups may not
    if "groups" in keys:
        pairs[f"{place}.groups"] = tuple("some" if each.get("groups") else "none" for each in (ours, theirs))  # type: ignore[assignment]
    return pairs


def _match_stacks(rater: SpeechRater, saved: SavedHead) -> dict[int, int]:
    """Return for each stack of the rater's head the saved one that it goes on from."""
    ours = rater.head.layers.sharing
    theirs = Sharing(len(saved.config.traits), **{key: saved.config.head[key] for key in _SHARING})
    if ours.groups:
        names = theirs.group_names
        return {new: names.index(name) for new, name in enumerate(ours.group_names) if name in names}
    if ours.shared:
        return {0: 0}
    old = saved.config.traits
    return {new: old.index(trait) for new, trait in enumerate(rater.traits) if trait in old}


def _find_source(name: str, traits: Mapping[int, int], stacks: Mapping[int, int]) -> str | None:
    """Return the saved name of a weight, None where the rater keeps its own."""
    if match := _OF_TRAIT.match(name):
        old = traits.get(int(match[1]))
        return None if old is None else f"head.outputs.{old}.{match[2]}"
    if match := _OF_STACK.match(name):
        old = stacks.get(int(match[2]))
        return None if old is None else f"head.layers.{match[1]}.{old}.{match[3]}"
    return name


def _copy(name: str, values: Tensor, saved: Tensor | None, origin: str) -> None:
    if saved is None or saved.shape != values.shape:
        found = "nothing" if saved is None else f"shape {tuple(saved.shape)}"
        raise ModelError(
            f"The head in '{origin}' does not fit this encoder: {name} has shape {tuple(values.shape)}, there {found}."
            " Its encoder must be as wide, and as many depths be pooled."
        )
    values.copy_(saved)
