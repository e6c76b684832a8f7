"""What of an encoder trains, and from which depth on its values can change."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lalia.errors import EncoderError, suggest
from lalia.model.adapter_layers import remove_adapters
from lalia.model.encoders.base import SpeechEncoder
from lalia.model.encoders.module_tree import added_parameters, plain_path
from lalia.model.layer_mix import Layers, find_depths

# the modules and parameters of positions, absolute or relative, in Hugging Face's families
_POSITION = re.compile(r"(^|_)(pos|positions?|positional|rel|relative|distance)(_|$)|^bias_[uv]$")


@dataclass(frozen=True)
class Adaptation:
    """What trains in an encoder.

    Args:
        kind: frozen, partial, full, lora, ia3, adalora or soft_prompt.
        first_changing_depth: the lowest depth whose values change in training, ``n_blocks + 1`` if none does.
        trainable: the paths of the parameters that train, within the encoder's ``model`` or ``prompt.vectors``.
    """

    kind: str
    first_changing_depth: int
    trainable: tuple[str, ...]


def adapt_frozen(encoder: SpeechEncoder) -> Adaptation:
    """Let nothing in the encoder train.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "hubert", "layers": 2, "width": 16, "heads": 2})
        >>> adapt_frozen(encoder)
        Adaptation(kind='frozen', first_changing_depth=3, trainable=())
    """
    return train_only(encoder, "frozen", ())


def adapt_partial(
    encoder: SpeechEncoder, last: int | float | None = None, unfreeze: Sequence[int | str] = ()
) -> Adaptation:
    """Let some blocks or modules of the encoder train, and nothing else.

    The norm behind the last block of pre-norm models and Whisper trains only if it is named.

    Args:
        encoder: changed in place.
        last: the last n blocks, or as a float that fraction of them, rounded up.
        unfreeze: block numbers, 1 to ``n_blocks`` or -1 for the last; and paths of modules or parameters as Hugging
            Face's model (``WavLMModel``, ``WhisperModel``, ...) has them, such as ``encoder.layers.3``, exact or with
            the wildcards ``*``, ``?`` and ``[...]``, which also match dots. ``encoder.layers.0`` is block 1.

    Raises:
        EncoderError: if neither or both are given, there is no such block, or a path matches nothing.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "hubert", "layers": 4, "width": 16, "heads": 2})
        >>> adapt_partial(encoder, last=0.3).first_changing_depth
        3
        >>> adapt_partial(encoder, unfreeze=[-1, "encoder.layers.*.layer_norm.bias"]).first_changing_depth
        1
    """
    if (last is None) == (not unfreeze):
        raise EncoderError("Partial adaptation takes either last or unfreeze.")
    if not encoder.n_blocks:
        raise EncoderError(
            f"{encoder.source.name} is read as a whole: which of its modules are blocks is not known. Choose frozen or"
            " full."
        )
    chosen: set[str] = set()
    for depth in choose_depths(encoder, last) if last is not None else ():
        chosen.update(_parameters_of_block(encoder, depth))
    for item in unfreeze:
        chosen.update(_parameters_of_item(encoder, item))
    return train_only(encoder, "partial", chosen)


def adapt_full(
    encoder: SpeechEncoder,
    *,
    train_stem: bool = True,
    train_features: bool = True,
    train_positions: bool = True,
    train_norms: bool = True,
) -> Adaptation:
    """Let the whole encoder train: stem, blocks and the norm behind them. Each switch that is off freezes a kind.

    Fixed sinusoids, Whisper's for example, stay as they are.

    Args:
        encoder: changed in place.
        train_stem: all that comes before the blocks, depth 0.
        train_features: of the stem, what makes frames of the waveform: convolutions and projection with their norms;
            all of it but positions and the norm beside the blocks.
        train_positions: what tells positions, wherever it is: convolved or learned ones in the stem, relative ones in
            the blocks (WavLM's ``rel_attn_embed`` and gates, a Conformer's ``linear_pos``, ``pos_bias_u``, ...).
        train_norms: norm layers, wherever they are.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "hubert", "layers": 2, "width": 16, "heads": 2})
        >>> adapt_full(encoder).first_changing_depth, adapt_full(encoder, train_stem=False).first_changing_depth
        (0, 1)
    """
    off: set[str] = set(encoder.fixed_parameters)
    paths = [path for path, _ in encoder.model.named_parameters()]
    positions, norms = set(filter(_is_position, paths)), _norms(encoder)
    stem = {path for path in paths if encoder.depth_of(path) == 0}
    if not train_stem:
        off |= stem
    if not train_features:
        off |= stem - positions - _beside_blocks(encoder)
    if not train_positions:
        off |= positions
    if not train_norms:
        off |= norms
    return train_only(encoder, "full", [path for path in paths if path not in off])


def freeze_unused(encoder: SpeechEncoder, layers: Layers) -> None:
    """Freeze what lies above the highest depth that is pooled: it would train without ever being used.

    Adapters there are taken out again.

    Args:
        encoder: adapted, changed in place.
        layers: as for ``lalia.model.layer_mix.find_depths``; all but ``"last"`` leave out the norm behind the last
            depth.

    Raises:
        ModelError: if the encoder has no such depths.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "hubert", "layers": 2, "width": 16, "heads": 2})
        >>> _ = adapt_full(encoder)
        >>> freeze_unused(encoder, 1)
        >>> any(parameter.requires_grad for parameter in encoder.blocks[1].parameters())
        False
    """
    depths = [depth for depth in find_depths(layers, encoder.n_blocks) if isinstance(depth, int)]
    if not depths:
        return
    highest = max(depths)
    remove_adapters(encoder, range(highest + 1, encoder.n_blocks + 1))
    for path, parameter in encoder.adaptable():
        leaves_norm_out = not encoder.last_depth_is_normalized and encoder.is_behind_blocks(path)
        if encoder.depth_of(path) > highest or leaves_norm_out:
            parameter.requires_grad_(False)
    train_only(encoder, "", trainable_paths(encoder))


def train_from(encoder: SpeechEncoder, declared: Iterable[str], depth: int) -> None:
    """Let those of some parameters train that act at a depth or above it; the others are frozen for now.

    Args:
        encoder: changed in place.
        declared: the paths of the parameters that an adaptation lets train.
        depth: the lowest that trains.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "hubert", "layers": 3, "width": 16, "heads": 2})
        >>> declared = adapt_full(encoder).trainable
        >>> train_from(encoder, declared, 3)
        >>> encoder.first_changing_depth
        3
    """
    train_only(encoder, "", [path for path in declared if encoder.depth_of(path) >= depth])


def train_only(encoder: SpeechEncoder, kind: str, chosen: Iterable[str]) -> Adaptation:
    """Let some parameters of the encoder train and no other, and set its modes by that.

    Args:
        encoder: changed in place.
        kind: of the adaptation that is returned.
        chosen: the paths of parameters, as ``encoder.adaptable()`` gives them.
    """
    encoder.changed = own_changes(encoder)
    wanted = set(chosen)
    for path, parameter in encoder.adaptable():
        parameter.requires_grad_(path in wanted)
    trainable = trainable_paths(encoder)
    first = min((encoder.depth_of(path) for path in trainable), default=encoder.n_blocks + 1)
    encoder.first_changing_depth = first
    # which modules are in training mode follows from what trains
    encoder.train(encoder.training)
    return Adaptation(kind, first, trainable)


def trainable_paths(encoder: SpeechEncoder) -> tuple[str, ...]:
    """Return the paths of the encoder's parameters that train now."""
    return tuple(path for path, parameter in encoder.adaptable() if parameter.requires_grad)


