"""A saved rater's folder -> its encoder alone, with the weights that it was fine-tuned to."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from lalia.errors import RaterError
from lalia.model.adapters import add_again, merge_adapters
from lalia.model.encoders.base import SpeechEncoder
from lalia.model.encoders.families import find_family
from lalia.model.encoders.from_config import build_from_architecture, check_context, describe_size
from lalia.model.saved_rater import RaterConfig, check_weights, find_rater, read_config, read_weights
from lalia.model.untrusted import find_too_large


def read_fine_tuned(
    folder: Path, normalize: Literal["auto"] | bool = "auto", context: Literal["full", "clip"] = "full"
) -> SpeechEncoder:
    """Return the encoder of a saved rater, frozen and in eval mode.

    Its ``source`` stays that of the encoder which the rater began with; ``source.is_fine_tuned`` says whether training
    has changed it since. Adapters are folded into the weights.

    Args:
        folder: the rater's, or that of its run.
        normalize: ``"auto"`` normalises waveforms as the rater does. Those on spectrograms ignore it.
        context: ``"clip"`` puts a Whisper on the clip alone; ``"full"`` leaves it as it was trained.

    Raises:
        RaterError: if files are missing, damaged, of another format, or do not fit each other.
        EncoderError: if the encoder is not one of lalia's families.
    """
    found = find_rater(folder)
    config = read_config(found)
    encoder = build_saved_encoder(config, read_weights(found, config), found, normalize)
    if context == "clip":
        origin = f"Encoder '{config.encoder.name}'"
        checked = check_context(find_family(config.encoder.family, origin), context, origin)
        encoder.source = replace(encoder.source, context=checked)
    return encoder


def build_saved_encoder(
    config: RaterConfig, weights: Mapping[str, Tensor], folder: Path, normalize: Literal["auto"] | bool = "auto"
) -> SpeechEncoder:
    """Return the encoder that a rater's config describes, with its part of the rater's weights, adapters folded in.

    Args:
        config: the rater's.
        weights: the rater's, those of the encoder under ``encoder.``.
        folder: of the rater, for messages.
        normalize: as for ``read_fine_tuned``.

    Raises:
        RaterError: if the encoder's weights are not those that the config describes, or are not there.
        ModelError: if the rater has a soft prompt, which is no part of an encoder's weights.
    """
    if not config.holds_encoder:
        raise RaterError(
            f"The rater in '{folder}' was saved without the weights of its encoder {config.encoder.name}. Give that"
            " encoder, or train the run with model.save_encoder true."
        )
    described, stored = describe_size(asdict(config.encoder)), sum(each.numel() for each in weights.values())
    too_large = find_too_large(described, stored)
    if too_large is not None:
        raise RaterError(f"The rater in '{folder}' cannot be built: {too_large}")
    encoder = build_from_architecture(asdict(config.encoder))
    add_again(encoder, config.adaptation)
    own = {name.removeprefix("encoder."): values for name, values in weights.items() if name.startswith("encoder.")}
    check_weights(encoder.state_dict(), own, folder)
    encoder.load_state_dict(own)
    merge_adapters(encoder)
    source = config.encoder
    has_trained = source.is_fine_tuned or bool(config.changed) or bool(config.adaptation)
    encoder.source = replace(source, is_fine_tuned=has_trained)
    if normalize != "auto" and not source.features:
        encoder.source = replace(encoder.source, normalize=normalize)
        encoder.normalize = normalize
    return encoder.requires_grad_(False).eval()
