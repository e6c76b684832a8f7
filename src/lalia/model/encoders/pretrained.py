"""Reading a checkpoint's config and weights into an encoder."""

import logging
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers.utils import logging as transformers_logging

from lalia.data.safe_paths import why_unsafe
from lalia.errors import EncoderError, LaliaError, list_some
from lalia.model.encoders.base import EncoderSource, SpeechEncoder
from lalia.model.encoders.clip_features import NAME_KEY, read_features
from lalia.model.encoders.families import FAMILIES, Family, find_family
from lalia.model.encoders.from_config import (
    check_context,
    count_numbers,
    describe_config,
    make_config,
    takes_waveform,
)
from lalia.model.encoders.locate import Checkpoint, read_json
from lalia.model.untrusted import count_stored, find_code, find_excess, find_not_finite, find_too_large

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 384_000
"""Of what models of speech take."""

logger = logging.getLogger(__name__)


def read_checkpoint(
    checkpoint: Checkpoint,
    normalize: Literal["auto"] | bool = "auto",
    context: Literal["full", "clip"] = "full",
) -> SpeechEncoder:
    """Return the encoder in a checkpoint: its weights in float32, without heads, quantizers and decoders.

    Args:
        checkpoint: a folder in the layout of Hugging Face.
        normalize: whether waveforms get zero mean and unit variance; ``"auto"`` follows ``do_normalize`` of the
            checkpoint's preprocessor_config.json. Spectrograms are normalised as they want it, whatever is said here.
        context: Whisper's, ``full`` or ``clip``.

    Raises:
        EncoderError: if the architecture is not one of lalia's families, the config asks for code of its own, the
            weights cannot be read or are no finite numbers, weights of the encoder are missing from them, or they hold
            weights of the encoder that it has no place for.
    """
    origin = f"Encoder '{checkpoint.name}'"
    values = read_json(checkpoint.folder / "config.json")
    _check_config(values, "config.json", origin)
    architecture = values.get("model_type")
    if architecture is None:
        raise EncoderError(
            f"{origin}: its config.json names no architecture (model_type): it is not a model of transformers."
        )
    family = find_family(architecture, origin)
    config = make_config(family, values, origin)
    with _making_a_model(origin):
        _check_size(checkpoint, family, config, origin)
    preprocessor = _read_preprocessor(checkpoint)
    _check_config(preprocessor, "preprocessor_config.json", origin)
    source = EncoderSource(
        family=family.name,
        name=checkpoint.name,
        revision=checkpoint.revision,
        architecture=describe_config(family, config),
        normalize=takes_waveform(family, config) and _choose_normalize(preprocessor, normalize, origin),
        rate_hz=_read_rate(preprocessor, origin),
        features=_choose_features(family, config, preprocessor, origin),
        context=check_context(family, context, origin),
    )
    with _making_a_model(origin):
        return family.make_encoder(_read_weights(checkpoint, family, config, origin), source)


