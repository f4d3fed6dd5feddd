"""Pre-norm transformers: an encoder, and a causal decoder with cross-attention and a cache for generation."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from t2a.nn.attention import Cache, CrossAttention, KeyValue, SelfAttention
from t2a.nn.positions import rotary, sinusoids

Positions = Literal["sinusoidal", "rotary", "none"]
Activation = Literal["gelu", "swiglu"]


@dataclass(frozen=True)
class Shape:
    """Sizes of a block and what it is made of."""

    width: int
    heads: int
    feedforward: int  # width between the two layers of the feed-forward part
    kv_heads: int | None = None  # fewer than heads: grouped-query attention
    qk_norm: bool = False
    activation: Activation = "gelu"
    cross: bool = False
    dropout: float = 0.0


@dataclass
class State:
    """What a decoder keeps between the steps of a generation."""

    caches: list[Cache]  # one a layer
    context: list[KeyValue] | None  # one a layer; None without cross-attention
    context_mask: Tensor | None  # bool [B, S]
    real: Tensor  # bool [B, capacity], False = a padded position that nobody may look at
    padded: bool  # whether any position of any row is padding
    next_position: Tensor  # int64 [B], the number of real positions seen, row by row
    added: Tensor | None = None  # [B, 1, D], what the model adds to every later position before the decoder

    @property
    def length(self) -> int:
        """Positions seen so far, padding included."""
        return self.caches[0].length


def swiglu(x: Tensor) -> Tensor:
    """Let one half of [..., 2 D] gate the other: [..., D] (Shazeer 2020)."""
    gate, value = x.chunk(2, dim=-1)
    return F.silu(gate) * value


ACTIVATIONS: dict[Activation, tuple[Callable[[Tensor], Tensor], int]] = {"gelu": (F.gelu, 1), "swiglu": (swiglu, 2)}
"""The function, and how many times its output's width it wants"""


class Block(nn.Module):
    """x + attention(norm x), + cross-attention(norm x) where there is a context, + feed-forward(norm x)."""

    def __init__(self, shape: Shape):
        super().__init__()
        width, hidden = shape.width, shape.feedforward
        attention = {name: getattr(shape, name) for name in ("width", "heads", "dropout", "kv_heads", "qk_norm")}
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = SelfAttention(**attention)
        self.cross_norm = nn.LayerNorm(width) if shape.cross else None
        self.cross_attention = CrossAttention(**attention) if shape.cross else None
        self.feedforward_norm = nn.LayerNorm(width)
        self.activation, parts = ACTIVATIONS[shape.activation]
        self.expand = nn.Linear(width, parts * hidden, bias=False)
        self.contract = nn.Linear(hidden, width, bias=False)
        self.drop = nn.Dropout(shape.dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        rotation: tuple[Tensor, Tensor] | None,
        context: KeyValue | None,
        context_mask: Tensor | None,
        cache: Cache | None,
    ) -> Tensor:
        """Map [B, N, D] -> [B, N, D]; arguments as in the attention layers."""
        x = x + self.drop(self.self_attention(self.self_norm(x), mask, rotation, cache))
        if self.cross_attention is not None and context is not None and context_mask is not None:
            x = x + self.drop(self.cross_attention(self.cross_norm(x), context, context_mask))
        hidden = self.drop(self.activation(self.expand(self.feedforward_norm(x))))
        return x + self.drop(self.contract(hidden))


def initialise(blocks: nn.ModuleList, shape: Shape) -> None:
    """Draw the weights of a stack so that its residual stream keeps its variance whatever the depth (GPT-2)."""
    for module in blocks.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=1 / math.sqrt(module.in_features))
    for block in blocks:
        for part in (block.self_attention, block.cross_attention):
            if part is not None:
                nn.init.normal_(part.outward.weight, std=(shape.width * 2 * len(blocks)) ** -0.5)
        nn.init.normal_(block.contract.weight, std=(shape.feedforward * 2 * len(blocks)) ** -0.5)


class Encoder(nn.Module):
    """A stack of blocks over [B, N, D] in which every token sees all real ones; positions are the caller's."""

    def __init__(self, shape: Shape, layers: int, checkpoint: bool = False):
        """checkpoint: in training keep no activations inside the blocks but compute them again for the gradients."""
        super().__init__()
        self.checkpoint = checkpoint
        self.blocks = nn.ModuleList(Block(shape) for _ in range(layers))
        self.norm = nn.LayerNorm(shape.width)
        initialise(self.blocks, shape)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """Map [B, N, D] -> [B, N, D]; real: bool [B, N], one of a row at least."""
        mask = real[:, None, None, :]
        for block in self.blocks:
            given = (block, x, mask, None, None, None)
            again = self.checkpoint and self.training and torch.is_grad_enabled()
            x = checkpoint(_whole, *given, use_reentrant=False) if again else _whole(*given)
        return self.norm(x)


