"""Layers with PEFT's adapters around them: taken out, or folded into the weights."""

from collections.abc import Iterable

from lalia.model.encoders.base import SpeechEncoder
from lalia.model.encoders.module_tree import wraps_layer


def fold_adapters(encoder: SpeechEncoder) -> list[str]:
    """Fold every adapter into the weights of its layer, put the layer in its place, and return the layers' paths."""
    paths = [path for path, module in encoder.model.named_modules() if wraps_layer(module)]
    for path in paths:
        encoder.model.get_submodule(path).merge(safe_merge=True)
        _unwrap(encoder, path)
    _forget(encoder, paths)
    return paths


def remove_adapters(encoder: SpeechEncoder, depths: Iterable[int]) -> None:
    """Take the adapters of some blocks out again, with what they have learned."""
    prefixes = tuple(f"{encoder.path_of(encoder.blocks[depth - 1])}." for depth in depths)
    paths = [path for path, module in encoder.model.named_modules() if wraps_layer(module)]
    paths = [path for path in paths if prefixes and path.startswith(prefixes)]
    for path in paths:
        _unwrap(encoder, path)
    _forget(encoder, paths)


def _unwrap(encoder: SpeechEncoder, path: str) -> None:
    parent, _, name = path.rpartition(".")
    setattr(encoder.model.get_submodule(parent), name, encoder.model.get_submodule(path).get_base_layer())


def _forget(encoder: SpeechEncoder, paths: Iterable[str]) -> None:
    if "modules" not in encoder.added:
        return
    gone = set(paths)
    for key in ("modules", "scaled_inputs"):
        if key in encoder.added:
            encoder.added[key] = [path for path in encoder.added[key] if path not in gone]
    if not encoder.added["modules"]:
        encoder.added, encoder.ranks = {}, None
