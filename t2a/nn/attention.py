"""Multi-head attention: self-attention, causal with a preallocated cache or not, and cross-attention to a condition."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2a.nn.positions import rotate


class KeyValue(NamedTuple):
    """Keys and values of one attention layer, each [B, Hkv, N, D / H]."""

    keys: Tensor
    values: Tensor


class Context(NamedTuple):
    """A condition as a network uses it, computed once."""

    layers: tuple[KeyValue, ...]
    """one a cross-attention layer"""
    mask: Tensor
    """[B, S] bool, True = real"""
    pooled: Tensor | None = None
    """[B, D], one vector for all tokens, where a network takes it so"""


class Cache:
    """Keys and values of the positions already seen by one layer, in buffers allocated once.

    Views of the filled part are handed out, so a step costs its own tokens and not the capacity.
    """

    def __init__(
        self, batch: int, heads: int, capacity: int, head_width: int, device: torch.device, dtype: torch.dtype
    ):
        self.keys = torch.zeros(batch, heads, capacity, head_width, device=device, dtype=dtype)
        self.values = torch.zeros_like(self.keys)
        self.length = 0

    def extend(self, new: KeyValue) -> KeyValue:
        """Append N positions and return all positions so far."""
        end = self.length + new.keys.shape[2]
        if end > self.keys.shape[2]:
            raise ValueError(f"the cache holds {self.keys.shape[2]} positions, {end} are needed: make it larger")
        self.keys[:, :, self.length : end] = new.keys
        self.values[:, :, self.length : end] = new.values
        self.length = end
        return KeyValue(self.keys[:, :, :end], self.values[:, :, :end])


class HeadNorm(nn.RMSNorm):
    """RMS norm of every head's queries or keys (qk-norm), at the precision of its weight."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, N, D / H] to the same shape and type."""
        return super().forward(x.to(self.weight.dtype)).to(x.dtype)


class SelfAttention(nn.Module):
    """Self-attention; queries, keys and values by one fused matmul without bias.

    kv_heads: heads of the keys and values, each of them serves heads / kv_heads heads of the queries (grouped-query
    attention, Ainslie et al. 2023). qk_norm: normalise queries and keys by head, before the rotation. causal: what
    holds where no mask is given. bias: of the outward matmul.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        dropout: float = 0.0,
        kv_heads: int | None = None,
        qk_norm: bool = False,
        causal: bool = True,
        bias: bool = False,
    ):
        super().__init__()
        self.heads, self.kv_heads, self.dropout, self.causal = heads, kv_heads or heads, dropout, causal
        head_width = width // heads
        self.widths = [width, self.kv_heads * head_width, self.kv_heads * head_width]
        self.inward = nn.Linear(width, sum(self.widths), bias=False)
        self.outward = nn.Linear(width, width, bias=bias)
        self.query_norm = HeadNorm(head_width, eps=1e-6) if qk_norm else nn.Identity()
        self.key_norm = HeadNorm(head_width, eps=1e-6) if qk_norm else nn.Identity()

    def forward(
        self, x: Tensor, mask: Tensor | None, rotation: tuple[Tensor, Tensor] | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Map [B, N, D] -> [B, N, D].

        mask: bool [B or 1, 1, N, M], True = may look; None stands for plain attention over N = M positions,
        causal where the layer is.
        rotation: cosines and sines [B or 1, 1, N, D / H] of the N positions (see `rotary`).
        cache: M - N earlier positions; it is extended by these N.
        """
        queries, keys, values = self.inward(x).split(self.widths, dim=-1)
        queries = self.query_norm(split_heads(queries, self.heads))
        keys = self.key_norm(split_heads(keys, self.kv_heads))
        values = split_heads(values, self.kv_heads)
        if rotation is not None:
            queries, keys = rotate(queries, *rotation), rotate(keys, *rotation)
        keys, values = cache.extend(KeyValue(keys, values)) if cache is not None else (keys, values)
        causal = self.causal and mask is None and keys.shape[2] == queries.shape[2] > 1
        drop = self.dropout if self.training else 0.0
        return self.outward(join_heads(attend(queries, keys, values, mask, drop, causal)))


class CrossAttention(nn.Module):
    """Attention to a condition whose keys and values are computed once (`project`) and used at every step.

    kv_heads, qk_norm, bias: as in `SelfAttention`. context_width: of the condition, where it is another.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        dropout: float = 0.0,
        kv_heads: int | None = None,
        qk_norm: bool = False,
        context_width: int | None = None,
        bias: bool = False,
    ):
        super().__init__()
        self.heads, self.kv_heads, self.dropout = heads, kv_heads or heads, dropout
        head_width = width // heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(context_width or width, 2 * self.kv_heads * head_width, bias=False)
        self.outward = nn.Linear(width, width, bias=bias)
        self.query_norm = HeadNorm(head_width, eps=1e-6) if qk_norm else nn.Identity()
        self.key_norm = HeadNorm(head_width, eps=1e-6) if qk_norm else nn.Identity()

    def project(self, context: Tensor) -> KeyValue:
        """Compute keys and values of a context [B, S, context width]."""
        keys, values = (split_heads(part, self.kv_heads) for part in self.key_value(context).chunk(2, dim=-1))
        return KeyValue(self.key_norm(keys), values)

    def forward(self, x: Tensor, context: KeyValue, mask: Tensor | None) -> Tensor:
        """Map [B, N, D] -> [B, N, D]; mask: bool [B, S], True = real, None = all; every row needs one real token."""
        queries = self.query_norm(split_heads(self.query(x), self.heads))
        drop, mask = self.dropout if self.training else 0.0, None if mask is None else mask[:, None, None, :]
        return self.outward(join_heads(attend(queries, context.keys, context.values, mask, drop)))


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, dropout: float, causal: bool = False
) -> Tensor:
    """Scaled dot-product attention of queries [B, H, N, D / H] to keys and values [B, Hkv, M, D / H].

    On the CPU bfloat16 is computed in float32: torch's bfloat16 kernel is 4 times slower backward.
    """
    grouped = keys.shape[1] < queries.shape[1]
    if grouped and not causal and (mask is None or mask.shape[2] == 1):
        # All queries see the same keys, so those of a group's heads are that many more queries of one head.
        folded = queries.reshape(keys.shape[0], keys.shape[1], -1, queries.shape[3])
        return attend(folded, keys, values, mask, dropout).reshape(queries.shape)
    dtype = queries.dtype
    if queries.device.type == "cpu" and dtype == torch.bfloat16:
        with torch.autocast("cpu", enabled=False):
            queries, keys, values = queries.float(), keys.float(), values.float()
            return F.scaled_dot_product_attention(queries, keys, values, mask, dropout, causal, enable_gqa=grouped).to(
                dtype
            )
    return F.scaled_dot_product_attention(queries, keys, values, mask, dropout, causal, enable_gqa=grouped)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, N, D] -> [B, H, N, D / H]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """[B, H, N, D / H] -> [B, N, D]."""
    return x.transpose(1, 2).flatten(2)
