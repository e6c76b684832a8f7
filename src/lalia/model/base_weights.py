"""The weights that a rater shares with the encoder it was built on: which they are, and whether they are the same."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from lalia.errors import RaterError, list_some
from lalia.model.adapt import own_changes
from lalia.model.encoders.base import SpeechEncoder
from lalia.model.encoders.module_tree import added_parameters, plain_path
from lalia.model.saved_rater import RaterConfig, hash_weights


def shared_weights(encoder: SpeechEncoder) -> dict[str, Tensor]:
    """Return the weights of an encoder that no training has changed, by their paths within ``model``.

    Example:
        >>> from lalia.model.adapt import adapt_partial
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "hubert", "layers": 2, "width": 16, "heads": 2})
        >>> _ = adapt_partial(encoder, last=1)
        >>> any(path.startswith("encoder.layers.1.") for path in shared_weights(encoder))
        False
    """
    left_out = set(added_parameters(encoder.model))
    changed = own_changes(encoder)
    weights = encoder.model.state_dict()
    return {path: each for path, each in weights.items() if path not in left_out and plain_path(path) not in changed}


def hash_shared(encoder: SpeechEncoder) -> str:
    """Return the SHA-256 of the weights that no training has changed, the same with adapters around them or without."""
    weights = shared_weights(encoder)
    return hash_weights({plain_path(path): each.detach().cpu().contiguous() for path, each in weights.items()})


def check_source(encoder: SpeechEncoder, config: RaterConfig, folder: Path) -> None:
    """Refuse an encoder that is not the one a rater was trained on, by its name, revision and architecture.

    Raises:
        RaterError: says what differs.
    """
    wanted, given = asdict(config.encoder), asdict(encoder.source)
    different = _differences(wanted, given)
    if different:
        raise RaterError(
            f"The rater in '{folder}' was trained on another encoder than the given one: {list_some(different)}. Load"
            f" {config.encoder.name}" + (f" at {config.encoder.revision}." if config.encoder.revision else ".")
        )
    if encoder.added:
        raise RaterError(f"The given encoder was adapted already ({encoder.added['kind']}). Load it anew.")


def check_shared(encoder: SpeechEncoder, config: RaterConfig, folder: Path) -> None:
    """Refuse an encoder whose weights are not those that a rater was trained on.

    Args:
        encoder: given adapters and changes as the rater has them.
        config: of the rater.
        folder: of the rater.

    Raises:
        RaterError: if the hashes differ, or the rater holds none.
    """
    if hash_shared(encoder) != config.encoder_sha256:
        raise RaterError(
            f"The weights of the given encoder {encoder.source.name} are not those that the rater in '{folder}' was"
            " trained on, though its name is the same. Load it as it was, untrained."
        )


def _differences(wanted: dict[str, Any], given: dict[str, Any]) -> list[str]:
    found = []
    for key, value in wanted.items():
        if isinstance(value, dict):
            found += [f"{key}.{each}" for each in _differences({**dict.fromkeys(given[key]), **value}, given[key])]
        elif value != given.get(key):
            found.append(f"{key} {given.get(key)!r} instead of {value!r}")
    return found
