"""wav2vec 2.0 with Conformer blocks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lalia.model.encoders.base import Frames
from lalia.model.encoders.wav2vec2 import Wav2Vec2Encoder


class ConformerEncoder(Wav2Vec2Encoder):
    """wav2vec2-conformer: positions enter in attention, and every block convolves over time.

    Its convolutions take no mask in Hugging Face: behind the end of a padded clip they would see what the layers before
    make of padding. Here they see zeros, as behind the end of a clip alone.

    Args:
        model: a ``Wav2Vec2ConformerModel``.
        source: where it comes from.
    """

    # relative positions would count the vectors of a prompt as time
    takes_prompt: ClassVar[bool] = False

    @property
    def output_modules(self) -> Sequence[nn.Module]:
        """The norm after the last block."""
        return [self.model.encoder.layer_norm]

    @property
    def fixed_parameters(self) -> frozenset[str]:
        """The convolutional positions, which Hugging Face makes and never uses, and SpecAugment's parameter."""
        unused = self.model.encoder.pos_conv_embed.named_parameters()
        return super().fixed_parameters | {f"encoder.pos_conv_embed.{name}" for name, _ in unused}

    def place(self, features: Frames) -> Frames:
        """Return the frames of depth 0, which are the features."""
        return Frames(self.model.encoder.dropout(features.values), features.is_real)

    def context(self, frames: Frames) -> dict[str, Any]:
        """Return the attention mask and the relative positions."""
        embed = self.model.encoder.embed_positions
        positions = None if embed is None else embed(frames.values)
        return {**super().context(frames), "relative_position_embeddings": positions}

    def block(self, depth: int, values: Tensor, context: Mapping[str, Any]) -> Tensor:
        """Return the values of a depth from those of the depth below it."""
        is_padding = ~context["attention_mask"][:, 0]
        block: Any = self.blocks[depth - 1]
        with _masking_input(block.conv_module.depthwise_conv, is_padding):
            return super().block(depth, values, context)


@contextmanager
def _masking_input(convolution: nn.Module, is_padding: Tensor) -> Iterator[None]:
    """Give a convolution over (windows, width, time) zeros in place of padding."""

    def mask(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (torch.where(is_padding, 0.0, inputs[0]),)

    handle = convolution.register_forward_pre_hook(mask)
    try:
        yield
    finally:
        handle.remove()
