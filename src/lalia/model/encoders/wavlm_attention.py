"""WavLM's attention as calls of its projections, so that whatever wraps them takes part."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.wavlm.modeling_wavlm import WavLMAttention


class CallingWavLMAttention(WavLMAttention):  # type: ignore[misc]
    """WavLM's gated relative-position attention through ``scaled_dot_product_attention``.

    Hugging Face's forward hands ``q_proj.weight`` and its siblings to ``F.multi_head_attention_forward`` and never
    calls the modules: a LoRA adapter or a hook on them has no effect. This one calls them. Parameters, their names and
    the output are the same.
    """

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        **_: object,
    ) -> tuple[Tensor, None, Tensor | None]:
        """Attend from all frames to the real ones.

        Args:
            hidden_states: shape (windows, time, width).
            attention_mask: False on padding, shape (windows, 1, 1, time), or None without padding.
            position_bias: of the first block, shape (heads, time, time).

        Returns:
            The attended values, shape (windows, time, width); None in place of weights; the position bias.
        """
        windows, time, width = hidden_states.shape
        split = hidden_states.view(windows, time, self.num_heads, self.head_dim).transpose(1, 2)
        gates = self.gru_rel_pos_linear(split).view(windows, self.num_heads, time, 2, 4).sum(dim=-1)
        gate_a, gate_b = torch.sigmoid(gates).chunk(2, dim=-1)
        bias = (gate_a * (gate_b * self.gru_rel_pos_const - 1.0) + 2.0) * position_bias
        if attention_mask is not None:
            bias = bias.masked_fill(~attention_mask, float("-inf"))
        query, key, value = (
            projection(hidden_states).view(windows, time, self.num_heads, self.head_dim).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=bias.to(query.dtype), dropout_p=self.dropout if self.training else 0.0
        )
        attended = attended.transpose(1, 2).reshape(windows, time, width)
        return self.out_proj(attended), None, position_bias


def call_projections(layers: Iterable[Any]) -> None:
    """Put :class:`CallingWavLMAttention` in place of each layer's attention, with the same parameters."""
    for layer in layers:
        old = layer.attention
        # on the meta device no memory is taken and no random number drawn: the parameters are the old ones
        with torch.device("meta"):
            new = CallingWavLMAttention(
                old.embed_dim,
                old.num_heads,
                old.dropout,
                old.num_buckets,
                old.max_distance,
                has_relative_position_bias=hasattr(old, "rel_attn_embed"),
            )
        new.load_state_dict(old.state_dict(), assign=True)
        layer.attention = new
