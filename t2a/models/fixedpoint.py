"""The entropy model in fixed-point arithmetic: the same frequencies on every machine, to the last bit.

Weights and activations are integers held in float64. Sums of products stay below 2^53, hence are exact in whatever
order a library adds them up, on any number of threads, on a CPU or a GPU, frame by frame or all at once. Between
them stand only single operations that IEEE 754 defines to the last bit (+, -, *, /, square root, rounding), no divisor
is a constant (which some kernels multiply by its reciprocal), and exponentials are looked up in a table that was
computed once and lies with the weights. Float32 values are not involved, so no autocast or TF32 applies.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from t2a.models.entropy import Attention, EntropyConfig, EntropyModel, FeedForward, Norm
from t2a.models.pretrained import Pretrained
from t2a.nn.attention import Cache, KeyValue, join_heads, split_heads
from t2a.nn.uncast import Uncast

INTEGER = "integer"  # the folder in an entropy model's folder
WEIGHT = 14  # bits behind the point: of weights,
STREAM = 12  # of the residual stream, queries, keys, values and hidden units,
LENGTH = 16  # of a normalised vector, whose Euclidean length is 1,
NAT = 8  # and of logits
LIMIT = 2.0**20  # activations are clamped to this many units
EXPONENTIALS = 2**12  # entries of the table, 16 nats
PEAK = 20  # bits of its first entry
TOTAL = 2**24  # of the frequencies of a code
HIDDEN = 2.0**40  # below any score, for frames that must not be looked at


@dataclass
class State:
    """What is kept of the frames already seen."""

    caches: list[Cache]  # one a layer
    last: Tensor  # [B, 1, D], the last frame as the layers see it


class IntegerModel(Uncast, Pretrained):
    """Frequencies of codes, as `t2a.tokens.entropy` codes with; made by `quantise`, never trained."""

    model_type: ClassVar[str] = "entropy-integer"
    config_class = EntropyConfig
    config: EntropyConfig

    def __init__(self, config: EntropyConfig) -> None:
        super().__init__()
        self.config = config
        width, codebooks, hidden = config.width, config.codebooks, config.feedforward * config.width
        self.start_frame = integers(width)
        self.frame = integers(codebooks * config.bins, width)
        self.blocks = nn.ModuleList(
            IntegerBlock(width, hidden, config.heads, config.past) for _ in range(config.layers)
        )
        self.place = integers(codebooks, width)
        self.earlier = integers(codebooks * config.bins, width)
        self.mix = IntegerFeedForward(width, hidden)
        self.heads = integers(codebooks, config.bins, width)
        self.bias = integers(codebooks, config.bins)
        self.exponentials = integers(EXPONENTIALS)

    @torch.inference_mode()
    def start(self, rows: int, frames: int) -> State:
        """Begin `rows` sequences of at most `frames` frames."""
        config, device = self.config, self.heads.device
        size = (rows, config.heads, frames, config.width // config.heads)
        return State(
            [Cache(*size, device, torch.float64) for _ in self.blocks], self.start_frame.expand(rows, 1, config.width)
        )

    @torch.inference_mode()
    def read(self, codes: Tensor, state: State) -> Tensor:
        """Frequencies int64 [B, n, K, V] of the next n frames int64 [B, K, n], each given what stands before it."""
        rows = self._rows(codes)
        frames = self.frame[rows].sum(2)
        x = self._context(torch.cat([state.last, frames[:, :-1]], dim=1), state)
        state.last = frames[:, -1:]
        seen = self.earlier[rows].cumsum(2) - self.earlier[rows]
        return torch.stack([self._frequencies(x, seen[:, :, k], k) for k in range(codes.shape[1])], dim=2)

    @torch.inference_mode()
    def walk(self, codebooks: int, choose: Any, state: State) -> Tensor:
        """Codes [B, K, 1] of the next frame, of which `choose` tells each [B] from its frequencies [B, V]."""
        x = self._context(state.last, state)
        seen, codes = torch.zeros_like(x), []
        for k in range(codebooks):
            codes.append(choose(self._frequencies(x, seen, k)[:, 0]).to(x.device))
            seen = seen + self.earlier[codes[-1] + k * self.config.bins][:, None]
        frame = torch.stack(codes, dim=1)[..., None]
        state.last = self.frame[self._rows(frame)].sum(2)
        return frame

    def _rows(self, codes: Tensor) -> Tensor:
        """Rows [B, L, K] of the tables."""
        first = torch.arange(codes.shape[1], device=codes.device) * self.config.bins
        return (codes + first[:, None]).transpose(1, 2)

    def _context(self, x: Tensor, state: State) -> Tensor:
        """[B, n, D] -> [B, n, D] through the layers."""
        x, past = x.clamp(-LIMIT, LIMIT), self.config.past
        places = torch.arange(min(state.caches[0].length, past - 1) + x.shape[1], device=x.device)
        distance = places[-x.shape[1] :, None] - places
        hidden = (distance < 0) | (distance >= past)
        distance = distance.clamp(0, past - 1)
        for block, cache in zip(self.blocks, state.caches, strict=True):
            x = block(x, cache, distance, hidden, self.exponentials)
        return x

    def _frequencies(self, x: Tensor, seen: Tensor, k: int) -> Tensor:
        """Frequencies [B, n, V] of codebook k; none is 0, their sum is `TOTAL`."""
        x = self.mix((x + self.place[k] + seen).clamp(-LIMIT, LIMIT))
        logits = product(normalised(x), self.heads[k], LENGTH + WEIGHT - NAT) + self.bias[k]
        likelihood = exponential(logits, self.exponentials).long().cumsum(-1)
        spread = TOTAL - self.config.bins  # every code has 1 already
        bounds = torch.div(likelihood * spread, likelihood[..., -1:], rounding_mode="floor")
        return torch.diff(bounds, prepend=torch.zeros_like(bounds[..., :1])) + 1


class IntegerBlock(nn.Module):
    """`t2a.models.entropy.Block` in integers."""

    def __init__(self, width: int, hidden: int, heads: int, past: int) -> None:
        super().__init__()
        self.attention = IntegerAttention(width, heads, past)
        self.feedforward = IntegerFeedForward(width, hidden)

    def forward(self, x: Tensor, *seen: Any) -> Tensor:
        return self.feedforward(self.attention(x, *seen))


class IntegerAttention(nn.Module):
    """`t2a.models.entropy.Attention` in integers, going on from a cache."""

    def __init__(self, width: int, heads: int, past: int) -> None:
        super().__init__()
        self.heads = heads
        self.inward, self.outward = integers(3 * width, width), integers(width, width)
        self.distance = integers(heads, past)

    def forward(self, x: Tensor, cache: Cache, distance: Tensor, hidden: Tensor, exponentials: Tensor) -> Tensor:
        """Map [B, n, D] -> [B, n, D]; distance and hidden [n, N] of the last N frames, at most past - 1 + n."""
        parts = product(normalised(x), self.inward, LENGTH + WEIGHT - STREAM).clamp(-LIMIT, LIMIT).chunk(3, dim=-1)
        queries, *new = (split_heads(part, self.heads) for part in parts)
        keys, values = (part[:, :, -hidden.shape[1] :] for part in cache.extend(KeyValue(*new)))
        scores = scaled(queries @ keys.transpose(-1, -2), 2 * STREAM - NAT) + self.distance[:, distance]
        weights = exponential(scores.masked_fill(hidden, -HIDDEN), exponentials)
        mean = torch.round((weights @ values) / weights.sum(-1, keepdim=True))
        return (x + product(join_heads(mean), self.outward, WEIGHT)).clamp(-LIMIT, LIMIT)


class IntegerFeedForward(nn.Module):
    """`t2a.models.entropy.FeedForward` in integers."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inward, self.outward = integers(hidden, width), integers(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        units = product(normalised(x), self.inward, LENGTH + WEIGHT - STREAM).clamp(0, math.sqrt(LIMIT * 2**STREAM))
        return (x + product(scaled(units.square(), STREAM), self.outward, WEIGHT)).clamp(-LIMIT, LIMIT)


