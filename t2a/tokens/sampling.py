"""Draw tokens from logits: temperature, top-k, top-p, and classifier-free guidance before them.

Randomness comes in as one uniform number a token, so a row's draw depends on its own seed alone, and not on the
device, the batch or the other rows.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def uniforms(seeds: Sequence[int], steps: int, codebooks: int) -> Tensor:
    """Numbers in [0, 1) for `sample`, [B, S, K] float32 on the CPU; row b depends on seeds[b] only.

    A longer draw begins with the shorter one.
    """
    return torch.stack([torch.rand(steps, codebooks, generator=torch.Generator().manual_seed(s)) for s in seeds])


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
    probabilities = (logits.double() / temperature).softmax(-1)  # float32 sums could miss the last bin
    if 0 < top_k < logits.shape[-1]:
        least = probabilities.topk(top_k, dim=-1).values[..., -1:]
        probabilities = probabilities.masked_fill(probabilities < least, 0.0)
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
