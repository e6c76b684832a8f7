"""Reading a tree of modules: where an encoder's blocks are, and what stands outside of them."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

_NO_ENCODER = ("decoder", "adapter", "quantizer")


def find_blocks(model: Any) -> str | None:
    """Return the path of an encoder's list of blocks, or None where there is none.

    That is the longest list of modules that contains attention, is not part of another such list, and does not lie
    under a decoder, an adapter or a quantizer.

    Example:
        >>> attention = nn.ModuleDict({"attention": nn.Linear(2, 2)})
        >>> model = nn.ModuleDict({"encoder": nn.ModuleDict({"layers": nn.ModuleList([attention])})})
        >>> find_blocks(model)
        'encoder.layers'
    """
    found: list[tuple[str, int]] = []
    for path, module in model.named_modules():
        is_inner = any(f"{path}.".startswith(f"{outer}.") for outer, _ in found)
        is_elsewhere = any(word in part for part in path.split(".") for word in _NO_ENCODER)
        if isinstance(module, nn.ModuleList) and not is_inner and not is_elsewhere and _all_attend(module):
            found.append((path, len(module)))
    return max(found, key=lambda each: each[1])[0] if found else None


def topmost_without(model: Any, excluded: Iterable[nn.Module]) -> list[nn.Module]:
    """Return the topmost modules of a tree that neither are nor hold an excluded one.

    Example:
        >>> model = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.ModuleDict({"c": nn.Tanh(), "d": nn.ReLU()})})
        >>> topmost_without(model, [model["b"]["d"]])
        [Linear(in_features=1, out_features=1, bias=True), Tanh()]
    """
    left_out = {id(module) for module in excluded}

    def walk(module: nn.Module) -> Iterator[nn.Module]:
        for child in module.children():
            if id(child) in left_out:
                continue
            if any(id(inner) in left_out for inner in child.modules()):
                yield from walk(child)
            else:
                yield child

    return list(walk(model))


def _all_attend(blocks: nn.ModuleList) -> bool:
    return len(blocks) > 0 and all(
        any(is_attention(name, module) for name, module in block.named_modules()) for block in blocks
    )


def is_attention(name: str, module: nn.Module) -> bool:
    """Return whether a module is one of attention, by its path or its class."""
    return "attn" in name or "attention" in f"{name} {type(module).__name__}".lower()


def wraps_layer(module: nn.Module) -> bool:
    """Return whether a module is one of PEFT's adapters around a layer of the model."""
    return "base_layer" in module._modules


def added_parameters(model: Any) -> list[str]:
    """Return the paths of the parameters that adapters add to a tree: all of an adapter's but those of its layer.

    Example:
        >>> adapter = nn.ModuleDict({"base_layer": nn.Linear(2, 2), "lora_A": nn.Linear(2, 1, bias=False)})
        >>> added_parameters(nn.ModuleDict({"q_proj": adapter, "norm": nn.LayerNorm(2)}))
        ['q_proj.lora_A.weight']
    """
    return [
        f"{path}.{name}"
        for path, module in model.named_modules()
        if wraps_layer(module)
        for name, _ in module.named_parameters()
        if not name.startswith("base_layer.")
    ]


def plain_path(path: str) -> str:
    """Return the path that a parameter has without adapters.

    Example:
        >>> plain_path("encoder.layers.0.attention.q_proj.base_layer.weight")
        'encoder.layers.0.attention.q_proj.weight'
    """
    return path.replace(".base_layer.", ".")
