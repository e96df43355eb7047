"""Qwen3.5's text stack as a function of (inputs, state), over a Hugging Face model's own weights.

transformers' cache is written in place, which autograd cannot pass. Here a segment of tokens takes
the state that an earlier segment left and returns its own: gated delta layers hand over the
recurrent state and the last inputs of their convolution, full-attention layers keys and values.
Gradients flow through all of it. The same function decodes, trains padded rows and shared prefixes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from zppo_core.errors import UserError
from zppo_core.models.qwen3_5 import pointwise
from zppo_core.models.qwen3_5.gated_delta import choose_kernel, gated_delta_step, working_dtype
from zppo_core.models.qwen3_5.joined_attention import Stretch, joined_attention
from zppo_core.models.qwen3_5.layers import (
    LayerState,
    attend,
    attention_heads,
    attention_mask,
    delta_gates,
    delta_heads,
    delta_output,
    feed_forward,
    is_delta,
    rms_norm,
)
from zppo_core.models.qwen3_5.packing import Bounds, PackedKernels

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel
    from transformers.models.qwen3_5 import modeling_qwen3_5 as qwen


@dataclass(frozen=True, eq=False)
class State:
    """What a segment leaves behind for each row.

    `real` (rows, past) marks the keys that are no padding; `position` (rows,) is the MRoPE position
    of the next token.
    """

    layers: tuple[LayerState, ...]
    real: torch.Tensor
    position: torch.Tensor

    def rows(self, index: torch.Tensor) -> State:
        """The state of rows `index`, which may repeat: a group's members continue one prompt."""
        layers = tuple((a.index_select(0, index), b.index_select(0, index)) for a, b in self.layers)
        return State(layers, self.real.index_select(0, index), self.position.index_select(0, index))


@dataclass(frozen=True, eq=False)
class Segment:
    """Right-padded inputs: embeddings (rows, T, hidden), MRoPE positions (3, rows, T), lengths."""

    embeddings: torch.Tensor
    positions: torch.Tensor
    lengths: torch.Tensor

    @property
    def real(self) -> torch.Tensor:
        steps = torch.arange(self.embeddings.shape[1], device=self.lengths.device)
        return steps < self.lengths.unsqueeze(1)


@contextmanager
def checkpointed(blocks: Iterable[Any]) -> Iterator[None]:
    """Within it, `blocks` of a vision tower keep their inputs alone for the backward pass.

    transformers does so for blocks in training mode, and ours never are: a sampler has no dropout.
    A block has nothing of its own that looks at its mode; its parts stay as they are.
    """
    blocks = list(blocks)
    for block in blocks:
        block.training = block.gradient_checkpointing = True
        block._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
    try:
        yield
    finally:
        for block in blocks:
            block.training = block.gradient_checkpointing = False


