"""Small encoders with random weights, to train from scratch."""

from collections.abc import Mapping
from math import gcd
from typing import Any, Literal

from lalia.errors import EncoderError, suggest
from lalia.model.encoders.base import EncoderSource, SpeechEncoder
from lalia.model.encoders.families import Family, find_family
from lalia.model.encoders.from_config import (
    architecture_keys,
    build_model,
    check_context,
    describe_config,
    make_config,
    takes_waveform,
)


def make_random_encoder(
    family: str,
    *,
    layers: int = 2,
    width: int = 64,
    heads: int = 4,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    normalize: bool = True,
    context: Literal["full", "clip"] = "full",
) -> SpeechEncoder:
    """Return a small encoder with seeded random weights; the global random state stays as it was.

    The ones on a convolutional stem keep the standard kernels and strides, with narrower convolutions, layer norms in
    the stem (cheap in batches) and, where there is a choice, blocks normalised before attention (stable from scratch).
    Dropout is 0.1.

    Args:
        family: an architecture's name, Hugging Face's ``model_type``, such as wav2vec2, wavlm or whisper.
        layers: the number of blocks.
        width: of the frames.
        heads: attention heads of each block, a divisor of the width.
        seed: of the weights.
        config: further keys of the architecture's Hugging Face config, such as ``max_source_positions``.
        normalize: whether waveforms get zero mean and unit variance; those on spectrograms never do.
        context: Whisper's, ``full`` or ``clip``.

    Raises:
        EncoderError: if the family or a key of ``config`` is unknown, or the sizes are wrong or do not fit together.

    Example:
        >>> encoder = make_random_encoder("wavlm", layers=1, width=16, heads=2)
        >>> encoder.n_blocks, encoder.width, encoder.min_samples
        (1, 16, 400)
    """
    origin = f"Random encoder '{family}'"
    found = find_family(family, origin)
    for name, size in (("layers", layers), ("width", width), ("heads", heads)):
        if not isinstance(size, int) or size < 1:
            raise EncoderError(f"{origin}: {name} must be a whole number of 1 or more, got {size!r}.")
    if width % heads:
        raise EncoderError(f"{origin}: width must be a multiple of heads, got {width} and {heads}.")
    overrides = dict(config or {})
    known = architecture_keys(found)
    unknown = [key for key in overrides if key not in known]
    if unknown:
        raise EncoderError(f"{origin}: '{unknown[0]}' is not a key of its config.{suggest(unknown[0], known)}")
    defaults = _choose_defaults(found, layers, width, heads)
    made = make_config(found, {key: value for key, value in defaults.items() if key in known} | overrides, origin)
    source = EncoderSource(
        family=found.name,
        name=f"random:{family}",
        revision=None,
        architecture=describe_config(found, made),
        normalize=normalize and takes_waveform(found, made),
        features=found.features(made),
        context=check_context(found, context, origin),
    )
    return found.make_encoder(build_model(found, made, origin, seed), source)


def _choose_defaults(family: Family, layers: int, width: int, heads: int) -> dict[str, Any]:
    """Return sizes for an architecture; keys that it does not have are left aside by the caller."""
    n_convolutions = len(getattr(family.config_class(), "conv_kernel", ()))
    defaults: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "intermediate_size": 4 * width,
        "hidden_dropout": 0.1,
        "hidden_dropout_prob": 0.1,
        "activation_dropout": 0.1,
        # as architectures with a decoder name them
        "d_model": width,
        "encoder_layers": layers,
        "encoder_attention_heads": heads,
        "encoder_ffn_dim": 4 * width,
        "dropout": 0.1,
        # attention with dropout has no fused kernel on the CPU: steps on a context of 10 s took four times as long
        "attention_dropout": 0.0,
    }
    if n_convolutions:
        defaults |= {
            "conv_dim": [min(width, 512)] * n_convolutions,
            "num_conv_pos_embedding_groups": gcd(16, width),
            "feat_extract_norm": "layer",
            "do_stable_layer_norm": True,
        }
    if family.is_whole:
        defaults |= {"decoder_layers": 1, "decoder_attention_heads": heads, "decoder_ffn_dim": width}
    else:
        defaults["subsampling_conv_channels"] = min(width, 256)
    return defaults
