"""How many parameters each part of a rater has, and how many of them train."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import nn

from lalia.model.encoders.base import SpeechEncoder
from lalia.model.heads import Head


class ParameterCount(NamedTuple):
    """How many parameters of a module train and how many do not."""

    module: str
    trainable: int
    frozen: int


def count_parts(parts: Mapping[str, Iterable[nn.Module]]) -> list[ParameterCount]:
    """Count the parameters of named parts, without parts that have none.

    Example:
        >>> count_parts({"linear": [nn.Linear(2, 3)], "activation": [nn.ReLU()]})
        [ParameterCount(module='linear', trainable=9, frozen=0)]
    """
    rows = [_count(name, (p for module in modules for p in module.parameters())) for name, modules in parts.items()]
    return [row for row in rows if row.trainable or row.frozen]


def count_encoder(encoder: SpeechEncoder) -> list[ParameterCount]:
    """Count the parameters of the stem, a prompt, each block with its adapters, what follows, and what is in none."""
    parts: dict[str, Sequence[nn.Module]] = {"stem": encoder.stem_modules}
    parts["prompt"] = [] if encoder.prompt is None else [encoder.prompt]
    parts |= {f"block {depth}": [block] for depth, block in enumerate(encoder.blocks, start=1)}
    parts["output"] = encoder.output_modules
    counted = {id(p) for modules in parts.values() for module in modules for p in module.parameters()}
    rest = _count("encoder, rest", (p for p in encoder.parameters() if id(p) not in counted))
    return [*count_parts(parts), *([rest] if rest.trainable or rest.frozen else [])]


def count_head(head: Head, traits: Sequence[str]) -> list[ParameterCount]:
    """Count the parameters of what all traits or those of a group share, and of each trait's own layers."""
    sharing = head.layers.sharing
    own = [f"head, {trait}" for trait in traits]
    of_stack = [f"head, group {name}" for name in sharing.group_names] or (["head, shared"] if sharing.shared else own)
    parts: dict[str, list[nn.Module]] = {}
    for name, stack in zip(of_stack, head.layers.stacks, strict=True):
        parts[name] = [stack]
    # one per stack or none
    for name, transformer in zip(of_stack, head.layers.transformers, strict=False):
        parts[name].append(transformer)
    for name, output in zip(own, head.outputs, strict=True):
        parts.setdefault(name, []).append(output)
    return count_parts(parts)


def _count(name: str, parameters: Iterable[nn.Parameter]) -> ParameterCount:
    unique = {id(parameter): parameter for parameter in parameters}.values()
    trainable = sum(parameter.numel() for parameter in unique if parameter.requires_grad)
    return ParameterCount(name, trainable, sum(parameter.numel() for parameter in unique) - trainable)