@contextmanager
def _making_a_model(origin: str) -> Iterator[None]:
    """Say that no model can be made of a config, whatever modules raise at values that do not fit together."""
    try:
        yield
    except (LaliaError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise EncoderError(f"{origin}: no model can be made of its config.json ({reason:.200}).") from error


def _choose_features(family: Family, config: Any, preprocessor: dict[str, Any] | None, origin: str) -> dict[str, Any]:
    """Return what the feature extractor is made of: what the config demands, then what the checkpoint says."""
    demanded = family.features(config)
    if NAME_KEY not in demanded and not family.is_whole:
        return demanded
    given = preprocessor or {}
    if family.is_whole:
        features = demanded | given
        if NAME_KEY not in features:
            raise EncoderError(f"{origin} has no preprocessor_config.json, and {family.name} needs one.")
        return read_features(features, origin)
    wrong = [key for key in demanded if key != NAME_KEY and given.get(key, demanded[key]) != demanded[key]]
    if wrong:
        raise EncoderError(
            f"{origin}: preprocessor_config.json gives {wrong[0]} {given[wrong[0]]!r}, but config.json demands"
            f" {demanded[wrong[0]]!r}."
        )
    return read_features({**given, **demanded}, origin)


def _check_config(values: Any, file: str, origin: str) -> None:
    """Refuse a config in which a key, at whatever depth, names code to import, or is beyond any model's size."""
    code = find_code(values)
    if code is not None:
        raise EncoderError(f"{origin} brings its own code ({code} in {file}), which lalia does not run.")
    excess = find_excess(values)
    if excess is not None:
        raise EncoderError(f"{origin}: {file} is not that of a speech model. {excess}.")


def _read_preprocessor(checkpoint: Checkpoint) -> dict[str, Any] | None:
    plain = checkpoint.folder / "preprocessor_config.json"
    if plain.is_file():
        return read_json(plain)
    # what transformers 5 writes for a processor that also holds a tokenizer
    joint = checkpoint.folder / "processor_config.json"
    nested = read_json(joint).get("feature_extractor") if joint.is_file() else None
    return nested if isinstance(nested, dict) else None


def _read_rate(preprocessor: dict[str, Any] | None, origin: str) -> int:
    given = (preprocessor or {}).get("sampling_rate", 16_000)
    is_number = isinstance(given, int | float) and not isinstance(given, bool) and given == given // 1
    if not is_number or not LOWEST_RATE_HZ <= given <= HIGHEST_RATE_HZ:
        raise EncoderError(
            f"{origin}: preprocessor_config.json gives sampling_rate {given!r:.40}, expected a whole number from"
            f" {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}."
        )
    return int(given)


def _choose_normalize(preprocessor: dict[str, Any] | None, normalize: Literal["auto"] | bool, origin: str) -> bool:
    if normalize != "auto":
        return normalize
    if preprocessor is None:
        logger.warning(
            "%s has no preprocessor_config.json: its waveforms are not normalised. If it was trained on waveforms of"
            " zero mean and unit variance, set audio.normalize to true.",
            origin,
        )
        return False
    # true is the default of transformers.Wav2Vec2FeatureExtractor
    return bool(preprocessor.get("do_normalize", True))


def _read_weights(checkpoint: Checkpoint, family: Family, config: Any, origin: str) -> Any:
    # a whole Whisper names its encoder's weights model.encoder.* or encoder.*; unmapped they would all stay random
    mapping = {r"^(model\.)?encoder\.": ""} if family is FAMILIES["whisper"] else None
    try:
        with _quiet_transformers(), torch.random.fork_rng(devices=[]):
            model, report = family.model_class.from_pretrained(
                checkpoint.folder,
                config=config,
                dtype=torch.float32,
                attn_implementation=None if family.is_whole else family.attention,
                key_mapping=mapping,
                local_files_only=True,
                # checked below: the error of transformers points to a report in the log
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise EncoderError(f"{origin}: the weights cannot be read. {error}") from error
    if report["mismatched_keys"]:
        key, found, expected = sorted(report["mismatched_keys"])[0]
        raise EncoderError(
            f"{origin}: {len(report['mismatched_keys'])} weights are not of the size that config.json says, the first"
            f" is {key}: {tuple(found)}, expected {tuple(expected)}."
        )
    # the names in the report are the checkpoint's own, except where they were mapped
    prefix = "" if mapping else f"{family.model_class.base_model_prefix}."
    unexpected = _choose_unexpected(report["unexpected_keys"], _list_keys(checkpoint.folder), model, prefix)
    _refuse_unfit(sorted(report["missing_keys"]), unexpected, origin)
    wrong = find_not_finite(model.state_dict())
    if wrong:
        raise EncoderError(
            f"{origin}: weights hold NaN or infinity: {list_some(wrong)}. Get it again from where it comes from."
        )
    return model


def _choose_unexpected(keys: Iterable[str], all_keys: Iterable[str], model: nn.Module, prefix: str) -> list[str]:
    """Return those of a checkpoint's unused keys that belong to the encoder, by the names in it.

    A key belongs to the encoder if it lies in one of the encoder's own modules. Heads, quantizers, decoders, adapters
    behind the last block and the embedding of masked frames lie beside them.

    Args:
        keys: the unused ones.
        all_keys: of the checkpoint. If any begins with the prefix, the encoder is only a part of what is stored, and
            what stands outside the prefix is not the encoder's, whatever its name: the speaker head of WavLM too has
            a ``feature_extractor``.
        model: the encoder's modules.
        prefix: of the encoder within a larger model, with its dot, such as ``wavlm.``.

    Example:
        >>> encoder = nn.ModuleDict({"layers": nn.ModuleList([nn.Identity()])})
        >>> keys = ["wavlm.layers.1.weight", "layers.weight", "lm_head.weight", "wavlm.masked_spec_embed"]
        >>> _choose_unexpected(keys, keys, encoder, "wavlm.")
        ['layers.1.weight']
    """
    is_part = any(key.startswith(prefix) for key in all_keys)
    own = [key.removeprefix(prefix) for key in keys if not is_part or key.startswith(prefix)]
    modules = {name for name, _ in model.named_children()}
    return sorted(key for key in own if key.partition(".")[0] in modules)


def _check_size(checkpoint: Checkpoint, family: Family, config: Any, origin: str) -> None:
    """Refuse a config that describes a model far larger than its weights, before memory is taken for it."""
    try:
        n_stored = count_stored(_weight_files(checkpoint.folder, origin))
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        if isinstance(error, EncoderError):
            raise
        raise EncoderError(f"{origin}: the weights cannot be read. {error}") from error
    too_large = find_too_large(count_numbers(family, config, origin), n_stored)
    if too_large is not None:
        raise EncoderError(f"{origin}: {too_large}. Get it again from where it comes from.")


def _weight_files(folder: Path, origin: str) -> list[Path]:
    """Return the files of a checkpoint's weights, in the order in which transformers looks for them."""
    for stem in ("model.safetensors", "pytorch_model.bin"):
        if (folder / stem).is_file():
            return [folder / stem]
        index = folder / f"{stem}.index.json"
        if index.is_file():
            names = sorted({str(name) for name in read_json(index).get("weight_map", {}).values()})
            unsafe = [name for name in names if why_unsafe(name, "flat") is not None]
            if unsafe:
                raise EncoderError(f"{origin}: {index.name} names files outside its folder ({list_some(unsafe)}).")
            return [folder / name for name in names]
    return []


def _list_keys(folder: Path) -> list[str]:
    """Return the names of all weights in a checkpoint, without reading the weights."""
    names: list[str] = []
    for path in _weight_files(folder, ""):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                names += file.keys()
        else:
            names += torch.load(path, map_location="meta", weights_only=True)
    return names


def _refuse_unfit(missing: list[str], unexpected: list[str], origin: str) -> None:
    if not missing and not unexpected:
        return
    problems = []
    if missing:
        problems.append(
            f"{len(missing)} of the encoder's weights are not in the checkpoint and would be random:"
            f" {list_some(missing)}"
        )
    if unexpected:
        problems.append(
            f"{len(unexpected)} weights in the checkpoint have no place in the encoder and would be lost:"
            f" {list_some(unexpected)}"
        )
    lora = any(".lora_" in key or ".base_layer." in key for key in unexpected)
    advice = (
        "It holds adapters of peft that are not merged: merge them (merge_and_unload) and save it again."
        if lora
        else "Is it a checkpoint of the architecture and the size that its config.json names?"
    )
    raise EncoderError(f"{origin}: {'; '.join(problems)}. {advice}")


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep transformers from reporting left-out heads and decoders, and from drawing a bar over half a second."""
    verbosity = transformers_logging.get_verbosity()
    has_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if has_bar:
            transformers_logging.enable_progress_bar()
