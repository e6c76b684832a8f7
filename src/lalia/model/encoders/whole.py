"""Any other audio model of Hugging Face, read as a whole: waveforms to its last hidden state."""

import inspect
import warnings
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lalia.errors import EncoderError
from lalia.model.encoders.base import EncoderSource, Frames, SpeechEncoder, mask_up_to
from lalia.model.encoders.clip_features import ClipFeatures

_MASKS = ("attention_mask", "feature_attention_mask", "input_features_mask", "padding_mask")


class WholeEncoder(SpeechEncoder):
    """A model whose parts lalia does not know: all of it is stem, and depth 0 is its last hidden state.

    It can be frozen or trained in full. Clips go through it one at a time, so none changes another's frames.

    Args:
        model: gives a ``last_hidden_state`` for what its feature extractor makes of a waveform.
        source: where it comes from.

    Raises:
        EncoderError: if it gives none.
    """

    takes_masks: ClassVar[bool] = False

    def __init__(self, model: Any, source: EncoderSource) -> None:
        self._features = ClipFeatures(source.features, source.rate_hz, source.name)
        self._inputs = set(inspect.signature(model.forward).parameters)
        self._takes_mask = True
        super().__init__(model, source, width=0, min_samples=1)
        self._measure()

    @property
    def blocks(self) -> nn.ModuleList:
        """No blocks: they may be there, but how to call them one by one is not known."""
        return nn.ModuleList()

    @cached_property
    def fixed_parameters(self) -> frozenset[str]:
        """The paths of parameters that the last hidden state does not depend on."""
        required = {path: each.requires_grad for path, each in self.model.named_parameters()}
        self.model.requires_grad_(True)
        try:
            with torch.enable_grad(), torch.random.fork_rng(devices=[]):
                output, _ = self._run(torch.randn(1, max(self.min_samples, self.rate_hz), device=self.device))
            paths, parameters = zip(*self.model.named_parameters(), strict=True)
            gradients = torch.autograd.grad(output.float().sum(), parameters, allow_unused=True)
        finally:
            for path, parameter in self.model.named_parameters():
                parameter.requires_grad_(required[path])
        return frozenset(path for path, gradient in zip(paths, gradients, strict=True) if gradient is None)

    def count_frames(self, n_samples: Tensor) -> Tensor:
        """Return the number of frames of waveforms of these numbers of samples, by running the model on silence."""
        with torch.no_grad():
            counts = [self._run(torch.zeros(1, n, device=self.device))[1] for n in n_samples.tolist()]
        return torch.tensor(counts)

    def stem(self, waveforms: Tensor, n_samples: Tensor) -> Frames:
        """Return the last hidden state of each clip."""
        lengths = self.check_lengths(waveforms, n_samples)
        outputs = [self._run(clip[None, :n]) for clip, n in zip(waveforms, lengths, strict=True)]
        values = pad_sequence([output[:count] for output, count in outputs], batch_first=True)
        counts = torch.tensor([count for _, count in outputs], device=values.device)
        return Frames(values, mask_up_to(counts, values.shape[1]))

    def _run(self, waveform: Tensor) -> tuple[Tensor, int]:
        """Return the last hidden state of one clip, shape (time, width), and how many of its frames are real."""
        inputs = self._features(waveform, [waveform.shape[1]])[0]
        mask = next((inputs.pop(name) for name in _MASKS if name in inputs), None)
        if mask is not None and self._takes_mask:
            inputs |= dict.fromkeys(_MASKS, mask)
        output = self.model(**{name: values for name, values in inputs.items() if name in self._inputs})
        values: Tensor = output.last_hidden_state[0]
        if values.ndim > 2:
            raise EncoderError(
                f"{self.source.name}: the last hidden state of a clip has shape {tuple(values.shape)}, where lalia"
                " expects (time, width)."
            )
        # some feature extractors pad every clip to one length: the real share of it, rounded up
        count = len(values) if mask is None else -(-len(values) * int(mask.sum()) // mask.shape[-1])
        return values, count

    def _measure(self) -> None:
        for self._takes_mask in (True, False):
            try:
                with torch.no_grad():
                    values, _ = self._run(torch.zeros(1, self.rate_hz, device=self.device))
                break
            except (AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError) as error:
                # a few take a mask of their own making, and none for a single clip
                if not self._takes_mask:
                    raise EncoderError(
                        f"{self.source.name}: lalia does not know the parts of {type(self.model).__name__}, and run as"
                        f" a whole on one second of audio it gives no last hidden state ({error})."
                    ) from error
        self.width = values.shape[-1]
        self.min_samples = self._bisect_shortest()

    def _bisect_shortest(self) -> int:
        too_short, enough = 0, self.rate_hz
        while enough - too_short > 1:
            middle = (too_short + enough) // 2
            too_short, enough = (too_short, middle) if self._takes(middle) else (middle, enough)
        return enough

    def _takes(self, n_samples: int) -> bool:
        generator = torch.Generator().manual_seed(0)
        noise = 0.1 * torch.randn(1, n_samples, generator=generator).to(self.device)
        try:
            # features of a single frame divide by zero: the result tells
            with torch.no_grad(), warnings.catch_warnings(action="ignore"):
                values, count = self._run(noise)
        except (ValueError, RuntimeError, IndexError, AssertionError):
            return False
        return count > 0 and bool(values[:count].isfinite().all())
