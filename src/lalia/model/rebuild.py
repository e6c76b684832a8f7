"""A saved rater's parts, built again from its config: their weights are read afterwards."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from lalia.errors import EncoderError, RaterError
from lalia.model.adapt import adapt_frozen
from lalia.model.adapters import add_again
from lalia.model.encoders.base import SpeechEncoder
from lalia.model.encoders.from_config import describe_size
from lalia.model.encoders.load import build_from_architecture, load_encoder
from lalia.model.heads import build_head
from lalia.model.layer_mix import build_layer_mix
from lalia.model.pooling import build_pooling
from lalia.model.saved_rater import WEIGHTS_FILE, RaterConfig
from lalia.model.untrusted import count_stored, find_impossible, find_too_large

R = TypeVar("R")


def rebuild(make: Callable[..., R], config: RaterConfig, folder: Path, encoder: SpeechEncoder | None) -> R:
    """Return a rater whose parts are those of a saved one, with random weights.

    Args:
        make: ``SpeechRater``.
        config: of the saved rater.
        folder: where it lies.
        encoder: as it was before training, changed in place; None builds it.

    Raises:
        RaterError: if the config is not one of parts that there are and fit each other.
    """
    wrong = find_impossible([config.head, config.rater_heads, config.pooling])
    if wrong is not None:
        raise RaterError(f"The rater in '{folder}' cannot be built: {wrong}.")
    try:
        # the weights are random until the saved ones are read: leave the caller's random state as it was
        with torch.random.fork_rng(devices=[]):
            n_stored = count_stored([folder / WEIGHTS_FILE])
            if encoder is None:
                _check_size(describe_size(asdict(config.encoder)), n_stored)
                encoder = build_from_architecture(asdict(config.encoder))
            adapt_frozen(encoder)
            add_again(encoder, config.adaptation)
            encoder.changed = frozenset(config.changed)
            # first without memory for them
            with torch.device("meta"):
                sketch = _build_parts(config, encoder)
            _check_size(sum(each.numel() for part in sketch if part for each in part.parameters()), n_stored)
            pooling, head, rater_heads = _build_parts(config, encoder)
            return make(
                encoder,
                layers=config.layers,
                pooling=pooling,
                head=head,
                traits=config.traits,
                scale=config.scale,
                preprocessing=config.preprocessing,
                thresholds=config.thresholds,
                calibrations=config.calibrations,
                abstentions=config.abstentions,
                rater_heads=rater_heads,
                raters=config.raters,
            )
    # a ModelError is a ValueError, torch's are RuntimeErrors
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as cause:
        raise RaterError(f"The rater in '{folder}' cannot be built: {cause}") from cause


def _build_parts(config: RaterConfig, encoder: SpeechEncoder) -> tuple[nn.Module, nn.Module, nn.Module | None]:
    width = build_layer_mix(config.layers, n_blocks=encoder.n_blocks, width=encoder.width).out_width
    pooling = build_pooling(**config.pooling, width=width)
    head = build_head(
        **config.head,
        width=pooling.out_width,
        frame_width=width,
        n_traits=len(config.traits),
        scale=config.scale,
    )
    if not config.rater_heads:
        return pooling, head, None
    n_outputs = len(config.traits) * len(config.raters)
    return (
        pooling,
        head,
        build_head(**config.rater_heads, width=pooling.out_width, n_traits=n_outputs, scale=config.scale),
    )


def _check_size(n_described: int, n_stored: int) -> None:
    too_large = find_too_large(n_described, n_stored)
    if too_large is not None:
        raise RaterError(too_large)


def load_base(config: RaterConfig, folder: Path) -> SpeechEncoder:
    """Return the encoder that a rater was trained on and saved without, as it was before training."""
    source = config.encoder
    hint = "Give it: SpeechRater.from_pretrained(folder, encoder=load_encoder(...))."
    missing = f"The rater in '{folder}' was saved without the weights of its encoder {source.name}"
    if source.name.startswith("random:"):
        raise RaterError(f"{missing}, whose seed is not known. {hint}")
    try:
        return load_encoder(source.name, revision=source.revision, normalize=source.normalize)
    except EncoderError as cause:
        raise RaterError(f"{missing}, which cannot be loaded. {cause} {hint}") from cause
