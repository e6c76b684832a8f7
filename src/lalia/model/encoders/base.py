"""What every speech encoder offers: a stem, numbered blocks, and a mask of the frames that hold speech."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from lalia.errors import EncoderError

Depth = int | Literal["last"]


class Frames(NamedTuple):
    """Frames and which of them are real.

    Args:
        values: shape (windows, time, width).
        is_real: False on padding, shape (windows, time).
    """

    values: Tensor
    is_real: Tensor


@dataclass(frozen=True)
class EncoderSource:
    """Where an encoder comes from, and all that is needed to build it again without its weights.

    Args:
        family: wav2vec2, hubert, wavlm or whisper.
        name: the Hugging Face id, the folder's name, or ``random``.
        revision: the commit of a Hugging Face id, None for a folder or random weights.
        architecture: the architecture's own config, as JSON.
        normalize: whether the encoder wants waveforms of zero mean and unit variance.
        rate_hz: of the waveforms.
        spectrogram: Whisper's ``n_fft`` and ``hop_length``, empty elsewhere.
        is_fine_tuned: whether training has changed the encoder since.
    """

    family: str
    name: str
    revision: str | None
    architecture: dict[str, Any]
    normalize: bool
    rate_hz: int = 16_000
    spectrogram: dict[str, int] = field(default_factory=dict)
    is_fine_tuned: bool = False


class SpeechEncoder(nn.Module, ABC):
    """A stem (waveforms to frames, depth 0) and blocks (depths 1 to ``n_blocks``, as Hugging Face's hidden states).

    The modules are Hugging Face's own, called one by one. This leaves out LayerDrop, SpecAugment and the strided
    adapter behind some wav2vec 2.0 models, so every depth is there in training too, and with the same length.

    What a window's real frames hold does not depend on the other windows of a batch or on the padding.

    Args:
        model: Hugging Face's modules; all paths and patterns are relative to it. Its parameters are frozen here;
            :mod:`lalia.model.adapt` says what trains.
        source: where it comes from.
        width: of the frames.
        min_samples: the shortest waveform that gives a frame.
        max_samples: the longest waveform, None where there is no limit.

    Attributes:
        last_depth_is_normalized: whether the output norm belongs to the last depth, as in Whisper, or only to the
            encoder's own output, as in pre-norm models.
        first_changing_depth: the lowest depth whose values can change in training, ``n_blocks + 1`` if none can. All
            below it runs without gradients and in eval mode.
    """

    last_depth_is_normalized = False

    def __init__(
        self,
        model: Any,
        source: EncoderSource,
        *,
        width: int,
        min_samples: int,
        max_samples: int | None,
    ) -> None:
        super().__init__()
        self.model: Any = model.requires_grad_(False)
        self.source = source
        self.family = source.family
        self.normalize = source.normalize
        self.width = width
        self.rate_hz = source.rate_hz
        self.min_samples = min_samples
        self.max_samples = max_samples
        self.first_changing_depth = self.n_blocks + 1
        self.eval()

    @property
    @abstractmethod
    def blocks(self) -> nn.ModuleList:
        """The blocks, that of depth 1 first."""

    @property
    @abstractmethod
    def stem_modules(self) -> Sequence[nn.Module]:
        """The modules up to depth 0."""

    @property
    @abstractmethod
    def output_norm(self) -> nn.Module | None:
        """The normalisation after the last block, which counts as part of that depth; None where there is none."""

    @property
    def fixed_parameters(self) -> frozenset[str]:
        """The paths of parameters that a full adaptation leaves as they are."""
        return frozenset()

    @abstractmethod
    def count_frames(self, n_samples: Tensor) -> Tensor:
        """Return the number of frames that waveforms of these numbers of samples give."""

    @abstractmethod
    def stem(self, waveforms: Tensor, n_samples: Tensor) -> Frames:
        """Return the frames of depth 0.

        Args:
            waveforms: as read, at ``rate_hz``, shape (windows, samples); what lies behind ``n_samples`` is not used.
            n_samples: real samples of each window, shape (windows,).

        Raises:
            EncoderError: if a window is shorter than ``min_samples`` or longer than ``max_samples``.
        """

    @abstractmethod
    def context(self, frames: Frames) -> Any:
        """Return what the blocks share: the attention mask, WavLM's relative positions."""

    @abstractmethod
    def block(self, depth: int, values: Tensor, context: Any) -> Tensor:
        """Return the values of a depth, 1 to ``n_blocks``, from those of the depth below it."""

    @abstractmethod
    def finish(self, values: Tensor) -> Tensor:
        """Return the encoder's own output, Hugging Face's ``last_hidden_state``, from the values of the last depth."""

    @property
    def n_blocks(self) -> int:
        """The number of blocks, which is the last depth."""
        return len(self.blocks)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    def forward(
        self, waveforms: Tensor, n_samples: Tensor, depths: Sequence[Depth]
    ) -> tuple[dict[Depth, Tensor], Tensor]:
        """Return the frames of the asked depths, and which of them are real.

        Args:
            waveforms: at ``rate_hz``, padded behind, shape (windows, samples).
            n_samples: real samples of each window, shape (windows,).
            depths: numbers from 0 to ``n_blocks``, or ``"last"`` for the encoder's own output, which in pre-norm
                models is the last depth normalised.

        Returns:
            The values of each depth, shape (windows, time, width), undefined on padding; and ``is_real``, shape
            (windows, time).

        Raises:
            EncoderError: if there is no such depth, or a window is too short or too long.
        """
        highest = self._check_depths(depths)
        values_at: dict[Depth, Tensor] = {}
        with self._gradients_at(0):
            frames = self.stem(waveforms, n_samples)
        with self._gradients_at(1):
            context = self.context(frames)
        values = frames.values
        for depth in range(highest + 1):
            if depth > 0:
                with self._gradients_at(depth):
                    values = self.block(depth, values, context)
            if depth in depths:
                values_at[depth] = values
        if "last" in depths:
            with self._gradients_at(self.n_blocks):
                values_at["last"] = self.finish(values)
        return values_at, frames.is_real

    def train(self, mode: bool = True) -> "SpeechEncoder":
        """Set training mode where something trains; what is frozen stays in eval mode, without dropout."""
        super().train(False)
        self.training = mode
        if mode:
            stem = [(0, module) for module in self.stem_modules]
            stem_trains = any(has_trainable(module) for module in self.stem_modules)
            for depth, module in [*stem, *enumerate(self.blocks, start=1)]:
                trains = stem_trains if depth == 0 else has_trainable(module)
                if trains and depth >= self.first_changing_depth:
                    _set_training(module)
        return self

    def depth_of(self, path: str) -> int:
        """Return the depth at which a parameter or module first acts, from its path within ``model``."""
        for depth, block in enumerate(self.blocks, start=1):
            prefix = self.path_of(block)
            if path == prefix or path.startswith(f"{prefix}."):
                return depth
        norm = self.output_norm
        if norm is not None and (path + ".").startswith(f"{self.path_of(norm)}."):
            return self.n_blocks
        return 0

    def path_of(self, wanted: nn.Module) -> str:
        """Return the path of a module within ``model``."""
        found: str = next(path for path, module in self.model.named_modules() if module is wanted)
        return found

    def check_lengths(self, waveforms: Tensor, n_samples: Tensor) -> list[int]:
        """Return the numbers of real samples as integers.

        Raises:
            EncoderError: if one is below ``min_samples``, above ``max_samples``, or above what the waveforms hold.
        """
        lengths: list[int] = n_samples.tolist()
        if not lengths or waveforms.ndim != 2 or len(waveforms) != len(lengths) or max(lengths) > waveforms.shape[1]:
            raise EncoderError(
                f"The encoder takes waveforms of shape (windows, samples) with as many numbers of real samples, at most"
                f" the samples of each; got shape {tuple(waveforms.shape)} and {lengths}."
            )
        if min(lengths) < self.min_samples:
            raise EncoderError(
                f"A window has {min(lengths)} samples, but {self.source.name} needs at least {self.min_samples}"
                f" ({self.min_samples / self.rate_hz:.3f} s). Leave recordings out that are this short."
            )
        if self.max_samples is not None and max(lengths) > self.max_samples:
            seconds = self.max_samples / self.rate_hz
            raise EncoderError(
                f"A window is {max(lengths) / self.rate_hz:.2f} s long, but {self.source.name} takes at most"
                f" {seconds:g} s. Set audio.window_seconds to {seconds:g} or less."
            )
        return lengths

    def _check_depths(self, depths: Iterable[Depth]) -> int:
        wrong = [depth for depth in depths if depth != "last" and depth not in range(self.n_blocks + 1)]
        if wrong:
            raise EncoderError(
                f"{self.source.name} has no depth {wrong[0]!r}: it has 0 (the stem) to {self.n_blocks}, and 'last'."
            )
        return max((self.n_blocks if depth == "last" else depth for depth in depths), default=0)

    def _gradients_at(self, depth: int) -> AbstractContextManager[Any]:
        return torch.set_grad_enabled(torch.is_grad_enabled() and depth >= self.first_changing_depth)


def has_trainable(module: nn.Module) -> bool:
    """Return whether any parameter of a module trains."""
    return any(parameter.requires_grad for parameter in module.parameters())


def _set_training(module: nn.Module) -> None:
    # BatchNorm in training would make a score depend on the other recordings of the batch
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return
    module.training = True
    for child in module.children():
        # dropout has no parameters: it follows the module that holds it
        if has_trainable(child) or next(child.parameters(), None) is None:
            _set_training(child)


def mask_up_to(lengths: Tensor, width: int) -> Tensor:
    """Return which positions lie before each length.

    Example:
        >>> mask_up_to(torch.tensor([1, 3]), 3)
        tensor([[ True, False, False],
                [ True,  True,  True]])
    """
    return torch.arange(width, device=lengths.device)[None, :] < lengths[:, None]


def normalize_waveforms(waveforms: Tensor, n_samples: Tensor) -> Tensor:
    """Give each window zero mean and unit variance over its real samples, and zeros behind them.

    The arithmetic is that of ``transformers.Wav2Vec2FeatureExtractor`` with an attention mask.

    Args:
        waveforms: shape (windows, samples).
        n_samples: real samples of each window, shape (windows,).

    Returns:
        The normalised waveforms, shape (windows, samples).

    Example:
        >>> normalize_waveforms(torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([2]))
        tensor([[-1.,  1.,  0.]])
    """
    is_real = mask_up_to(n_samples.to(waveforms.device), waveforms.shape[1])
    count = is_real.sum(dim=1, keepdim=True)
    mean = waveforms.masked_fill(~is_real, 0.0).sum(dim=1, keepdim=True) / count
    centred = (waveforms - mean).masked_fill(~is_real, 0.0)
    variance = centred.square().sum(dim=1, keepdim=True) / count
    return centred / torch.sqrt(variance + 1e-7)
