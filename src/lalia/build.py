"""From settings to components: the only file that knows both."""

from collections.abc import Sequence

import torch

from lalia.data.audio import Preprocessing
from lalia.errors import ModelError, list_some
from lalia.model.adapt import Adaptation, adapt_frozen, adapt_full, adapt_partial, freeze_unused
from lalia.model.encoders.base import SpeechEncoder
from lalia.model.encoders.load import load_encoder
from lalia.model.heads import build_head
from lalia.model.pooling import build_pooling
from lalia.model.rater import SpeechRater
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

    Args:
        settings: of the run.
        traits: what is rated, in the order of the outputs.

    Raises:
        EncoderError: if the encoder cannot be loaded or adapted as asked.
        ModelError: if the parts do not fit together.
    """
    encoder = build_encoder(settings)
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
        check_gradients(rater)
    return rater


def build_encoder(settings: RunSettings) -> SpeechEncoder:
    """Load or make the encoder of a run."""
    encoder = settings.model.encoder
    return load_encoder(
        encoder.model_dump() if isinstance(encoder, RandomEncoder) else encoder,
        revision=settings.model.revision,
        normalize=settings.audio.normalize,
        download_dir=settings.model.download_dir,
        keep_download=settings.model.keep_download,
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