class HybridText:
    """The text stack of `model` (Qwen3_5ForConditionalGeneration or Qwen3_5ForCausalLM).

    `checkpointing` recomputes each layer's segment in the backward pass.
    """

    def __init__(self, model: PreTrainedModel, checkpointing: bool = False) -> None:
        self.model = model
        inner = model.model
        self.text = inner.language_model if hasattr(inner, "language_model") else inner
        self.checkpointing = checkpointing
        if self.text.config.hidden_act != "silu":  # as every Qwen3.5 that was published
            raise UserError(f"feed-forward by {self.text.config.hidden_act}; this forward has silu")
        device = self.text.embed_tokens.weight.device
        self.kernel, self.kernel_name = choose_kernel(device)
        # (pixels, grids) that prompts without pictures send through the vision tower for nothing:
        # where weights or gradients are sharded, all ranks must take the same way
        self.companion: tuple[torch.Tensor, torch.Tensor] | None = None
        # how a layer is called: weights that are sharded must be gathered around it
        self.call_layer: Callable[..., Any] = lambda function, layer, *rest: function(layer, *rest)

    def embed_prompts(
        self,
        input_ids: torch.Tensor,
        lengths: torch.Tensor,
        types: torch.Tensor | None = None,
        pixels: torch.Tensor | None = None,
        grids: torch.Tensor | None = None,
    ) -> tuple[Segment, torch.Tensor]:
        """Embedded prompts (rows, P) with their images, and each row's next position (rows,).

        Images are encoded once, in row order.
        """
        embeddings = self.text.embed_tokens(input_ids)
        rows, width = input_ids.shape
        steps = torch.arange(width, device=input_ids.device)
        if pixels is None or grids is None:
            positions = steps.expand(3, rows, width)
            if self.companion is not None:
                embeddings = embeddings + 0.0 * self._features(*self.companion).sum()
            return Segment(embeddings, positions, lengths), lengths
        inner = self.model.model
        image = self._features(pixels, grids).to(embeddings.dtype)
        holes = (input_ids == self.model.config.image_token_id).unsqueeze(-1)
        embeddings = embeddings.masked_scatter(holes, image)
        real = steps < lengths.unsqueeze(1)
        positions, delta = inner.get_rope_index(
            input_ids, types, image_grid_thw=grids, attention_mask=real
        )
        return Segment(embeddings, positions, lengths), lengths + delta.squeeze(1)

    def _features(self, pixels: torch.Tensor, grids: torch.Tensor) -> torch.Tensor:
        keeps_less = self.checkpointing and torch.is_grad_enabled()
        inner = self.model.model
        with checkpointed(inner.visual.blocks) if keeps_less else nullcontext():
            features = inner.get_image_features(pixels, grids, return_dict=True)
        return torch.cat(list(features.pooler_output))

    def continuation(
        self, input_ids: torch.Tensor, lengths: torch.Tensor, start: torch.Tensor
    ) -> Segment:
        """Text tokens (rows, T) that go on at positions `start` (rows,)."""
        steps = torch.arange(input_ids.shape[1], device=input_ids.device)
        positions = (start.unsqueeze(1) + steps).expand(3, -1, -1)
        return Segment(self.text.embed_tokens(input_ids), positions, lengths)

    def run(
        self, segment: Segment, past: State | None, position: torch.Tensor, want_output: bool = True
    ) -> tuple[torch.Tensor, State]:
        """Final hidden states (rows, T, hidden) and the state after the segment.

        `position` (rows,) is that of the token after the segment. Without `want_output` the last
        layer only leaves its state, and the hidden states returned are of no use.
        """
        hidden, real = segment.embeddings, segment.real
        rotary = self.text.rotary_emb(hidden, segment.positions)
        mask = attention_mask(real, None if past is None else past.real)
        states: list[LayerState] = []
        last = len(self.text.layers) - 1
        for i, layer in enumerate(self.text.layers):
            before = None if past is None else past.layers[i]
            needed = want_output or i < last
            arguments = (layer, hidden, rotary, real, segment.lengths, mask, before, needed)
            if self.checkpointing and torch.is_grad_enabled():
                hidden, state = checkpoint(
                    self.call_layer, self._layer, *arguments, use_reentrant=False
                )
            else:
                hidden, state = self.call_layer(self._layer, *arguments)
            states.append(state)
        if want_output:
            hidden = rms_norm(hidden, self.text.norm)
        seen = real if past is None else torch.cat([past.real, real], dim=1)
        return hidden, State(tuple(states), seen, position)

    def _layer(
        self,
        layer: qwen.Qwen3_5DecoderLayer,
        hidden: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        real: torch.Tensor,
        lengths: torch.Tensor,
        mask: torch.Tensor | None,
        before: LayerState | None,
        needed: bool,
    ) -> tuple[torch.Tensor, LayerState]:
        x = rms_norm(hidden, layer.input_layernorm)
        if is_delta(layer):
            mixed, state = self._delta(layer.linear_attn, x, real, lengths, before, needed)
        else:
            mixed, state = attend(layer.self_attn, x, rotary, mask, before, needed)
        if mixed is None:
            return hidden, state
        return feed_forward(layer, hidden + mixed), state

    def _delta(
        self,
        m: qwen.Qwen3_5GatedDeltaNet,
        x: torch.Tensor,
        real: torch.Tensor,
        lengths: torch.Tensor,
        before: LayerState | None,
        needed: bool,
    ) -> tuple[torch.Tensor | None, LayerState]:
        """A gated delta layer; padding has beta = 0 and g = 0, so it leaves the state alone."""
        rows, length, _ = x.shape
        tail_length = m.conv_kernel_size - 1
        qkv = m.in_proj_qkv(x)
        if before is None:
            tail = qkv.new_zeros(rows, tail_length, qkv.shape[-1])
            shape = (rows, m.num_v_heads, m.head_k_dim, m.head_v_dim)
            recurrent = qkv.new_zeros(shape, dtype=working_dtype(x.dtype))
        else:
            tail, recurrent = before
        window = torch.cat([tail, qkv], dim=1)
        # the last real inputs stand at lengths .. lengths + tail_length of the window
        offsets = lengths.unsqueeze(1) + torch.arange(tail_length, device=x.device)
        new_tail = window.gather(1, offsets.unsqueeze(-1).expand(-1, -1, window.shape[-1]))
        convolved = F.conv1d(
            window.transpose(1, 2), m.conv1d.weight, m.conv1d.bias, groups=window.shape[-1]
        )
        q, k, v = delta_heads(m, F.silu(convolved.transpose(1, 2)))
        beta, g = delta_gates(m, x)
        kept = real.unsqueeze(-1)
        kernel = gated_delta_step if length == 1 else self.kernel
        out, recurrent = kernel(q, k, v, g * kept, beta * kept, recurrent)
        if not needed:
            return None, (new_tail, recurrent)
        return delta_output(m, x, out), (new_tail, recurrent)

    def run_packed(
        self,
        segment: Segment,
        bounds: Bounds,
        kernels: PackedKernels,
        past: Link | None = None,
        want_output: bool = True,
    ) -> tuple[torch.Tensor, tuple[LayerState, ...]]:
        """`run` for sequences that lie end to end in one row, (1, tokens, hidden).

        `past` says what each sequence continues; the states returned are those after each.
        """
        hidden = segment.embeddings
        rotary = self.text.rotary_emb(hidden, segment.positions)
        states: list[LayerState] = []
        last = len(self.text.layers) - 1
        for i, layer in enumerate(self.text.layers):
            before = None if past is None else past.layers[i]
            needed = want_output or i < last
            arguments = (layer, hidden, rotary, bounds, kernels, past, before, needed)
            if self.checkpointing and torch.is_grad_enabled():
                hidden, state = checkpoint(
                    self.call_layer, packed_layer, *arguments, use_reentrant=False
                )
            else:
                hidden, state = self.call_layer(packed_layer, *arguments)
            states.append(state)
        return (rms_norm(hidden, self.text.norm) if want_output else hidden), tuple(states)


