"""The losses of predicting hidden patches: which of them it is, and what it holds (SSAST, equations 1 and 2)."""

import torch
from torch import Tensor


def matching(matched: Tensor, patches: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """InfoNCE: nats of finding each hidden patch among those of its clip, and the share that is found, both [B].

    matched, patches: [B, N, P], compared by their dot product; hidden: bool [B, N], one of a row at least. Computed in
    float32.
    """
    with torch.autocast(matched.device.type, enabled=False):
        logits = matched.float() @ patches.float().mT
        logits = logits.masked_fill(~hidden[:, None], -torch.inf)
        nats = logits.logsumexp(-1) - logits.diagonal(dim1=1, dim2=2)
        right = logits.argmax(-1) == torch.arange(logits.shape[1], device=logits.device)
    return _mean(nats.masked_fill(~hidden, 0), hidden), _mean((right & hidden).float(), hidden)


def reconstruction(reconstructed: Tensor, patches: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error of the hidden patches, [B], in float32."""
    error = (reconstructed.float() - patches.float()).square().mean(-1)
    return _mean(error * hidden, hidden)


def _mean(values: Tensor, hidden: Tensor) -> Tensor:
    return values.sum(1) / hidden.sum(1)