def integers(*shape: int) -> nn.Buffer:
    """Room for integers, as float64 whatever the default type."""
    return nn.Buffer(torch.zeros(shape, dtype=torch.float64))


def scaled(x: Tensor, bits: int) -> Tensor:
    """x / 2^bits, rounded to an integer, halves to the even one."""
    return torch.round(x * 2.0**-bits)


def product(x: Tensor, weight: Tensor, bits: int) -> Tensor:
    """x @ weight^T / 2^bits, rounded."""
    return scaled(x @ weight.T, bits)


def normalised(x: Tensor) -> Tensor:
    """Scale the last axis of integers up to 2^20 to the Euclidean length 2^LENGTH, rounded."""
    length = x.square().sum(-1, keepdim=True).sqrt().floor().clamp(min=1)
    return torch.round(x * 2.0**LENGTH / length)


def exponential(scores: Tensor, table: Tensor) -> Tensor:
    """exp(scores - their maximum) over the last axis as integers up to 2^PEAK, 0 from 16 nats below it."""
    below = scores.amax(-1, keepdim=True) - scores
    return table[below.clamp(max=len(table) - 1).long()]


@torch.no_grad()
def quantise(model: EntropyModel) -> IntegerModel:
    """Round a trained model to integers. Raises `ValueError` when its weights are too large to stay exact."""
    made, width = IntegerModel(model.config), model.config.width
    made.start_frame.copy_(fixed(model.start, STREAM))
    for name in ("frame", "earlier"):
        getattr(made, name).copy_(fixed(getattr(model, name).weight, STREAM))
    made.place.copy_(fixed(model.place, STREAM))
    for whole, block in zip(cast(Any, made.blocks), cast(Any, model.blocks), strict=True):
        _attention(whole.attention, block.attention)
        _feedforward(whole.feedforward, block.feedforward)
    _feedforward(made.mix, model.mix)
    made.heads.copy_(fixed(after(model.norm, model.heads), WEIGHT))
    made.bias.copy_(fixed(model.bias, NAT))
    below = torch.arange(EXPONENTIALS, dtype=torch.float64) * 2.0**-NAT
    made.exponentials.copy_(torch.round(torch.exp(-below) * 2.0**PEAK))
    made.exponentials[-1] = 0  # what must not be looked at
    _check(made, width)
    return made.eval()


