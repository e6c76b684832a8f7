"""What a model folder that comes from elsewhere must not hold: code to import, and sizes that no model has."""

import json
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

_MAX_JSON_BYTES = 10_000_000
_CODE_KEYS = ("auto_map", "custom_pipelines")
_ATTENTION_KEYS = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
# of one number, of a number of layers, of a list, of a text: more than any speech model has
_MAX_NUMBER = 10_000_000
_MAX_LAYERS = 1_000
_MAX_ITEMS = 100_000
_MAX_RANK = 10_000
_RANK_KEYS = ("rank", "first_rank", "r", "init_r", "target_r", "length", "tokens")
_LAYER_WORDS = ("layers", "blocks", "depth", "stages")
_POSITIVE_WORDS = (
    *(
        "heads",
        "hidden_size",
        "intermediate",
        "ffn_dim",
        "d_model",
        "conv_dim",
        "kernel",
        "stride",
        "distance",
        "buckets",
    ),
    *("hop_length", "n_fft", "mel_bins", "feature_size", "max_length"),
)
# a model may have what no checkpoint holds, such as tables of positions
_SLACK = 50_000_000


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is too large, nested too deeply, no JSON, or no object.
    """
    n_bytes = path.stat().st_size
    if n_bytes > _MAX_JSON_BYTES:
        raise ValueError(f"it has {n_bytes / 1e6:.0f} MB, expected at most {_MAX_JSON_BYTES / 1e6:.0f}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError("it holds no JSON object")
    return values


def find_code(values: Any) -> str | None:
    """Return the key, at whatever depth, by which a config would have code imported, None where there is none.

    Example:
        >>> find_code({"parts": [{"auto_map": {"AutoModel": "evil.Model"}}]})
        'auto_map'
        >>> find_code({"attn_implementation": "somebody/kernels"})
        'attn_implementation'
        >>> find_code({"attn_implementation": "sdpa", "trust_remote_code": False}) is None
        True
    """
    for key, value in _walk(values):
        if key in _CODE_KEYS or (key == "trust_remote_code" and value):
            return key
        # a kernel of the hub, which transformers would fetch and run
        if key in _ATTENTION_KEYS and isinstance(value, str) and ("/" in value or ":" in value):
            return key
    return None


def find_excess(values: Any) -> str | None:
    """Return what of a config is beyond the size of any speech model, in words, None where nothing is.

    Example:
        >>> find_excess({"hidden_size": 768, "num_hidden_layers": 10**9})
        'num_hidden_layers is 1000000000, expected at most 1000'
    """
    for key, value in _walk(values):
        if isinstance(value, bool) or not isinstance(value, (int, str, list, dict)):
            continue
        if isinstance(value, int):
            most = _MAX_LAYERS if any(word in key for word in _LAYER_WORDS) else _MAX_NUMBER
            most = _MAX_RANK if key in _RANK_KEYS else most
            if abs(value) > most:
                shown = value if abs(value) < 10**30 else "a number of many digits"
                return f"{key} is {shown}, expected at most {most}"
        elif len(value) > _MAX_ITEMS:
            return f"{key} has {len(value)} items, expected at most {_MAX_ITEMS}"
    return None


def find_impossible(values: Any) -> str | None:
    """Return what of a model's config no module could do with, in words, None where nothing is.

    Example:
        >>> find_impossible({"num_attention_heads": 0, "hidden_size": 768})
        'num_attention_heads is 0, expected more than 0'
        >>> find_impossible({"attention_dropout": 1.5})
        'attention_dropout is 1.5, expected 0 to 1'
    """
    for key, value in _walk(values):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        if "dropout" in key and not 0 <= value <= 1:
            return f"{key} is {value}, expected 0 to 1"
        if any(word in key for word in _POSITIVE_WORDS) and not value > 0:
            return f"{key} is {value}, expected more than 0"
    return None


def _walk(values: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each key with its value at every depth; items of a list go by the key of the list."""
    stack = [(key, values)]
    while stack:
        name, value = stack.pop()
        yield name, value
        if isinstance(value, Mapping):
            stack += [(str(each), inner) for each, inner in value.items()]
        elif isinstance(value, list):
            stack += [(name, inner) for inner in value]


def count_stored(files: Iterable[Path]) -> int:
    """Return how many numbers safetensors or weights-only pickles hold, without reading them.

    Raises:
        SafetensorError, OSError, RuntimeError, pickle.UnpicklingError: if one is damaged.
    """
    total = 0
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                total += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
        else:
            stored = torch.load(path, map_location="meta", weights_only=True)
            total += sum(each.numel() for each in stored.values() if isinstance(each, torch.Tensor))
    return total


def find_not_finite(weights: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the names of weights that hold NaN or infinity: every score would be NaN, or none of them the model's own.

    Example:
        >>> find_not_finite({"a": torch.tensor([1.0, float("nan")]), "b": torch.zeros(0), "c": torch.tensor([1])})
        ['a']
    """
    # the least and the largest are NaN where any value is: one pass, no memory
    return [
        name
        for name, each in weights.items()
        if each.is_floating_point() and each.numel() and not torch.stack(torch.aminmax(each)).isfinite().all()
    ]


def find_too_large(n_described: int, n_stored: int) -> str | None:
    """Return in words that a config describes a larger model than there are weights for, None where it does not.

    Example:
        >>> find_too_large(10**12, 10**6)
        'config.json describes a model of 1000000000000 numbers, the weights are 1000000'
    """
    if n_described <= 2 * n_stored + _SLACK:
        return None
    return f"config.json describes a model of {n_described} numbers, the weights are {n_stored}"
