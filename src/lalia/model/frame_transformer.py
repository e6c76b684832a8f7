"""A small transformer over the frames of a recording, before they are pooled.

Shape notation: frames (recordings, time, width), is_real_frame (recordings, time).
What padding holds never matters, not even NaN.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from lalia.errors import ModelError
from lalia.model.frames import zero_padding


class FrameTransformer(nn.Module):
    """Lets the frames of a recording look at each other: pre-norm transformer layers and a norm behind them.

    It has no positions. An encoder's frames carry what lies around them, and counted places would tell the head how
    long a recording is, which rates speech by itself; a recording longer than those of the training would also get
    places that were never trained. So the order of the frames changes nothing but their own order. The work grows with
    the square of a recording's length, the memory in proportion to it.

    Args:
        width: the width of the frames, in and out.
        layers: how many layers.
        heads: attention heads of each layer, a divisor of the width.
        hidden: the width between the two linear layers of each layer.
        dropout: on the attention weights and on what each half of a layer adds, 0 to below 1.

    Raises:
        ModelError: if the width is no multiple of heads.

    Example:
        >>> import torch
        >>> transformer = FrameTransformer(8, layers=1, heads=2, hidden=16, dropout=0.1)
        >>> transformer(torch.zeros(2, 5, 8), torch.ones(2, 5, dtype=torch.bool)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, width: int, *, layers: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ModelError(
                f"The frames have width {width}, which {heads} attention heads do not divide. Choose"
                " model.head.transformer.heads as a divisor of it."
            )
        self.width = width
        self.config: dict[str, Any] = {"layers": layers, "heads": heads, "hidden": hidden, "dropout": dropout}
        # made one by one: nn.TransformerEncoder copies its first layer, initial weights included
        self.layers = nn.ModuleList(_Layer(width, heads, hidden, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        """Return the frames of the same shape, what lies on padding undefined but finite.

        Raises:
            EmptyRecordingError: if a recording has only padding.
        """
        frames = zero_padding(frames, is_real_frame)
        for layer in self.layers:
            frames = layer(frames, is_real_frame)
        normed: Tensor = self.norm(frames)
        return normed


class _Layer(nn.Module):
    """The arithmetic of ``nn.TransformerEncoderLayer(norm_first=True, activation="gelu")``, for which a test stands.

    Without gradients, torch's own holds the weights of all pairs of frames: 7 GB and 25 s for 5 minutes of speech at
    4 heads, where ``scaled_dot_product_attention`` takes 10 MB and 1 s.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        frames = frames + self.dropout(self._attend(self.attention_norm(frames), is_real_frame))
        added: Tensor = self.dropout(self.feed_forward(frames))
        return frames + added

    def _attend(self, frames: Tensor, is_real_frame: Tensor) -> Tensor:
        by_head = self.query_key_value(frames).unflatten(-1, (3, self.heads, -1))
        query, key, value = (each.transpose(1, 2) for each in by_head.unbind(dim=2))
        attended = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=is_real_frame[:, None, None, :],
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        output: Tensor = self.attention_output(attended.transpose(1, 2).flatten(start_dim=2))
        return output
