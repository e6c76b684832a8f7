"""What an encoder's frames depend on, as hashes: its architecture and its weights up to a depth."""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from torch import Tensor, nn

from lalia.model.encoders.base import Depth, SpeechEncoder
from lalia.model.encoders.module_tree import added_parameters
from lalia.model.saved_rater import hash_weights

_ORIGINS = ("name", "revision", "is_fine_tuned")


def encoder_fingerprints(encoder: SpeechEncoder, depths: Iterable[Depth]) -> dict[Depth, str]:
    """Return for each depth the SHA-256 of all that its frames depend on.

    That is the architecture, how waveforms are taken, what was added to the encoder, and the weights of the depth and
    of those below it; so training a block leaves the depths below it as they were. Where the encoder comes from is not
    part of it: the commit of a Hugging Face id only says which weights these are, and the same weights in another
    folder give the same frames.

    Args:
        encoder: whose frames they are.
        depths: numbers from 0, ``"last"`` or ``"features"``.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> seeds = [{"random": "wavlm", "layers": 1, "width": 16, "heads": 2, "seed": seed} for seed in (0, 0, 1)]
        >>> first, same, other = (encoder_fingerprints(load_encoder(seed), [1])[1] for seed in seeds)
        >>> first == same, first == other
        (True, False)
    """
    wanted = set(depths)
    weights = _weights_of_depths(encoder)
    described = {name: value for name, value in asdict(encoder.source).items() if name not in _ORIGINS}
    fingerprint = _digest(json.dumps(described, sort_keys=True, default=str))
    added_at = _depth_of_additions(encoder)
    found: dict[Depth, str] = {}
    order: list[Depth] = ["features", *range(encoder.n_blocks + 1), "last"]
    order = order[: 1 + max((order.index(depth) for depth in wanted), default=-1)]
    # most of the time goes into the weights, and hashing them lets other threads run
    with ThreadPoolExecutor() as executor:
        hashes = executor.map(hash_weights, [weights.get(depth, {}) for depth in order])
        for depth, of_weights in zip(order, hashes, strict=True):
            added = json.dumps(encoder.added, sort_keys=True) if depth == added_at else ""
            fingerprint = _digest(fingerprint, added, of_weights)
            if depth in wanted:
                found[depth] = fingerprint
    return found


def _weights_of_depths(encoder: SpeechEncoder) -> dict[Depth, dict[str, Tensor]]:
    """Return the weights and buffers that come into play at each depth."""
    found: dict[Depth, dict[str, Tensor]] = {}
    features = _prefixes(encoder, encoder.feature_modules)
    behind = () if encoder.last_depth_is_normalized else _prefixes(encoder, encoder.output_modules)
    for path, weight in encoder.model.state_dict().items():
        depth: Depth = encoder.depth_of(path)
        if path.startswith((*features, *behind)):
            depth = "features" if path.startswith(features) else "last"
        found.setdefault(depth, {})[path] = weight.detach().to("cpu").contiguous()
    if encoder.prompt is not None:
        for path, vectors in encoder.prompt.named_parameters(prefix="prompt"):
            found.setdefault(encoder.depth_of(path), {})[path] = vectors.detach().to("cpu").contiguous()
    return found


def _prefixes(encoder: SpeechEncoder, modules: Iterable[nn.Module]) -> tuple[str, ...]:
    return tuple(f"{encoder.path_of(module)}." for module in modules)


def _depth_of_additions(encoder: SpeechEncoder) -> int | None:
    """Return the lowest depth at which adapters or a prompt act, None without any."""
    depths = [encoder.depth_of(path) for path in added_parameters(encoder.model)]
    if encoder.prompt is not None:
        depths.append(1)
    return min(depths, default=None)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
