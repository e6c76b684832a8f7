"""From settings to components: the only file that knows both."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from lalia.data.audio import Preprocessing
from lalia.errors import ModelError, list_some
from lalia.model.adapt import Adaptation, adapt_frozen, adapt_full, adapt_partial, freeze_unused
from lalia.model.encoders.base import SpeechEncoder
from lalia.model.encoders.fine_tuned import build_saved_encoder
from lalia.model.encoders.load import load_encoder
from lalia.model.heads import build_head
from lalia.model.pooling import build_pooling
from lalia.model.rater import SpeechRater
from lalia.model.saved_head import SavedHead, choose_head, read_head
from lalia.model.saved_rater import RaterConfig, find_rater, read_config, read_values, read_weights
from lalia.settings import (
    AdaptSettings,
    AudioSettings,
    FrozenAdapt,
    FullAdapt,
    PartialAdapt,
    RandomEncoder,
    RunSettings,
)


def build_rater(settings: RunSettings, traits: Sequence[str]) -> SpeechRater:
    """Build the rater of a run: encoder loaded and adapted, new weights drawn from the run's seed.

    With ``model.start_from`` the encoder, layer mix, pooling and head are those of a saved rater, with
    ``model.head_from`` the pooling and head. Traits go by their names: one that was not saved gets a new head.

    Args:
        settings: of the run.
        traits: what is rated, in the order of the outputs.

    Raises:
        EncoderError: if the encoder cannot be loaded or adapted as asked.
        RaterError: if the saved rater or head cannot be read.
        ModelError: if the parts do not fit together, or what is saved is not as the settings say.
    """
    start = None if settings.model.start_from is None else read_start(settings)
    saved_head = None if settings.model.head_from is None else read_head(settings.model.head_from)
    if saved_head is not None:
        _refuse_differences("head_from", saved_head, _head_differences(settings, saved_head))
    encoder = build_encoder(settings) if start is None else start.encoder
    adapt_encoder(encoder, settings.model.adapt)
    freeze_unused(encoder, settings.model.layers)
    scale = settings.data.scale.build()
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        rater = SpeechRater(
            encoder,
            layers=settings.model.layers,
            pooling=build_pooling(width=encoder.width, **settings.model.pooling.model_dump()),
            head=build_head(width=encoder.width, n_traits=len(traits), scale=scale, **settings.model.head.model_dump()),
            traits=tuple(traits),
            scale=scale,
            preprocessing=build_preprocessing(settings.audio, encoder),
        )
        if start is not None and rater.layer_mix is not None and start.layer_mix is not None:
            rater.layer_mix.load_state_dict(start.layer_mix)
        saved_head = saved_head if start is None else start.head
        if saved_head is not None:
            rater.take_over_head(saved_head)
        check_gradients(rater)
    return rater


def build_encoder(settings: RunSettings) -> SpeechEncoder:
    """Load or make the encoder of a run that does not start from a saved rater."""
    encoder = settings.model.encoder
    assert encoder is not None, "settings without an encoder have start_from"
    return load_encoder(
        encoder.model_dump() if isinstance(encoder, RandomEncoder) else encoder,
        revision=settings.model.revision,
        normalize=settings.audio.normalize,
        download_dir=settings.model.download_dir,
        keep_download=settings.model.keep_download,
    )


class Start(NamedTuple):
    """A saved rater as the start of a run.

    Args:
        encoder: with its saved weights.
        layer_mix: its weights, None where the rater pools one depth.
        head: its pooling and head.
    """

    encoder: SpeechEncoder
    layer_mix: dict[str, Tensor] | None
    head: SavedHead


def read_start(settings: RunSettings) -> Start:
    """Read the rater of ``model.start_from``.

    Raises:
        RaterError: if it cannot be read.
        ModelError: lists what the settings say otherwise than the rater.
    """
    folder = find_rater(Path(str(settings.model.start_from)))
    config = read_config(folder)
    weights = read_weights(folder, config)
    head = choose_head(folder, config, weights)
    _refuse_differences(
        "start_from", head, [*_encoder_differences(settings, config), *_head_differences(settings, head)]
    )
    encoder = build_saved_encoder(config, weights, folder, settings.audio.normalize)
    mix = {name.removeprefix("layer_mix."): values for name, values in weights.items() if name.startswith("layer_mix.")}
    return Start(encoder, mix or None, head)


def hash_start(settings: RunSettings) -> str | None:
    """Return the hash of the weights of ``model.start_from`` or ``model.head_from``, None without either.

    Raises:
        RaterError: if there is no such rater or head.
    """
    place = settings.model.start_from or settings.model.head_from
    return None if place is None else str(read_values(find_rater(Path(place)))["weights_sha256"])


def _encoder_differences(settings: RunSettings, config: RaterConfig) -> list[str]:
    """Say in which settings of the encoder and its layers a saved rater is another one."""
    model, source = settings.model, config.encoder
    differences = []
    if isinstance(model.encoder, RandomEncoder):
        asked = load_encoder(model.encoder.model_dump()).source
        if (asked.name, asked.architecture) != (source.name, source.architecture):
            differences.append(
                f"model.encoder is a random {model.encoder.random}, there another encoder, {source.name}"
            )
    elif model.encoder is not None and source.name not in (model.encoder, _folder_name(model.encoder)):
        differences.append(f"model.encoder is {model.encoder!r}, there {source.name!r}")
    if model.revision not in (None, source.revision):
        differences.append(f"model.revision is {model.revision!r}, there {source.revision!r}")
    if model.layers != config.layers:
        differences.append(f"model.layers is {model.layers!r}, there {config.layers!r}")
    return differences


def _folder_name(encoder: str) -> str | None:
    folder = Path(encoder)
    return folder.name if folder.is_dir() else None


def _head_differences(settings: RunSettings, saved: SavedHead) -> list[str]:
    """Say in which settings of pooling, head and scale a saved head is another one; dropout may change."""
    differences = []
    for part in ("pooling", "head"):
        given = getattr(settings.model, part).model_dump(mode="json")
        there = getattr(saved.config, part)
        # of another kind the other settings are others anyway
        keys = ["kind"] if given["kind"] != there["kind"] else [key for key in there if key != "dropout"]
        differences += [
            f"model.{part}.{key} is {given.get(key)!r}, there {there[key]!r}"
            for key in keys
            if given.get(key) != there[key]
        ]
    scale = settings.data.scale.build()
    for key in ("levels", "present_from"):
        ours, theirs = getattr(scale, key), getattr(saved.config.scale, key)
        if ours != theirs:
            differences.append(f"data.scale.{key} is {ours}, there {theirs}")
    return differences


def _refuse_differences(key: str, saved: SavedHead, differences: list[str]) -> None:
    if differences:
        raise ModelError(
            f"model.{key}: the settings are not those of the one saved in '{saved.folder}': {'; '.join(differences)}."
            f" Leave these settings out to take over the saved ones, or train without {key}."
        )


def build_preprocessing(audio: AudioSettings, encoder: SpeechEncoder) -> Preprocessing:
    """Say how a file becomes windows of samples for an encoder."""
    return Preprocessing(
        rate_hz=encoder.rate_hz,
        trim_db=audio.trim_db,
        window_seconds=audio.window_seconds,
        hop_seconds=audio.hop_seconds,
    )


def check_gradients(rater: SpeechRater) -> None:
    """Make sure that training reaches every trainable parameter, by one forward and backward pass over noise.

    Raises:
        ModelError: names the parameters that would never change.
    """
    n_samples = max(rater.encoder.min_samples, rater.encoder.rate_hz)
    raw = rater(torch.randn(1, n_samples), torch.tensor([n_samples]), torch.tensor([0]))
    raw.square().sum().backward()
    missed = [name for name, each in rater.named_parameters() if each.requires_grad and each.grad is None]
    rater.zero_grad(set_to_none=True)
    if missed:
        raise ModelError(f"Training would not reach {len(missed)} trainable parameters: {list_some(missed)}.")


def adapt_encoder(encoder: SpeechEncoder, adapt: AdaptSettings) -> Adaptation:
    """Set what of an encoder trains."""
    match adapt:
        case FrozenAdapt():
            return adapt_frozen(encoder)
        case PartialAdapt():
            return adapt_partial(encoder, last=adapt.last, unfreeze=adapt.unfreeze)
        case FullAdapt():
            return adapt_full(encoder, train_stem=adapt.train_stem)
