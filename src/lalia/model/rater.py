"""The speech rater: encoder, layer mix, pooling and head as one model, with all that a score needs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import lalia
from lalia.data.audio import Preprocessing
from lalia.errors import AudioError, ModelError
from lalia.model.adapt import own_changes
from lalia.model.adapters import merge_adapters
from lalia.model.attention_pooling import AttentionPooling, AttentiveStatisticsPooling, FrameWeights
from lalia.model.base_weights import check_shared, check_source, hash_shared, shared_weights
from lalia.model.decisions import Abstention, Calibration, calibrate, check_decisions, find_abstained
from lalia.model.encoders.base import Depth, Frames, SpeechEncoder
from lalia.model.frame_masks import FrameMasks
from lalia.model.frames import join_windows
from lalia.model.heads import Head, Scores
from lalia.model.inputs import Inputs, KnownFrames, KnownVectors, Windows
from lalia.model.layer_mix import Layers, build_layer_mix
from lalia.model.parameters import ParameterCount, count_encoder, count_head, count_parts
from lalia.model.pooling import Pooling, pool_known
from lalia.model.rater_checks import check_parts
from lalia.model.rebuild import load_base, rebuild
from lalia.model.saved_head import HeadConfig, head_weights, write_head
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

_LEARNS_WEIGHTS = (AttentionPooling, AttentiveStatisticsPooling)


class SpeechRater(nn.Module):
    """Rates the traits of recordings; a score depends on its recording alone.

    A recording is encoded in one or several windows, whose real frames are pooled as one sequence.

    Args:
        encoder: waveforms to frames.
        layers: what is pooled: ``"last"`` for the encoder's own output, ``"weighted"`` for a learned mix of all depths,
            a depth, or a list of depths or ``"last-4"`` for several side by side; depths may count from the end.
        pooling: frames to embedding.
        head: embedding to scores.
        traits: the names of the head's traits, in its order.
        scale: the rating scale.
        preprocessing: how files become waveforms and windows.
        thresholds: per trait, the probability from which on it counts as present; 0.5 where none is given.
        calibrations: what the head's probability of presence becomes, for traits that have one.
        abstentions: where nothing is decided, likewise.
        rater_heads: a head that says what each human rater would give, on the same embedding; it trains, and does not
            score. Its traits are those of the first rater, then those of the second, and so on.
        raters: their names.

    Attributes:
        thresholds: may be changed in place, and so may calibrations and abstentions.
        kept_traits: those whose head was trained before and taken over.
        windows_at_once: how many windows are encoded at once, those of one long recording; None encodes a batch as a
            whole. With gradients, what lies between is computed again in the backward pass.
        trained_from: the lowest depth of the encoder that was trained before the rater was saved, ``n_blocks + 1`` if
            none was.

    Raises:
        ModelError: if the parts do not fit together.

    Example:
        >>> from lalia.model.encoders.random import make_random_encoder
        >>> from lalia.model.heads import build_head
        >>> from lalia.model.pooling import build_pooling
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
        layers: Layers,
        pooling: Pooling,
        head: Head,
        traits: Sequence[str],
        scale: Scale,
        preprocessing: Preprocessing,
        thresholds: Mapping[str, float] | None = None,
        calibrations: Mapping[str, Calibration] | None = None,
        abstentions: Mapping[str, Abstention] | None = None,
        rater_heads: Head | None = None,
        raters: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.layers = layers if isinstance(layers, str | int) else tuple(layers)
        self.layer_mix = build_layer_mix(layers, n_blocks=encoder.n_blocks, width=encoder.width)
        self.pooling = pooling
        self.head = head
        self.rater_heads = rater_heads
        self.raters = tuple(raters)
        self.traits = tuple(traits)
        self.scale = scale
        self.preprocessing = preprocessing
        self.thresholds = dict.fromkeys(self.traits, 0.5) | dict(thresholds or {})
        self.calibrations = dict(calibrations or {})
        self.abstentions = dict(abstentions or {})
        self.kept_traits: frozenset[str] = frozenset()
        self.trained_from = encoder.n_blocks + 1
        self.windows_at_once: int | None = None
        check_parts(self)

    @property
    def first_changing_depth(self) -> int:
        """The lowest depth at which training changes the encoder, or changed it before the rater was saved."""
        return min(self.encoder.first_changing_depth, self.trained_from)

    @property
    def learns_frame_weights(self) -> bool:
        """Whether the pooling learns how much each frame counts, so that ``attention`` has something to show."""
        return isinstance(self.pooling, _LEARNS_WEIGHTS)

    def embed(self, inputs: Inputs) -> Tensor:
        """Return one embedding per recording, shape (recordings, width).

        A head with transformers takes one per stack of its layers, shape (recordings, stacks, width).

        Args:
            inputs: windows of samples at ``preprocessing.rate_hz``; or what is known of them, at the rater's depths and
                at the one that the first block to be computed takes.

        Raises:
            EmptyRecordingError: if a recording has no real frame.
        """
        if isinstance(inputs, KnownVectors):
            mixed = {name: self.layer_mix(values.unbind(dim=1)) for name, values in inputs.vectors.items()}
            return pool_known(mixed, self.pooling.statistics)
        return self.head.layers.pool(self.pooling, *self._frames(inputs))

    def forward(self, inputs: Inputs) -> Tensor:
        """Return the head's raw outputs, shape (recordings, traits, outputs); arguments as for ``embed``.

        In training mode those of the raters' heads follow, (recordings, traits + raters * traits, outputs).
        """
        embedding = self.embed(inputs)
        raw: Tensor = self.head(embedding)
        if self.rater_heads is None or not self.training:
            return raw
        return torch.cat([raw, self.rater_heads(embedding)], dim=1)

    def decode(self, raw: Tensor) -> Scores:
        """Turn raw outputs into scores, each of shape (recordings, traits); probabilities are calibrated."""
        scores = self.head.decode(raw)
        return scores._replace(probability=calibrate(scores.probability, self.traits, self.calibrations))

    def abstains(self, probability: Tensor) -> Tensor:
        """Return where nothing is to be decided, of the shape of the probabilities, (recordings, traits)."""
        return find_abstained(probability, self.traits, self.abstentions)

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
        with _eval_mode(self):
            raw = [self.head(self._embed_one(self._check_waveform(w, i))) for i, w in enumerate(waveforms)]
            if not raw:
                return Scores(*(torch.empty(0, len(self.traits)) for _ in Scores._fields))
            return Scores(*(values.cpu() for values in self.decode(torch.cat(raw))))

    @torch.no_grad()
    def attention(self, waveform: ArrayLike | Tensor) -> FrameWeights:
        """Return how much each frame of one recording counts in its embedding, in eval mode.

        The traits differ only where each stack of the head has its own transformer before the pooling.

        Args:
            waveform: as for ``score``.

        Returns:
            Weights and times on the CPU, the recording's windows joined.

        Raises:
            ModelError: if the pooling learns no weights.
            AudioError: as for ``score``.
        """
        pooling = self.pooling
        if not isinstance(pooling, _LEARNS_WEIGHTS):
            raise ModelError(
                f"Pooling of kind {pooling.config['kind']} learns no weights of frames. Only attention and"
                " attentive_statistics have some to show (model.pooling)."
            )
        with _eval_mode(self):
            samples = self._check_waveform(waveform, 0)
            values, is_real = _join(self._encode_windows(samples))
            of_stacks = [pooling.weights(each, is_real)[0] for each in self.head.layers.transform(values, is_real)]
        weights = torch.stack(self.head.layers.for_traits(of_stacks))[..., is_real[0]]
        bounds, depth = self.preprocessing.window_bounds(len(samples)), self.layer_mix.depths[0]
        middles = [start + self.encoder.frame_middles(end - start, depth) for start, end in bounds]
        return FrameWeights(weights.cpu(), torch.cat(middles) / self.preprocessing.rate_hz)

    def save_pretrained(self, folder: str | Path, *, encoder_weights: bool = True) -> None:
        """Write the rater to a folder: ``config.json`` and ``model.safetensors``.

        Args:
            folder: a new one appears complete or not at all; in an existing one the two files are replaced.
            encoder_weights: whether all of the encoder's weights go along, so that nothing outside the folder is
                needed. Without, only those that training may have changed do: adapters, a prompt, unfrozen weights.
                The others are then read from the encoder's own checkpoint when the rater is loaded, and must be the
                same.

        Raises:
            RaterError: if the folder cannot be written.
            ModelError: if a threshold is not a probability, or of no trait.
        """
        check_decisions(self.traits, self.thresholds, self.calibrations, self.abstentions)
        weights = _own_storage(self.state_dict())
        if not encoder_weights:
            shared = {f"encoder.model.{path}" for path in shared_weights(self.encoder)}
            weights = {name: weight for name, weight in weights.items() if name not in shared}
        config = RaterConfig(
            lalia=lalia.__version__,
            traits=self.traits,
            scale=self.scale,
            preprocessing=self.preprocessing,
            layers=self.layers,
            pooling=dict(self.pooling.config),
            head=self.head.config,
            rater_heads=None if self.rater_heads is None else self.rater_heads.config,
            raters=self.raters,
            thresholds=self.thresholds,
            calibrations=self.calibrations,
            abstentions=self.abstentions,
            encoder=self.encoder.source,
            adaptation=self.encoder.added,
            changed=tuple(sorted(own_changes(self.encoder))),
            holds_encoder=encoder_weights,
            encoder_sha256=hash_shared(self.encoder),
            trained_from=self.first_changing_depth,
            weights_sha256=hash_weights(weights),
        )
        write_rater(Path(folder).absolute(), config, weights)

    def save_head(self, folder: str | Path) -> None:
        """Write the pooling and the head alone, to go on another encoder of the same width.

        Args:
            folder: as for ``save_pretrained``; ``model.head_from`` names it in the settings of a run.

        Raises:
            RaterError: if the folder cannot be written.
            ModelError: if a threshold is not a probability, or of no trait.
        """
        check_decisions(self.traits, self.thresholds, self.calibrations, self.abstentions)
        weights = head_weights(_own_storage(self.state_dict()))
        config = HeadConfig(
            lalia=lalia.__version__,
            traits=self.traits,
            scale=self.scale,
            pooling=dict(self.pooling.config),
            head=self.head.config,
            thresholds=self.thresholds,
            weights_sha256=hash_weights(weights),
        )
        write_head(Path(folder).absolute(), config, weights)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, device: str | torch.device = "cpu", *, encoder: SpeechEncoder | None = None
    ) -> Self:
        """Read a rater that ``save_pretrained`` wrote; it gives the same scores.

        Args:
            folder: the rater's, or that of the run which holds it as ``model``.
            device: where the rater goes.
            encoder: as it was before training, to put the rater's changes on; changed in place. None builds it, or
                where the rater was saved without its encoder's weights, loads it by its name and revision.

        Returns:
            The rater in eval mode, its encoder frozen.

        Raises:
            RaterError: if files are missing, damaged, of another format, or do not fit each other; or the encoder is
                another one than the rater was trained on, at another revision, or has other weights.
        """
        found = find_rater(Path(folder))
        config = read_config(found)
        weights = read_weights(found, config)
        is_given = encoder is not None or not config.holds_encoder
        if not config.holds_encoder and encoder is None:
            encoder = load_base(config, found)
        if encoder is not None:
            check_source(encoder, config, found)
        rater = rebuild(cls, config, found, encoder)
        expected = rater.state_dict()
        if is_given:
            check_shared(rater.encoder, config, found)
        if not config.holds_encoder:
            for path in shared_weights(rater.encoder):
                del expected[f"encoder.model.{path}"]
        check_weights(expected, weights, found)
        rater.load_state_dict(weights, strict=False)
        if config.trained_from is not None:
            rater.trained_from = config.trained_from
        return rater.to(device).eval()

    def merge(self) -> Self:
        """Fold the encoder's adapters into its weights; the scores stay the same.

        ``encoder.model`` is then Hugging Face's own, without a trace of adapters: its ``state_dict`` fits transformers'
        class. A rater without adapters is left as it is.

        Raises:
            ModelError: if the encoder has a soft prompt, which is no change of weights.
        """
        merge_adapters(self.encoder)
        return self

    def parameter_table(self) -> list[ParameterCount]:
        """Return the parameters of each part that has any: stem, blocks, norm, mix, pooling, head.

        What all traits of a head share is one row, what a group shares one too; the rest is one row per trait.
        """
        return [
            *count_encoder(self.encoder),
            *count_parts({"layer mix": [self.layer_mix], "pooling": [self.pooling]}),
            *count_head(self.head, self.traits),
            *count_parts({"heads of raters": [] if self.rater_heads is None else [self.rater_heads]}),
        ]

    def _frames(self, inputs: Windows | KnownFrames) -> Frames:
        """Return the mixed frames of each recording, its windows joined in time."""
        is_one_recording = int(inputs.recording_of_window[-1]) == 0
        size = self.windows_at_once
        if size is None or not is_one_recording or len(inputs.recording_of_window) <= size:
            return self._encode(inputs)
        if not torch.is_grad_enabled():
            return _join([self._encode(piece) for piece in inputs.split(size)])
        # of each piece nothing is kept for the backward pass but its frames
        return _join([checkpoint(self._encode, piece, use_reentrant=False) for piece in inputs.split(size)])

    def _encode(self, inputs: Windows | KnownFrames) -> Frames:
        depths = self.layer_mix.depths
        if isinstance(inputs, Windows):
            frames_at = self.encoder(inputs.waveforms, inputs.n_samples, depths, inputs.masks)
        else:
            frames_at = self._go_on_from(inputs.frames_at, inputs.masks)
        mixed = self.layer_mix([frames_at[depth].values for depth in depths])
        # the numbered depths, which alone are ever several, all have the same mask
        return Frames(*join_windows(mixed, frames_at[depths[0]].is_real, inputs.recording_of_window))

    def _go_on_from(self, known: Mapping[Depth, Frames], masks: FrameMasks | None) -> Mapping[Depth, Frames]:
        # with masks, depth 0 too is another one than is known
        missing = [depth for depth in self.layer_mix.depths if depth not in known or masks is not None]
        if not missing:
            return known
        highest: Depth = max((depth for depth in known if isinstance(depth, int)), default="features")
        return {**known, **self.encoder.frames_from(highest, known[highest], missing, masks)}

    def _encode_windows(self, waveform: Tensor) -> list[Frames]:
        """Encode one recording window by window, so that an hour needs the memory of one window in the encoder."""
        bounds = self.preprocessing.window_bounds(len(waveform))
        alone = torch.tensor([0])
        return [self._encode(Windows(waveform[None, a:b], torch.tensor([b - a]), alone)) for a, b in bounds]

    def _embed_one(self, waveform: Tensor) -> Tensor:
        return self.head.layers.pool(self.pooling, *_join(self._encode_windows(waveform)))

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


def _join(pieces: Sequence[Frames]) -> Frames:
    """Return the frames of one recording's pieces in one row, and which of them are real."""
    values, is_real = zip(*pieces, strict=True)
    return Frames(torch.cat(values, dim=1), torch.cat(is_real, dim=1))


@contextmanager
def _eval_mode(module: nn.Module) -> Iterator[None]:
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


def _own_storage(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous copies on the CPU; safetensors refuses tensors that share their storage."""
    return {name: weight.detach().to("cpu", copy=True).contiguous() for name, weight in weights.items()}