@dataclass(frozen=True, eq=False)
class Link:
    """What the sequences of a packed row continue: prompts that ran in a packed row of their own.

    `owner` (sequences,) names each sequence's prompt; sequences of one prompt lie side by side.
    `layers` are the states that the prompts left, `bounds` where they lay.
    """

    layers: tuple[LayerState, ...]
    owner: torch.Tensor
    bounds: Bounds
    groups: Bounds  # all sequences of a prompt as one


def packed_layer(
    layer: qwen.Qwen3_5DecoderLayer,
    hidden: torch.Tensor,
    rotary: tuple[torch.Tensor, torch.Tensor],
    bounds: Bounds,
    kernels: PackedKernels,
    past: Link | None,
    before: LayerState | None,
    needed: bool,
) -> tuple[torch.Tensor, LayerState]:
    """One layer over a packed row; nothing in it looks over a bound."""
    x = rms_norm(hidden, layer.input_layernorm)
    if is_delta(layer):
        mixed, state = delta_packed(layer.linear_attn, x, bounds, kernels, past, before, needed)
    else:
        mixed, state = attend_packed(layer.self_attn, x, rotary, bounds, past, before, needed)
    if mixed is None:
        return hidden, state
    return feed_forward(layer, hidden + mixed), state


def delta_packed(
    m: qwen.Qwen3_5GatedDeltaNet,
    x: torch.Tensor,
    bounds: Bounds,
    kernels: PackedKernels,
    past: Link | None,
    before: LayerState | None,
    needed: bool,
) -> tuple[torch.Tensor | None, LayerState]:
    """A gated delta layer over a packed row, each sequence from its prompt's state."""
    qkv = m.in_proj_qkv(x)
    index, exists = bounds.last(m.conv_kernel_size - 1)
    new_tails = qkv[0][index] * exists.unsqueeze(-1)
    tails = states = None
    if past is not None and before is not None:
        tails, states = (t.index_select(0, past.owner) for t in before)
    convolved = kernels.convolution(qkv, m.conv1d.weight.squeeze(1), bounds, tails)
    beta, g = delta_gates(m, x)
    out, finals = kernels.delta(*delta_heads(m, convolved, repeat=False), g, beta, bounds, states)
    if not needed:
        return None, (new_tails, finals)
    return delta_output(m, x, out), (new_tails, finals)


def attend_packed(
    m: qwen.Qwen3_5Attention,
    x: torch.Tensor,
    rotary: tuple[torch.Tensor, torch.Tensor],
    bounds: Bounds,
    past: Link | None,
    before: LayerState | None,
    needed: bool,
) -> tuple[torch.Tensor | None, LayerState]:
    """A full-attention layer over a packed row: sequences over themselves and their prompts."""
    q, k, v, gate = attention_heads(m, x, rotary)
    q, k, v = (t[0].transpose(0, 1) for t in (q, k, v))
    if not needed:
        return None, (k, v)
    keys, stretches = [(k, v)], [Stretch(bounds, bounds, causal=True)]
    if past is not None and before is not None:
        keys.append(before)
        stretches.append(Stretch(past.groups, past.bounds, causal=False))
    out = joined_attention(q, keys, stretches, m.scaling)
    return m.o_proj(pointwise.opened(out.flatten(1).unsqueeze(0), gate)), (k, v)


def pad_rows(
    rows: Sequence[Sequence[int] | np.ndarray], fill: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Integer rows right-padded to one width: ids (rows, T) and lengths (rows,)."""
    lengths = [len(r) for r in rows]
    ids = torch.full((len(rows), max(lengths)), fill, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : lengths[i]] = torch.as_tensor(row, dtype=torch.long)
    return ids.to(device), torch.tensor(lengths, device=device)
