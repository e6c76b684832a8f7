"""What every speech encoder offers: a stem, numbered blocks, and a mask of the frames that hold speech."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lalia.errors import EncoderError
from lalia.model.encoders.module_tree import find_blocks, topmost_without, wraps_layer
from lalia.model.frame_masks import FrameMasks, hide_frames
from lalia.model.soft_prompt import SoftPrompt

if TYPE_CHECKING:
    from lalia.model.rank_allocation import RankAllocation

Depth = int | Literal["last", "features"]


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
        family: the architecture's name, Hugging Face's ``model_type``.
        name: the Hugging Face id, the folder's name, or ``random``.
        revision: the commit of a Hugging Face id, None for a folder or random weights.
        architecture: the architecture's own config, as JSON.
        normalize: whether the encoder wants waveforms of zero mean and unit variance.
        rate_hz: of the waveforms.
        features: how a waveform becomes what the stem takes, as Hugging Face's preprocessor_config.json says it; empty
            where the stem takes the waveform itself.
        context: Whisper's, ``full`` or ``clip``.
        is_fine_tuned: whether training has changed the encoder since.
    """

    family: str
    name: str
    revision: str | None
    architecture: dict[str, Any]
    normalize: bool
    rate_hz: int = 16_000
    features: dict[str, Any] = field(default_factory=dict)
    context: Literal["full", "clip"] = "full"
    is_fine_tuned: bool = False


