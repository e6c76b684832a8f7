"""From settings to components: the only file that knows both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lalia.config import load_config
from lalia.data.audio import Preprocessing
from lalia.data.augment import Augmentation, Step
from lalia.data.catalogue import check_transform
from lalia.data.spec_augment import SpecAugment
from lalia.errors import ConfigError, ModelError, list_some, suggest
from lalia.model.adapt import Adaptation, adapt_frozen, adapt_full, adapt_partial, freeze_unused
from lalia.model.adapters import adapt_adalora, adapt_ia3, adapt_lora, adapt_soft_prompt
from lalia.model.encoders.base import SpeechEncoder
from lalia.model.encoders.load import load_encoder
from lalia.model.heads import Head, build_head
from lalia.model.inputs import Windows
from lalia.model.joint_losses import Rank
from lalia.model.layer_mix import build_layer_mix
from lalia.model.losses import RatingLoss, weigh_ratings
from lalia.model.pooling import Pooling, build_pooling
from lalia.model.rater import SpeechRater
from lalia.model.saved_head import read_head
from lalia.model.saved_rater import find_rater, read_config
from lalia.model.take_over import take_head
from lalia.scale import Scale
from lalia.settings import (
    AdaLoraAdapt,
    AdaptSettings,
    AudiomentationsDistortion,
    AudioSettings,
    FrozenAdapt,
    FullAdapt,
    HeadSettings,
    IA3Adapt,
    LastBlocks,
    LoraAdapt,
    LossSettings,
    ModelSettings,
    PartialAdapt,
    RandomEncoder,
    RunSettings,
    SoftPromptAdapt,
)


def build_rater(settings: RunSettings, traits: Sequence[str], raters: Sequence[str] = ()) -> SpeechRater:
    """Build the rater of a run: encoder loaded and adapted, new weights drawn from the run's seed.

    Args:
        settings: of the run.
        traits: what is rated, in the order of the outputs.
        raters: who rated it; each gets a head with ``model.rater_heads``.

    Raises:
        ConfigError: if a trait is not in exactly one of the head's groups.
        EncoderError: if the encoder cannot be loaded or adapted as asked.
        ModelError: if the parts do not fit together.
    """
    started = _load_start(settings)
    encoder = build_encoder(settings) if started is None else started.encoder
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        adapt_encoder(encoder, settings.model.adapt)
    freeze_unused(encoder, settings.model.layers)
    scale = settings.data.scale.build()
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        mix = build_layer_mix(settings.model.layers, n_blocks=encoder.n_blocks, width=encoder.width)
        pooling = build_pooling(width=mix.out_width, **settings.model.pooling.model_dump())
        head = _build_head(settings.model.head, traits, scale, pooling)
        rater = SpeechRater(
            encoder,
            layers=settings.model.layers,
            pooling=pooling,
            head=head,
            traits=tuple(traits),
            scale=scale,
            preprocessing=build_preprocessing(settings.audio, encoder),
            # drawn last: all other weights are the same with and without
            rater_heads=_build_rater_heads(settings.model, len(traits) * len(raters), scale, pooling),
            raters=raters if settings.model.rater_heads else (),
        )
        check_gradients(rater)
    _take_over(rater, settings, started)
    return rater


def _load_start(settings: RunSettings) -> SpeechRater | None:
    """Return the rater that a run goes on from, its adapters folded in; None where there is none."""
    place = settings.model.start_from
    if place is None:
        return None
    started = load_rater(place)
    if started.encoder.prompt is not None:
        raise ModelError(
            f"The rater in '{place}' has a soft prompt, which is no part of an encoder: a run cannot go on from it."
            " Give head_from for its head."
        )
    normalizes, asked = started.encoder.normalize, settings.audio.normalize
    # Whisper's waveforms are as they are, whatever is asked for
    if asked not in ("auto", normalizes) and started.encoder.family != "whisper":
        raise ModelError(
            f"The rater in '{place}' was trained with audio.normalize {str(normalizes).lower()}, and the settings say"
            f" {str(asked).lower()}. Leave audio.normalize out, or give its folder as encoder to keep that alone."
        )
    started.merge()
    # new adapters or blocks are chosen anew
    adapt_frozen(started.encoder)
    return started


def _take_over(rater: SpeechRater, settings: RunSettings, started: SpeechRater | None) -> None:
    """Give a new rater the head, and with a whole rater the layer mix, that were trained before."""
    place = settings.model.start_from or settings.model.head_from
    if place is None:
        return
    if started is not None:
        if started.layers != rater.layers:
            raise ModelError(
                f"The rater in '{place}' pools layers {started.layers!r}, and model.layers is {rater.layers!r}. Set"
                " them alike, or give its folder as encoder to keep that alone."
            )
        rater.layer_mix.load_state_dict(started.layer_mix.state_dict())
    rater.kept_traits = take_head(rater, read_head(Path(place)), place)


def build_encoder(settings: RunSettings) -> SpeechEncoder:
    """Load or make the encoder of a run."""
    encoder = settings.model.encoder
    if encoder is None:
        raise ModelError("The settings name no encoder: the run goes on from a whole rater (model.start_from).")
    return load_encoder(
        encoder.model_dump() if isinstance(encoder, RandomEncoder) else encoder,
        revision=settings.model.revision,
        normalize=settings.audio.normalize,
        context=settings.model.context,
        download_dir=settings.model.download_dir,
        keep_download=settings.model.keep_download,
    )


def load_rater(folder: str | Path) -> SpeechRater:
    """Read a rater; where it was saved without its encoder and lies in a run's folder, on the encoder of that run.

    Args:
        folder: of a run, or of the rater itself.

    Raises:
        RaterError: if the rater cannot be read, or its encoder is not what it was.
        ConfigError: if the settings of its run cannot be read.
    """
    found = find_rater(Path(folder))
    settings = found.parent / "config.yaml"
    if read_config(found).holds_encoder or not settings.is_file():
        return SpeechRater.from_pretrained(found)
    return SpeechRater.from_pretrained(found, encoder=build_base(load_config(settings)))


def build_base(settings: RunSettings) -> SpeechEncoder:
    """Load or make the encoder of a run as it is before the run trains it.

    Raises:
        EncoderError: if it cannot be loaded.
        ModelError: if the run goes on from a rater, which cannot be gone on with.
        RaterError: if that rater cannot be read.
    """
    started = _load_start(settings)
    return build_encoder(settings) if started is None else started.encoder


def _build_head(asked: HeadSettings, traits: Sequence[str], scale: Scale, pooling: Pooling) -> Head:
    asked.check_groups(traits)
    # a head knows its traits by their position
    groups = {name: [traits.index(trait) for trait in group] for name, group in asked.groups.items()}
    return build_head(
        width=pooling.out_width,
        frame_width=pooling.width,
        n_traits=len(traits),
        scale=scale,
        **asked.model_dump() | {"groups": groups},
    )


def _build_rater_heads(model: ModelSettings, n_outputs: int, scale: Scale, pooling: Pooling) -> Head | None:
    if not model.rater_heads:
        return None
    options = model.head.model_dump(include={"kind", "method", "dropout", "layer_norm"})
    return build_head(width=pooling.out_width, n_traits=n_outputs, scale=scale, **options)


def build_loss(settings: LossSettings, rater: SpeechRater, ratings: Tensor) -> RatingLoss:
    """Say what training minimises.

    Args:
        settings: of the loss.
        rater: that trains.
        ratings: of the training part, NaN where missing, shape (recordings, traits).

    Raises:
        ConfigError: if a weight is given for what is no trait.
    """
    unknown = [trait for trait in settings.trait_weights if trait not in rater.traits]
    if unknown:
        hint = suggest(unknown[0], rater.traits)
        raise ConfigError(f"train.loss.trait_weights: {list_some(unknown)} is no trait.{hint}")
    by_level = settings.level_weights == "inverse_frequency"
    weights = None
    if settings.trait_weights or by_level:
        per_trait = torch.tensor([settings.trait_weights.get(trait, 1.0) for trait in rater.traits])
        weights = weigh_ratings(rater.head, ratings, per_trait, by_level=by_level)
    return RatingLoss(
        settings.regression,
        settings.focal_gamma,
        settings.label_smoothing,
        weights,
        rank=Rank(**settings.rank.model_dump()) if settings.rank else None,
        rater_weight=settings.rater_weight,
        takes_shares=settings.targets == "raters",
    )


def build_preprocessing(audio: AudioSettings, encoder: SpeechEncoder) -> Preprocessing:
    """Say how a file becomes windows of samples for an encoder."""
    return Preprocessing(
        rate_hz=encoder.rate_hz,
        trim_db=audio.trim_db,
        window_seconds=audio.window_seconds,
        hop_seconds=audio.hop_seconds,
        limits=audio.limits.build(),
    )


def build_augmentation(settings: RunSettings, encoder: SpeechEncoder) -> Augmentation | None:
    """Say how the recordings of the training part are distorted and what is hidden of them; None where nothing is.

    Raises:
        ConfigError: if the encoder has no row of frames that could be hidden, or a transform of audiomentations cannot
            be used.
    """
    hidden = settings.augment.spec_augment
    if hidden is not None and not encoder.takes_masks:
        raise ConfigError(
            f"augment.spec_augment hides frames from an encoder's blocks, but what {encoder.source.name} computes is "
            f"{'patches' if encoder.n_blocks else 'one whole'}. Take it out; time_mask silences the waveform instead."
        )
    for each in settings.augment.apply:
        if isinstance(each, AudiomentationsDistortion):
            check_transform(each.transform, each.parameters, encoder.rate_hz)
    steps = tuple(
        Step(each.kind, each.probability, each.model_dump(exclude={"kind", "probability"}))
        for each in settings.augment.apply
    )
    if not steps and hidden is None:
        return None
    return Augmentation(
        steps,
        seed=settings.seed,
        views=settings.augment.views,
        min_samples=encoder.min_samples,
        spec_augment=None if hidden is None else SpecAugment(**hidden.model_dump()),
    )


def check_gradients(rater: SpeechRater) -> None:
    """Make sure that training reaches every trainable parameter, by one forward and backward pass over noise.

    Raises:
        ModelError: names the parameters that would never change.
    """
    n_samples = max(rater.encoder.min_samples, rater.encoder.rate_hz)
    raw = rater(Windows(torch.randn(1, n_samples), torch.tensor([n_samples]), torch.tensor([0])))
    raw.square().sum().backward()
    missed = [name for name, each in rater.named_parameters() if each.requires_grad and each.grad is None]
    rater.zero_grad(set_to_none=True)
    if missed:
        raise ModelError(f"Training would not reach {len(missed)} trainable parameters: {list_some(missed)}.")


def adapt_encoder(encoder: SpeechEncoder, adapt: AdaptSettings) -> Adaptation:
    """Set what of an encoder trains, and add what is to be added."""
    match adapt:
        case FrozenAdapt():
            return adapt_frozen(encoder)
        case PartialAdapt():
            return adapt_partial(encoder, last=adapt.last, unfreeze=adapt.unfreeze)
        case FullAdapt():
            return adapt_full(encoder, **adapt.model_dump(exclude={"kind"}))
        case LoraAdapt():
            return adapt_lora(encoder, **_adapter_arguments(adapt))
        case IA3Adapt():
            return adapt_ia3(encoder, **_adapter_arguments(adapt))
        case AdaLoraAdapt():
            return adapt_adalora(encoder, **_adapter_arguments(adapt))
        case SoftPromptAdapt():
            return adapt_soft_prompt(encoder, length=adapt.length, deep=adapt.deep)


def _adapter_arguments(adapt: LoraAdapt | IA3Adapt | AdaLoraAdapt) -> dict[str, Any]:
    arguments = adapt.model_dump(exclude={"kind", "blocks"})
    match adapt.blocks:
        case "all":
            return arguments
        case LastBlocks(last=last):
            return {**arguments, "last": last}
        case numbers:
            return {**arguments, "blocks": numbers}