def _attention(made: IntegerAttention, model: Attention) -> None:
    weight = after(model.norm, model.inward.weight)
    queries = weight.shape[0] // 3
    weight[:queries] /= math.sqrt(queries // model.heads)
    made.inward.copy_(fixed(weight, WEIGHT))
    made.outward.copy_(fixed(model.outward.weight, WEIGHT))
    made.distance.copy_(fixed(model.distance, NAT))


def _feedforward(made: IntegerFeedForward, model: FeedForward) -> None:
    made.inward.copy_(fixed(after(model.norm, model.inward.weight), WEIGHT))
    made.outward.copy_(fixed(model.outward.weight, WEIGHT))


def after(norm: Norm, weight: Tensor) -> Tensor:
    """The weight that does to a vector of length 1 what norm and weight do: [..., D]."""
    return weight.double() * norm.gain.double() * math.sqrt(weight.shape[-1])


def fixed(x: Tensor, bits: int) -> Tensor:
    """Round to integers, units of 2^-bits."""
    return torch.round(x.double() * 2.0**bits)


def _check(model: IntegerModel, width: int) -> None:
    """Make sure that no sum can reach 2^53, whatever the codes, and that tensors survive float32 in a file."""
    for name, tensor in model.named_buffers():
        matrix = name.endswith(("inward", "outward", "heads"))
        reach = float(tensor.abs().sum(-1).max()) * LIMIT if matrix else 0.0
        if not (reach < 2.0**53 and float(tensor.abs().max()) < 2.0**24):
            raise ValueError(f"{name} is too large for exact arithmetic: train with weight decay, or a lower rate.")
    past, head = model.config.past, width // model.config.heads
    assert max(past * 2.0**PEAK, head * LIMIT, width * LIMIT) * LIMIT < 2.0**53
