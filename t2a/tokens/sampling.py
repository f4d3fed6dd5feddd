"""Draw tokens from logits: temperature, top-k, top-p, and classifier-free guidance before them.

Randomness comes in as one uniform number a token, so a row's draw depends on its own seed alone, and not on the
device, the batch or the other rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from t2a.errors import ConfigError
from t2a.nn.seeding import seeded


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn: gamma of the guidance (0: without conditions, 1: without guidance), and as in `sample`."""

    guidance: float = 3.0
    temperature: float = 1.0
    top_k: int = 250
    top_p: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing, with a `ConfigError`."""
        for name, high in (("guidance", 100), ("temperature", 100), ("top_k", math.inf), ("top_p", 1)):
            value = getattr(self, name)
            if not 0 <= value <= high:  # also when it is not a number
                limits = f"between 0 and {high}" if math.isfinite(high) else "0 or more"
                raise ConfigError(f"{name} is {value}; it must be {limits}.")

    def draw(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Draw tokens int64 [B, K] from logits [B, K, V], or [2 B, K, V]: with conditions, then without them."""
        if len(logits) == 2 * len(uniform):
            logits = guide(*logits.chunk(2), self.guidance)
        return sample(logits, uniform, self.temperature, self.top_k, self.top_p)


def streams(seeds: Sequence[int]) -> list[torch.Generator]:
    """One stream of random numbers for each row, on the CPU."""
    return [seeded(seed) for seed in seeds]


def uniforms(generators: Sequence[torch.Generator], steps: int, codebooks: int) -> Tensor:
    """Draw the next numbers in [0, 1) for `sample`, [B, S, K] float32; row b depends on its own stream only.

    Several draws give the numbers of one long draw.
    """
    return torch.stack([torch.rand(steps, codebooks, generator=generator) for generator in generators])


def guide(conditional: Tensor, null: Tensor, guidance: float) -> Tensor:
    """Combine logits [..., V] as log-probabilities: gamma * log p(v | text) + (1 - gamma) * log p(v).

    AudioGen, section 3.2. Returned up to a constant, float32.
    """
    with_text = conditional.float().log_softmax(-1)
    without = null.float().log_softmax(-1)
    return guidance * with_text + (1 - guidance) * without


def sample(logits: Tensor, uniform: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 0.0) -> Tensor:
    """Draw tokens int64 [...] from logits [..., V], one for each number of `uniform` [...] in [0, 1).

    temperature 0 takes the likeliest token. top_k keeps the k likeliest, then top_p the smallest set of them that
    holds that share of the probability; 0 switches either off.
    """
    if temperature == 0:
        return logits.argmax(-1)
    if 0 < top_k < logits.shape[-1]:
        least = logits.kthvalue(logits.shape[-1] - top_k + 1, dim=-1, keepdim=True).values
        logits = logits.masked_fill(logits < least, -torch.inf)
    probabilities = (logits.double() / temperature).softmax(-1)  # float32 sums could miss the last bin
    if 0 < top_p < 1:
        probabilities = _nucleus(probabilities, top_p)
    cumulated = probabilities.cumsum(-1)
    threshold = uniform.to(cumulated)[..., None] * cumulated[..., -1:]
    return torch.searchsorted(cumulated, threshold, right=True)[..., 0]


def _nucleus(probabilities: Tensor, share: float) -> Tensor:
    """Zero all but the likeliest tokens that together first reach `share` of the sum."""
    ordered, order = probabilities.sort(dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    ordered = ordered.masked_fill(before >= share * ordered.sum(-1, keepdim=True), 0.0)
    return torch.zeros_like(probabilities).scatter(-1, order, ordered)