def own_changes(encoder: SpeechEncoder) -> frozenset[str]:
    """Return the paths, as without adapters, of Hugging Face's parameters that train or trained before."""
    added = set(added_parameters(encoder.model))
    trained = (path for path, parameter in encoder.model.named_parameters() if parameter.requires_grad)
    return encoder.changed | {plain_path(path) for path in trained if path not in added}


def choose_depths(encoder: SpeechEncoder, last: int | float | None = None, blocks: Sequence[int] = ()) -> list[int]:
    """Return the depths of the last blocks, of numbered ones, or of all blocks if neither is given.

    Args:
        encoder: whose blocks they are.
        last: that many, or as a float that fraction of them, rounded up.
        blocks: numbers from 1, or negative from the end.

    Raises:
        EncoderError: if both are given, or there is no such block.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "hubert", "layers": 4, "width": 16, "heads": 2})
        >>> choose_depths(encoder, last=0.3), choose_depths(encoder, blocks=[-1, 1]), choose_depths(encoder)
        ([3, 4], [1, 4], [1, 2, 3, 4])
    """
    if last is not None and blocks:
        raise EncoderError("Give either the last blocks or the numbers of blocks, not both.")
    if blocks:
        return sorted({_depth_of_block(encoder, number) for number in blocks})
    first = 1 if last is None else _first_of_last(encoder, last)
    return list(range(first, encoder.n_blocks + 1))