class Decoder(nn.Module):
    """A stack of blocks over [B, N, D] with positions counted over real tokens only.

    Padding (False in `real`) takes no position and is never looked at, so a row's result does not depend on how far
    it was padded, hence not on its batch-mates.
    """

    def __init__(self, shape: Shape, layers: int, positions: Positions = "sinusoidal", checkpoint: bool = False):
        """checkpoint: in training keep no activations inside the blocks but compute them again for the gradients."""
        super().__init__()
        self.shape, self.positions, self.checkpoint = shape, positions, checkpoint
        self.blocks = nn.ModuleList(Block(shape) for _ in range(layers))
        self.norm = nn.LayerNorm(shape.width)
        initialise(self.blocks, shape)

    def forward(
        self, x: Tensor, real: Tensor | None = None, context: Tensor | None = None, context_mask: Tensor | None = None
    ) -> Tensor:
        """Map a whole sequence [B, N, D] -> [B, N, D].

        real: bool [B, N]; None = all real. context [B, S, D] and its mask bool [B, S] go to the cross-attention.
        """
        x, rotation = self._place(x, self._positions(x, real))
        mask = None if real is None else self._causal(x.shape[1], x.shape[1], x.device) & real[:, None, None, :]
        for block in self.blocks:
            given = (block, x, mask, rotation, context, context_mask)
            again = self.checkpoint and self.training and torch.is_grad_enabled()
            x = checkpoint(_whole, *given, use_reentrant=False) if again else _whole(*given)
        return self.norm(x)

    def start(
        self, batch: int, capacity: int, context: Tensor | None = None, context_mask: Tensor | None = None
    ) -> State:
        """Allocate the caches for `capacity` positions and compute the context's keys and values, once."""
        weight = self.norm.weight
        heads, head_width = self.shape.kv_heads or self.shape.heads, self.shape.width // self.shape.heads
        caches = [Cache(batch, heads, capacity, head_width, weight.device, weight.dtype) for _ in self.blocks]
        projected = None if context is None else [block.cross_attention.project(context) for block in self.blocks]
        real = torch.ones(batch, capacity, dtype=torch.bool, device=weight.device)
        counted = torch.zeros(batch, dtype=torch.int64, device=weight.device)
        return State(caches, projected, context_mask, real, False, counted)

    def advance(self, x: Tensor, state: State, real: Tensor | None = None) -> Tensor:
        """Map the next positions [B, N, D] -> [B, N, D] and remember them in `state`; N may be 1 or a whole prefix."""
        begin, count = state.length, x.shape[1]
        if real is not None:
            state.real[:, begin : begin + count] = real
            state.padded = state.padded or not bool(real.all())
        x, rotation = self._place(x, state.next_position[:, None] + self._positions(x, real))
        state.next_position = state.next_position + (count if real is None else real.sum(1))
        mask = self._causal(count, begin + count, x.device) if count > 1 else None
        if state.padded:
            visible = state.real[:, None, None, : begin + count]
            mask = visible if mask is None else mask & visible
        for index, block in enumerate(self.blocks):
            projected = None if state.context is None else state.context[index]
            x = block(x, mask, rotation, projected, state.context_mask, state.caches[index])
        return self.norm(x)

    @staticmethod
    def _causal(queries: int, keys: int, device: torch.device) -> Tensor:
        """Bool [1, 1, queries, keys]: the last query sees all keys, the one before it all but one, ..."""
        return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)[None, None]

    @staticmethod
    def _positions(x: Tensor, real: Tensor | None) -> Tensor:
        """int64 [B or 1, N]: how many real tokens stand before each one."""
        if real is None:
            return torch.arange(x.shape[1], device=x.device)[None]
        return (real.cumsum(1) - 1).clamp(min=0)

    def _place(self, x: Tensor, positions: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Add sinusoids to x, or return the rotation for the attention layers, or neither."""
        if self.positions == "rotary":
            return x, rotary(positions, self.shape.width // self.shape.heads)
        if self.positions == "sinusoidal":
            return x + sinusoids(positions, self.shape.width).to(x.dtype), None
        return x, None


def _whole(
    block: Block,
    x: Tensor,
    mask: Tensor | None,
    rotation: tuple[Tensor, Tensor] | None,
    context: Tensor | None,
    context_mask: Tensor | None,
) -> Tensor:
    """Apply one block to a whole sequence, the context's keys and values included."""
    projected = None if context is None else block.cross_attention.project(context)
    return block(x, mask, rotation, projected, context_mask, None)
