"""Where adapters go: the projections of attention and the linear layers of feed-forward parts, in any family."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise

from torch import nn

from lalia.errors import EncoderError, list_some, suggest
from lalia.model.encoders.base import SpeechEncoder
from lalia.model.encoders.module_tree import is_attention

# what Hugging Face's families call them; SEW-D has its output under the plain name dense
_PROJECTIONS = {
    "query": ("q_proj", "query", "query_proj", "linear_q"),
    "key": ("k_proj", "key", "key_proj", "linear_k"),
    "value": ("v_proj", "value", "value_proj", "linear_v"),
    "output": ("out_proj", "o_proj", "linear_out", "dense"),
}


def attention_projections(block: nn.Module, roles: Sequence[str] = tuple(_PROJECTIONS)) -> list[str]:
    """Return the paths within a block of the linear layers that make queries, keys, values and the output of attention.

    Projections of relative positions and WavLM's gates are none of them.

    Args:
        block: of an encoder.
        roles: which of query, key, value and output.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "wavlm", "layers": 1, "width": 16, "heads": 2})
        >>> sorted(attention_projections(encoder.blocks[0], ["query", "value"]))
        ['attention.q_proj', 'attention.v_proj']
    """
    names = {name for role in roles for name in _PROJECTIONS[role]}
    return [path for path in _linear_layers(block, in_attention=True) if path.rpartition(".")[2] in names]


def feed_forward_outputs(block: nn.Module) -> list[str]:
    """Return the paths within a block of the second linear layer of each feed-forward part.

    That is the second of two that follow each other outside of attention and fit: the first widens the frames, the
    second gives their width back. Conformer blocks have two such parts.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "wavlm", "layers": 1, "width": 16, "heads": 2})
        >>> feed_forward_outputs(encoder.blocks[0])
        ['feed_forward.output_dense']
    """
    layers = [(path, block.get_submodule(path)) for path in _linear_layers(block, in_attention=False)]
    found: list[str] = []
    for (first_path, first), (second_path, second) in pairwise(layers):
        fits = first.out_features == second.in_features and first.in_features == second.out_features
        if fits and first_path not in found:
            found.append(second_path)
    return found


def match_targets(encoder: SpeechEncoder, depths: Sequence[int], targets: Sequence[str]) -> list[str]:
    """Return the paths within the encoder's model of the linear layers of some blocks that names or globs match.

    Args:
        encoder: whose blocks are looked at.
        depths: of the blocks.
        targets: each the name of a layer (``q_proj``), its path within the block (``attention.q_proj``) or a glob
            over that path (``feed_forward.*``).

    Raises:
        EncoderError: if one of them matches no linear layer; names the nearest.
    """
    within: dict[str, list[str]] = {}
    for depth in depths:
        prefix = encoder.path_of(encoder.blocks[depth - 1])
        for path in _linear_layers(encoder.blocks[depth - 1]):
            within.setdefault(path, []).append(f"{prefix}.{path}")
    chosen: set[str] = set()
    for target in targets:
        matched = [path for path in within if path.rpartition(".")[2] == target or fnmatchcase(path, target)]
        if not matched:
            names = [*within, *(path.rpartition(".")[2] for path in within)]
            raise EncoderError(
                f"No linear layer in the blocks of {encoder.source.name} matches '{target}'.{suggest(target, names)}"
                f" They are {list_some(list(within), most=12)}."
            )
        chosen.update(whole for path in matched for whole in within[path])
    return [path for path, _ in encoder.model.named_modules() if path in chosen]


def _linear_layers(block: nn.Module, in_attention: bool | None = None) -> Iterator[str]:
    attention = [path for path, module in block.named_modules() if path and is_attention(path, module)]
    for path, module in block.named_modules():
        is_inside = any(path.startswith(f"{outer}.") for outer in attention)
        if isinstance(module, nn.Linear) and (in_attention is None or is_inside == in_attention):
            yield path
