"""What of an encoder trains, and from which depth on its values can change."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from lalia.errors import EncoderError, suggest
from lalia.model.encoders.base import SpeechEncoder
from lalia.model.layer_mix import Layers, find_depths


@dataclass(frozen=True)
class Adaptation:
    """What trains in an encoder.

    Args:
        kind: frozen, partial or full.
        first_changing_depth: the lowest depth whose values change in training, ``n_blocks + 1`` if none does.
        trainable: the paths of the parameters that train, within the encoder's ``model``.
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
    return _train_only(encoder, "frozen", ())


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
    for depth in range(_first_of_last(encoder, last), encoder.n_blocks + 1) if last is not None else ():
        chosen.update(_parameters_of_block(encoder, depth))
    for item in unfreeze:
        chosen.update(_parameters_of_item(encoder, item))
    return _train_only(encoder, "partial", chosen)


def adapt_full(encoder: SpeechEncoder, train_stem: bool = True) -> Adaptation:
    """Let all blocks of the encoder and the norm behind them train, and the stem too unless ``train_stem`` is False.

    Whisper's positions are fixed sinusoids and stay as they are.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "hubert", "layers": 2, "width": 16, "heads": 2})
        >>> adapt_full(encoder).first_changing_depth, adapt_full(encoder, train_stem=False).first_changing_depth
        (0, 1)
    """
    lowest = 0 if train_stem else 1
    chosen = [
        path
        for path, _ in encoder.model.named_parameters()
        if encoder.depth_of(path) >= lowest and path not in encoder.fixed_parameters
    ]
    return _train_only(encoder, "full", chosen)


def freeze_unused(encoder: SpeechEncoder, layers: Layers) -> None:
    """Freeze what lies above the highest depth that is pooled: it would train without ever being used.

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
    depths = [depth for depth in find_depths(layers, encoder.n_blocks) if depth != "last"]
    if not depths:
        return
    highest = max(depths)
    unused: list[nn.Module] = [*encoder.blocks[highest:]]
    if highest < encoder.n_blocks or not encoder.last_depth_is_normalized:
        unused += encoder.output_modules
    for module in unused:
        module.requires_grad_(False)
    _train_only(encoder, "", [path for path, each in encoder.model.named_parameters() if each.requires_grad])


def _train_only(encoder: SpeechEncoder, kind: str, chosen: Iterable[str]) -> Adaptation:
    wanted = set(chosen)
    for path, parameter in encoder.model.named_parameters():
        parameter.requires_grad_(path in wanted)
    trainable = tuple(path for path, _ in encoder.model.named_parameters() if path in wanted)
    first = min((encoder.depth_of(path) for path in trainable), default=encoder.n_blocks + 1)
    encoder.first_changing_depth = first
    # which modules are in training mode follows from what trains
    encoder.train(encoder.training)
    return Adaptation(kind, first, trainable)


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
    n_blocks = encoder.n_blocks
    if item == 0:
        raise EncoderError(
            f"Blocks are numbered from 1 to {n_blocks}, as depths are: 0 is the stem. To train it, name its modules"
            " or adapt fully."
        )
    if not 1 <= abs(item) <= n_blocks:
        raise EncoderError(
            f"{encoder.source.name} has no block {item}: it has 1 to {n_blocks}, or -1 to -{n_blocks} from the end."
        )
    return _parameters_of_block(encoder, item if item > 0 else n_blocks + 1 + item)


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
