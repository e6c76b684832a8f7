"""Whether the parts of a rater fit together."""

from typing import TYPE_CHECKING

from lalia.errors import ModelError
from lalia.model.decisions import check_decisions

if TYPE_CHECKING:
    from lalia.model.rater import SpeechRater


def check_parts(rater: "SpeechRater") -> None:
    """Make sure that the parts of a rater fit together.

    Raises:
        ModelError: says which ones do not, and what each of them has.
    """
    encoder, given = rater.encoder, rater.preprocessing
    n_outputs = 0 if rater.rater_heads is None else rater.rater_heads.layers.n_traits
    if n_outputs != len(rater.raters) * len(rater.traits):
        raise ModelError(
            f"The raters' heads have {n_outputs} outputs, {len(rater.raters)} raters of {len(rater.traits)} traits"
            f" need {len(rater.raters) * len(rater.traits)}."
        )
    if rater.pooling.width != rater.layer_mix.out_width:
        raise ModelError(
            f"The pooling takes frames of width {rater.pooling.width}, the layers {rater.layers!r} of the encoder"
            f" give {rater.layer_mix.out_width}."
        )
    for transformer in rater.head.layers.transformers:
        if transformer.width != rater.pooling.width:
            raise ModelError(
                f"The head's transformer takes frames of width {transformer.width}, the pooling {rater.pooling.width}."
            )
    if rater.head.layers.width != rater.pooling.out_width:
        raise ModelError(
            f"The head takes width {rater.head.layers.width}, the pooling gives {rater.pooling.out_width}."
        )
    if rater.head.layers.n_traits != len(set(rater.traits)) or not rater.traits:
        raise ModelError(f"The head rates {rater.head.layers.n_traits} traits, the names are {list(rater.traits)}.")
    if given.rate_hz != encoder.rate_hz:
        raise ModelError(f"The encoder takes {encoder.rate_hz} Hz, the preprocessing gives {given.rate_hz} Hz.")
    window, hop = (round(seconds * given.rate_hz) for seconds in (given.window_seconds, given.hop_seconds))
    if not 1 <= hop <= window:
        raise ModelError(
            f"Windows of {given.window_seconds:g} s every {given.hop_seconds:g} s leave out what is between them."
        )
    if encoder.max_samples is not None and round(given.window_seconds * given.rate_hz) > encoder.max_samples:
        seconds = encoder.max_samples / encoder.rate_hz
        raise ModelError(
            f"A window of {given.window_seconds:g} s is longer than the {seconds:g} s that {encoder.source.name}"
            f" takes. Set audio.window_seconds to {seconds:g} or less."
        )
    check_decisions(rater.traits, rater.thresholds, rater.calibrations, rater.abstentions)