class SpeechEncoder(nn.Module, ABC):
    """A stem (waveforms to frames, depth 0) and blocks (depths 1 to ``n_blocks``, as Hugging Face's hidden states).

    The modules are Hugging Face's own. Where the blocks are is read off the module tree; what comes before them is the
    stem. They are called one by one, which leaves out LayerDrop, SpecAugment and the strided adapter behind some
    models, so every depth is there in training too, and with the same length.

    What a window's real frames hold does not depend on the other windows of a batch or on the padding.

    Args:
        model: Hugging Face's modules; all paths and patterns are relative to it. Its parameters are frozen here;
            :mod:`lalia.model.adapt` says what trains.
        source: where it comes from.
        width: of the frames.
        min_samples: the shortest waveform that gives a frame; None finds it by ``count_frames``.
        max_samples: the longest waveform, None where there is no limit.

    Attributes:
        last_depth_is_normalized: whether the output modules belong to the last depth, as in Whisper, or only to the
            encoder's own output, as in pre-norm models.
        takes_prompt: whether learned vectors can stand before the frames; False where the blocks take every position
            for one of a frame.
        takes_masks: whether frames can be hidden from the blocks; False where depth 0 is no row of frames in time.
        first_changing_depth: the lowest depth whose values can change in training, ``n_blocks + 1`` if none can. All
            below it runs without gradients and in eval mode.
        prompt: learned vectors before the frames of depth 0, None without.
        added: what adapters or a prompt were added, as JSON; all that is needed to add them again.
        ranks: what AdaLoRA does around each optimiser step, None without it.
        changed: the paths of Hugging Face's own parameters that trained earlier and so may differ from the checkpoint.
        checkpoints_gradients: whether a block that trains is computed again in the backward pass, which takes time and
            saves the memory of all that it computes inside.
    """

    last_depth_is_normalized: ClassVar[bool] = False
    takes_prompt: ClassVar[bool] = True
    takes_masks: ClassVar[bool] = True

    def __init__(
        self,
        model: Any,
        source: EncoderSource,
        *,
        width: int,
        min_samples: int | None = None,
        max_samples: int | None = None,
    ) -> None:
        super().__init__()
        self.model: Any = model.requires_grad_(False)
        self._blocks_path = find_blocks(self.model)
        self.source = source
        self.family = source.family
        self.normalize = source.normalize
        self.width = width
        self.rate_hz = source.rate_hz
        self.min_samples = self._find_shortest() if min_samples is None else min_samples
        self.max_samples = max_samples
        self.first_changing_depth = self.n_blocks + 1
        self.prompt: SoftPrompt | None = None
        self.added: dict[str, Any] = {}
        self.ranks: RankAllocation | None = None
        self.changed: frozenset[str] = frozenset()
        self.checkpoints_gradients = False
        self.eval()

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks, that of depth 1 first; none where the module tree shows none."""
        if self._blocks_path is None:
            return nn.ModuleList()
        blocks: nn.ModuleList = self.model.get_submodule(self._blocks_path)
        return blocks

    @property
    def output_modules(self) -> Sequence[nn.Module]:
        """What follows the last block, such as a final norm; counted as part of the last depth."""
        return []

    @property
    def stem_modules(self) -> Sequence[nn.Module]:
        """The modules up to depth 0: all but the blocks and what follows them."""
        return topmost_without(self.model, [self.blocks, *self.output_modules])

    @property
    def feature_modules(self) -> Sequence[nn.Module]:
        """Of the stem, what makes features of a waveform, where depth 0 follows from them alone; empty elsewhere."""
        return []

    @property
    def fixed_parameters(self) -> frozenset[str]:
        """The paths of parameters that a full adaptation leaves as they are: SpecAugment's, which is left out."""
        return frozenset({"masked_spec_embed"})

    @property
    def attends_to_padding(self) -> bool:
        """Whether blocks take in frames that hold no speech, so that going on from a depth needs these too."""
        return False

    @abstractmethod
    def count_frames(self, n_samples: Tensor) -> Tensor:
        """Return the number of frames that waveforms of these numbers of samples give."""

    def frame_middles(self, n_samples: int, depth: Depth = "last") -> Tensor:
        """Return the sample in the middle of each real frame of a waveform, by the kernels it is made with.

        Frames of a family that does not say it lie evenly over the waveform.

        Args:
            n_samples: of the waveform.
            depth: whose frames.

        Returns:
            In the order of the frames; NaN for one of no time, such as a class token, shape (real frames,).
        """
        count = int(self.count_frames(torch.tensor([n_samples])))
        return (torch.arange(count) + 0.5) * n_samples / max(count, 1)

    @abstractmethod
    def stem(self, waveforms: Tensor, n_samples: Tensor) -> Frames:
        """Return the frames of depth 0.

        Args:
            waveforms: as read, at ``rate_hz``, shape (windows, samples); what lies behind ``n_samples`` is not used.
            n_samples: real samples of each window, shape (windows,).

        Raises:
            EncoderError: if a window is shorter than ``min_samples`` or longer than ``max_samples``.
        """

    def features(self, waveforms: Tensor, n_samples: Tensor) -> Frames:
        """Return what ``feature_modules`` make, below depth 0; arguments as for ``stem``.

        Raises:
            EncoderError: if the encoder has no such modules.
        """
        raise EncoderError(f"The stem of {self.source.name} is one whole: it has no features below depth 0.")

    def place(self, features: Frames) -> Frames:
        """Return the frames of depth 0 from the features."""
        return features

    def context(self, frames: Frames) -> dict[str, Any]:
        """Return what the blocks share, by the names of their arguments: the attention mask, relative positions."""
        return {"attention_mask": frames.is_real[:, None, None, :]}

    def block(self, depth: int, values: Tensor, context: Mapping[str, Any]) -> Tensor:
        """Return the values of a depth, 1 to ``n_blocks``, from those of the depth below it."""
        output: Tensor | tuple[Tensor, ...] = self.blocks[depth - 1](values, **context)
        # some layers also hand on attention weights or a position bias
        values = output[0] if isinstance(output, tuple) else output
        is_output = depth == self.n_blocks and self.last_depth_is_normalized
        return self._follow_blocks(values) if is_output else values

    def finish(self, frames: Frames) -> Frames:
        """Return the encoder's own output, Hugging Face's ``last_hidden_state``, from the frames of the last depth."""
        return frames if self.last_depth_is_normalized else Frames(self._follow_blocks(frames.values), frames.is_real)

    @property
    def n_blocks(self) -> int:
        """The number of blocks, which is the last depth."""
        return len(self.blocks)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    @property
    def frame_rate_hz(self) -> float:
        """How many frames a second of audio adds."""
        one, eleven = self.count_frames(torch.tensor([1, 11]) * self.rate_hz).tolist()
        return float(eleven - one) / 10

    def forward(
        self, waveforms: Tensor, n_samples: Tensor, depths: Sequence[Depth], masks: FrameMasks | None = None
    ) -> dict[Depth, Frames]:
        """Return the frames of the asked depths.

        Args:
            waveforms: at ``rate_hz``, padded behind, shape (windows, samples).
            n_samples: real samples of each window, shape (windows,).
            depths: numbers from 0 to ``n_blocks``, or ``"last"`` for the encoder's own output, which in pre-norm
                models is the last depth normalised; or ``"features"`` below depth 0.
            masks: what is hidden from depth 0 on; None hides nothing.

        Returns:
            For each depth its frames, undefined on padding. All numbered depths have the same mask.

        Raises:
            EncoderError: if there is no such depth, or a window is too short or too long.
        """
        self.check_depths(depths)
        start: Depth = "features" if "features" in depths else 0
        with self._gradients_at(0):
            frames = (self.stem if start == 0 else self.features)(waveforms, n_samples)
        return self.frames_from(start, frames, depths, masks)

    def frames_from(
        self, depth: Depth, frames: Frames, depths: Sequence[Depth], masks: FrameMasks | None = None
    ) -> dict[Depth, Frames]:
        """Return the frames of the asked depths from those of a depth that is not above them.

        Args:
            depth: of the frames, 0 to ``n_blocks``, or ``"features"``.
            frames: as ``forward`` gives them for that depth.
            depths: as for ``forward``, none below ``depth``.
            masks: as for ``forward``.

        Raises:
            EncoderError: if there is no such depth, one lies below ``depth``, or a soft prompt or masks would have to
                be there already.
        """
        found: dict[Depth, Frames] = {}
        if depth == "features":
            if "features" in depths:
                found["features"] = frames
            if len(found) == len(depths):
                return found
            with self._gradients_at(0):
                frames = self.place(frames)
        elif depth == "last":
            raise EncoderError("No depth follows the encoder's own output.")
        depth = 0 if depth == "features" else depth
        highest = self.check_depths(depths, lowest=depth)
        if depth > 0 and (self.prompt is not None or masks is not None):
            added = "masks" if self.prompt is None else "a soft prompt"
            raise EncoderError(f"With {added} frames are computed from those of depth 0, not of depth {depth}.")
        if masks is not None:
            with self._gradients_at(0):
                frames = Frames(hide_frames(frames.values, frames.is_real, masks), frames.is_real)
        with self._gradients_at(depth + 1):
            inner = frames if self.prompt is None else Frames(*self.prompt.put_before(*frames))
            context = self.context(inner)
        for number in range(depth, highest + 1):
            if number > depth:
                with self._gradients_at(number):
                    values = inner.values if self.prompt is None else self.prompt.renew(number, inner.values)
                    inner = Frames(self._run_block(number, values, context), inner.is_real)
            if number in depths:
                found[number] = self._without_prompt(inner) if number > depth else frames
        if "last" in depths:
            with self._gradients_at(self.n_blocks):
                found["last"] = self.finish(self._without_prompt(inner))
        return found

    def train(self, mode: bool = True) -> "SpeechEncoder":
        """Set training mode where something trains; what is frozen stays in eval mode, without dropout.

        A block with adapters is in training mode as a whole: what they learn is an update of the block.
        """
        super().train(False)
        self.training = mode
        if mode:
            stem = [(0, module) for module in self.stem_modules]
            stem_trains = any(has_trainable(module) for module in self.stem_modules)
            for depth, module in [*stem, *enumerate(self.blocks, start=1)]:
                # dropout that stands in the stem by itself follows the others there
                is_dropout = depth == 0 and next(module.parameters(), None) is None
                trains = stem_trains if is_dropout else has_trainable(module)
                if trains and depth >= self.first_changing_depth:
                    _set_training(module, whole=any(wraps_layer(each) for each in module.modules()))
        return self

    def adaptable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield all parameters that can train with their paths: within ``model``, or ``prompt.`` and the rest."""
        yield from self.model.named_parameters()
        if self.prompt is not None:
            yield from self.prompt.named_parameters(prefix="prompt")

    def depth_of(self, path: str) -> int:
        """Return the depth at which a parameter or module first acts, from its path as ``adaptable`` gives it."""
        if path.startswith("prompt."):
            # prompt.vectors.0 is what the first block takes in
            return int(path.split(".")[2]) + 1
        if self._blocks_path is not None and path.startswith(f"{self._blocks_path}."):
            return int(path.removeprefix(f"{self._blocks_path}.").partition(".")[0]) + 1
        return self.n_blocks if self.is_behind_blocks(path) else 0

    def is_behind_blocks(self, path: str) -> bool:
        """Return whether a parameter or module belongs to ``output_modules``."""
        behind = [self.path_of(module) for module in self.output_modules]
        return any(f"{path}.".startswith(f"{each}.") for each in behind)

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

    def check_depths(self, depths: Iterable[Depth], lowest: int = 0) -> int:
        """Return the highest of the depths as a number.

        Raises:
            EncoderError: if there is no such depth, or one lies below ``lowest``.
        """
        depths = list(depths)
        depths = [depth for depth in depths if depth != "features"]
        wrong = [depth for depth in depths if depth != "last" and depth not in range(self.n_blocks + 1)]
        if wrong:
            raise EncoderError(
                f"{self.source.name} has no depth {wrong[0]!r}: it has 0 (the stem) to {self.n_blocks}, and 'last'."
            )
        numbers = [depth for depth in depths if isinstance(depth, int)]
        below = [depth for depth in numbers if depth < lowest]
        if below:
            raise EncoderError(f"Depth {below[0]} cannot be computed from the frames of depth {lowest}.")
        return self.n_blocks if "last" in depths else max(numbers, default=0)

    def _run_block(self, depth: int, values: Tensor, context: Mapping[str, Any]) -> Tensor:
        if self.checkpoints_gradients and torch.is_grad_enabled():
            again: Tensor = checkpoint(self.block, depth, values, context, use_reentrant=False)
            return again
        return self.block(depth, values, context)

    def _follow_blocks(self, values: Tensor) -> Tensor:
        for module in self.output_modules:
            values = module(values)
        return values

    def _find_shortest(self) -> int:
        # a frame is never made of more than a second
        counts = self.count_frames(torch.arange(1, self.rate_hz + 1))
        return int((counts > 0).int().argmax()) + 1

    def _without_prompt(self, frames: Frames) -> Frames:
        return frames if self.prompt is None else Frames(*(self.prompt.strip(each) for each in frames))

    def _gradients_at(self, depth: int) -> AbstractContextManager[Any]:
        return torch.set_grad_enabled(torch.is_grad_enabled() and depth >= self.first_changing_depth)


def has_trainable(module: nn.Module) -> bool:
    """Return whether any parameter of a module trains."""
    return any(parameter.requires_grad for parameter in module.parameters())


def _set_training(module: nn.Module, whole: bool) -> None:
    # BatchNorm in training would make a score depend on the other recordings of the batch
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return
    module.training = True
    for child in module.children():
        # dropout has no parameters: it follows the module that holds it
        if whole or has_trainable(child) or next(child.parameters(), None) is None:
            _set_training(child, whole)


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
