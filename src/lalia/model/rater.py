"""The speech rater: encoder, layer mix, pooling and head as one model, with all that a score needs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

import lalia
from lalia.data.audio import Preprocessing
from lalia.errors import AudioError, ModelError, RaterError, suggest
from lalia.model.encoders.base import Depth, SpeechEncoder
from lalia.model.encoders.load import build_from_architecture
from lalia.model.heads import Head, Scores, build_head
from lalia.model.layer_mix import LayerMix
from lalia.model.parameters import ParameterCount, count_encoder, count_head, count_parts
from lalia.model.pooling import Pooling, build_pooling, join_windows
from lalia.model.saved_head import PARTS, HeadConfig, SavedHead, choose_traits, take_over
from lalia.model.saved_rater import (
    RaterConfig,
    check_weights,
    find_rater,
    hash_weights,
    read_config,
    read_weights,
    write_rater,
)
from lalia.scale import Scale


class SpeechRater(nn.Module):
    """Rates the traits of recordings; a score depends on its recording alone.

    A recording is encoded in one or several windows, whose real frames are pooled as one sequence.

    Args:
        encoder: waveforms to frames.
        layers: the depth that is pooled: ``"last"`` for the encoder's own output, ``"weighted"`` for a learned mix of
            all depths, or a depth from 0.
        pooling: frames to embedding.
        head: embedding to scores.
        traits: the names of the head's traits, in its order.
        scale: the rating scale.
        preprocessing: how files become waveforms and windows.
        thresholds: per trait, the probability from which on it counts as present; 0.5 where none is given.

    Attributes:
        thresholds: may be changed in place.
        kept_traits: the traits whose head comes from a saved rater; empty for one that starts anew. Not saved.

    Raises:
        ModelError: if the parts do not fit together.

    Example:
        >>> from lalia.model.encoders.random import make_random_encoder
        >>> scale = Scale((1, 2, 3, 4), present_from=2)
        >>> rater = SpeechRater(
        ...     make_random_encoder("wavlm", layers=1, width=16, heads=2),
        ...     layers="weighted",
        ...     pooling=build_pooling("attention", width=16),
        ...     head=build_head("ordinal", width=16, n_traits=2, scale=scale),
        ...     traits=["breathy", "slow_rate"],
        ...     scale=scale,
        ...     preprocessing=Preprocessing(rate_hz=16_000, trim_db=None, window_seconds=30.0, hop_seconds=30.0),
        ... )
        >>> rater.score([np.zeros(16_000, dtype=np.float32)]).score.shape
        torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: SpeechEncoder,
        *,
        layers: Literal["last", "weighted"] | int,
        pooling: Pooling,
        head: Head,
        traits: Sequence[str],
        scale: Scale,
        preprocessing: Preprocessing,
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.layers = layers
        self.layer_mix = LayerMix(encoder.n_blocks + 1) if layers == "weighted" else None
        self.pooling = pooling
        self.head = head
        self.traits = tuple(traits)
        self.scale = scale
        self.preprocessing = preprocessing
        self.thresholds = dict.fromkeys(self.traits, 0.5) | dict(thresholds or {})
        self.kept_traits: tuple[str, ...] = ()
        self._check()

    def embed(self, waveforms: Tensor, n_samples: Tensor, recording_of_window: Tensor) -> Tensor:
        """Return one embedding per recording, shape (recordings, width).

        Args:
            waveforms: at ``preprocessing.rate_hz``, padded behind, shape (windows, samples).
            n_samples: real samples of each window, shape (windows,).
            recording_of_window: the number of its recording, counted from 0 and not falling, shape (windows,).

        Raises:
            EmptyRecordingError: if a recording has no real frame.
        """
        frames, is_real = self._frames(waveforms, n_samples)
        embedding: Tensor = self.pooling(*join_windows(frames, is_real, recording_of_window))
        return embedding

    def forward(self, waveforms: Tensor, n_samples: Tensor, recording_of_window: Tensor) -> Tensor:
        """Return the head's raw outputs, shape (recordings, traits, outputs); arguments as for ``embed``."""
        raw: Tensor = self.head(self.embed(waveforms, n_samples, recording_of_window))
        return raw

    def decode(self, raw: Tensor) -> Scores:
        """Turn raw outputs into scores, each of shape (recordings, traits)."""
        return self.head.decode(raw)

    @torch.no_grad()
    def score(self, waveforms: Sequence[ArrayLike | Tensor]) -> Scores:
        """Score recordings one by one, in eval mode.

        Args:
            waveforms: per recording its samples between -1 and 1 at ``preprocessing.rate_hz``, trimmed as
                ``lalia.data.audio.load_waveform`` gives them; windows are made here.

        Returns:
            Scores on the CPU, each of shape (recordings, traits).

        Raises:
            AudioError: if a waveform is not one row of finite floats, or too short for the encoder.
        """
        was_training = self.training
        self.eval()
        try:
            raw = [self.head(self._embed_one(self._check_waveform(w, i))) for i, w in enumerate(waveforms)]
            if not raw:
                return Scores(*(torch.empty(0, len(self.traits)) for _ in Scores._fields))
            return Scores(*(values.cpu() for values in self.decode(torch.cat(raw))))
        finally:
            self.train(was_training)

    def start_from_ratings(self, ratings: Tensor) -> None:
        """Let the head of each new trait start at its share or mean of the ratings; kept traits stay as they are.

        Args:
            ratings: of the training part, NaN where missing, shape (recordings, traits).
        """
        before = {name: values.clone() for name, values in self.head.state_dict().items()}
        self.head.start_from_ratings(ratings)
        kept = {trait: self.traits.index(trait) for trait in self.kept_traits}
        self.head.load_state_dict(choose_traits(self.head, self.traits, before, kept))

    def take_over_head(self, saved: SavedHead) -> None:
        """Put a saved pooling and head in place of the new ones; traits go by their names, new ones stay new.

        The thresholds of the traits that are kept come along.

        Raises:
            ModelError: if the saved weights are of other sizes.
        """
        self.kept_traits = take_over(self.pooling, self.head, self.traits, saved)
        self.thresholds |= {trait: saved.config.thresholds[trait] for trait in self.kept_traits}

    def save_head(self, folder: str | Path) -> None:
        """Write the pooling and the head alone to a folder, to go onto another encoder as ``model.head_from``.

        Args:
            folder: as for ``save_pretrained``.

        Raises:
            RaterError: if the folder cannot be written.
            ModelError: if a threshold is not a probability, or of no trait.
        """
        self._check_thresholds()
        weights = _own_storage({name: each for name, each in self.state_dict().items() if name.startswith(PARTS)})
        config = HeadConfig(
            lalia=lalia.__version__,
            traits=self.traits,
            scale=self.scale,
            pooling=dict(self.pooling.config),
            head=self.head.config,
            thresholds=self.thresholds,
            weights_sha256=hash_weights(weights),
        )
        write_rater(Path(folder).absolute(), config, weights)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the rater to a folder: ``config.json`` and ``model.safetensors``, the encoder's weights included.

        Args:
            folder: a new one appears complete or not at all; in an existing one the two files are replaced.

        Raises:
            RaterError: if the folder cannot be written.
            ModelError: if a threshold is not a probability, or of no trait.
        """
        self._check_thresholds()
        weights = _own_storage(self.state_dict())
        config = RaterConfig(
            lalia=lalia.__version__,
            traits=self.traits,
            scale=self.scale,
            preprocessing=self.preprocessing,
            layers=self.layers,
            pooling=dict(self.pooling.config),
            head=self.head.config,
            thresholds=self.thresholds,
            encoder=replace(self.encoder.source, is_fine_tuned=self._has_trained_encoder()),
            weights_sha256=hash_weights(weights),
        )
        write_rater(Path(folder).absolute(), config, weights)

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str | torch.device = "cpu") -> Self:
        """Read a rater that ``save_pretrained`` wrote; it gives the same scores.

        Args:
            folder: the rater's, or that of the run which holds it as ``model``.
            device: where the rater goes.

        Returns:
            The rater in eval mode, its encoder frozen.

        Raises:
            RaterError: if files are missing, damaged, of another format, or do not fit each other.
        """
        found = find_rater(Path(folder))
        config = read_config(found)
        weights = read_weights(found, config)
        rater = cls._build(config, found)
        check_weights(rater.state_dict(), weights, found)
        rater.load_state_dict(weights)
        return rater.to(device).eval()

    def parameter_table(self) -> list[ParameterCount]:
        """Return the parameters of each part that has any: stem, blocks, norm, mix, pooling, head.

        What a shared head shares is one row; the rest of a head is one row per trait.
        """
        return [
            *count_encoder(self.encoder),
            *count_parts({} if self.layer_mix is None else {"layer mix": [self.layer_mix]}),
            *count_parts({"pooling": [self.pooling]}),
            *count_head(self.head, self.traits),
        ]

    @classmethod
    def _build(cls, config: RaterConfig, folder: Path) -> Self:
        try:
            # the weights are random until the saved ones are read: leave the caller's random state as it was
            with torch.random.fork_rng(devices=[]):
                encoder = build_from_architecture(asdict(config.encoder))
                pooling = build_pooling(**config.pooling, width=encoder.width)
                head = build_head(**config.head, width=encoder.width, n_traits=len(config.traits), scale=config.scale)
                return cls(
                    encoder,
                    layers=config.layers,
                    pooling=pooling,
                    head=head,
                    traits=config.traits,
                    scale=config.scale,
                    preprocessing=config.preprocessing,
                    thresholds=config.thresholds,
                )
        except (
            TypeError,
            ValueError,
            RuntimeError,
        ) as cause:  # a ModelError is a ValueError, torch's are RuntimeErrors
            raise RaterError(f"The rater in '{folder}' cannot be built: {cause}") from cause

    def _frames(self, waveforms: Tensor, n_samples: Tensor) -> tuple[Tensor, Tensor]:
        depths: list[Depth]
        depths = list(range(self.encoder.n_blocks + 1)) if self.layers == "weighted" else [self.layers]
        values_at, is_real = self.encoder(waveforms, n_samples, depths)
        values = [values_at[depth] for depth in depths]
        return values[0] if self.layer_mix is None else self.layer_mix(values), is_real

    def _embed_one(self, waveform: Tensor) -> Tensor:
        """Embed one recording window by window, so that an hour needs the memory of one window."""
        bounds = self.preprocessing.window_bounds(len(waveform))
        parts = [self._frames(waveform[None, a:b], torch.tensor([b - a], device=waveform.device)) for a, b in bounds]
        values, is_real = zip(*parts, strict=True)
        embedding: Tensor = self.pooling(torch.cat(values, dim=1), torch.cat(is_real, dim=1))
        return embedding

    def _has_trained_encoder(self) -> bool:
        return self.encoder.source.is_fine_tuned or self.encoder.first_changing_depth <= self.encoder.n_blocks

    def _check_waveform(self, waveform: ArrayLike | Tensor, number: int) -> Tensor:
        samples = waveform if isinstance(waveform, Tensor) else torch.as_tensor(np.asarray(waveform))
        if samples.ndim != 1 or not samples.is_floating_point() or not samples.isfinite().all():
            raise AudioError(
                f"Waveform {number} must be one row of finite floats between -1 and 1, got {samples.dtype} of shape"
                f" {tuple(samples.shape)}. Read files with lalia.data.audio.load_waveform."
            )
        if len(samples) < self.encoder.min_samples:
            raise AudioError(
                f"Waveform {number} has {len(samples)} samples, the encoder needs {self.encoder.min_samples}"
                f" ({self.encoder.min_samples / self.encoder.rate_hz:.3f} s)."
            )
        return samples.to(self.encoder.device, torch.float32)

    def _check(self) -> None:
        encoder, given = self.encoder, self.preprocessing
        if self.layers not in ("last", "weighted", *range(encoder.n_blocks + 1)):
            raise ModelError(
                f"Unknown layers {self.layers!r}. Choose last, weighted, or a depth from 0 to {encoder.n_blocks}."
            )
        if self.head.layers.width != encoder.width:
            raise ModelError(f"The head takes width {self.head.layers.width}, the encoder gives {encoder.width}.")
        if self.head.layers.n_traits != len(set(self.traits)) or not self.traits:
            raise ModelError(f"The head rates {self.head.layers.n_traits} traits, the names are {list(self.traits)}.")
        if given.rate_hz != encoder.rate_hz:
            raise ModelError(f"The encoder takes {encoder.rate_hz} Hz, the preprocessing gives {given.rate_hz} Hz.")
        if encoder.max_samples is not None and round(given.window_seconds * given.rate_hz) > encoder.max_samples:
            seconds = encoder.max_samples / encoder.rate_hz
            raise ModelError(
                f"A window of {given.window_seconds:g} s is longer than the {seconds:g} s that {encoder.source.name}"
                f" takes. Set audio.window_seconds to {seconds:g} or less."
            )
        self._check_thresholds()

    def _check_thresholds(self) -> None:
        for trait, threshold in self.thresholds.items():
            if trait not in self.traits:
                raise ModelError(f"A threshold is given for '{trait}', which is no trait.{suggest(trait, self.traits)}")
            if not 0 <= threshold <= 1:
                raise ModelError(f"The threshold of '{trait}' must be a probability, got {threshold}.")


def _own_storage(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous copies on the CPU; safetensors refuses tensors that share their storage."""
    return {name: weight.detach().to("cpu", copy=True).contiguous() for name, weight in weights.items()}