def _is_position(path: str) -> bool:
    return any(_POSITION.search(part) for part in path.split("."))


def _norms(encoder: SpeechEncoder) -> set[str]:
    # a block of the kind StableLayerNorm is no norm: a norm holds no other modules
    norms = [
        path
        for path, module in encoder.model.named_modules()
        if "Norm" in type(module).__name__ and not list(module.children())
    ]
    prefixes = tuple(f"{path}." for path in norms)
    return {path for path, _ in encoder.model.named_parameters() if prefixes and path.startswith(prefixes)}


def _beside_blocks(encoder: SpeechEncoder) -> set[str]:
    """Return the parameters of the norms that stand beside the blocks, such as ``encoder.layer_norm``."""
    if not encoder.n_blocks:
        return set()
    parent = encoder.path_of(encoder.blocks).rpartition(".")[0]
    return {path for path in _norms(encoder) if path.rpartition(".")[0].rpartition(".")[0] == parent}


def _first_of_last(encoder: SpeechEncoder, last: int | float) -> int:
    if isinstance(last, float):
        if not 0.0 < last <= 1.0:
            raise EncoderError(f"last as a fraction must be above 0 and at most 1, got {last:g}.")
        # the product of 0.1 and 30 is a little more than 3: that must not be rounded up to 4
        last = math.ceil(round(last * encoder.n_blocks, 9))
    if not 1 <= last <= encoder.n_blocks:
        raise EncoderError(f"last must be 1 to {encoder.n_blocks}, the blocks of {encoder.source.name}; got {last}.")
    return encoder.n_blocks - last + 1


def _parameters_of_block(encoder: SpeechEncoder, depth: int) -> list[str]:
    prefix = encoder.path_of(encoder.blocks[depth - 1])
    return [f"{prefix}.{name}" for name, _ in encoder.blocks[depth - 1].named_parameters()]


def _parameters_of_item(encoder: SpeechEncoder, item: int | str) -> list[str]:
    if isinstance(item, str):
        return _parameters_of_pattern(encoder, item)
    return _parameters_of_block(encoder, _depth_of_block(encoder, item))


def _depth_of_block(encoder: SpeechEncoder, number: int) -> int:
    n_blocks = encoder.n_blocks
    if number == 0:
        raise EncoderError(
            f"Blocks are numbered from 1 to {n_blocks}, as depths are: 0 is the stem. To train it, name its modules"
            " or adapt fully."
        )
    if not 1 <= abs(number) <= n_blocks:
        raise EncoderError(
            f"{encoder.source.name} has no block {number}: it has 1 to {n_blocks}, or -1 to -{n_blocks} from the end."
        )
    return number if number > 0 else n_blocks + 1 + number


def _parameters_of_pattern(encoder: SpeechEncoder, pattern: str) -> list[str]:
    parameters = [path for path, _ in encoder.model.named_parameters()]
    modules = [path for path, _ in encoder.model.named_modules() if path]
    matched = [path for path in [*modules, *parameters] if path == pattern or fnmatchcase(path, pattern)]
    if not matched:
        raise EncoderError(
            f"No module or parameter of {encoder.source.name} matches '{pattern}'."
            f"{suggest(pattern, [*modules, *parameters])} Paths are whole, as in Hugging Face's model, such as"
            f" '{encoder.path_of(encoder.blocks[0])}' for block 1."
        )
    prefixes = tuple(f"{path}." for path in matched)
    chosen = [path for path in parameters if path in matched or path.startswith(prefixes)]
    if not chosen:
        raise EncoderError(f"'{pattern}' matches only modules without parameters: nothing would train.")
    return chosen
