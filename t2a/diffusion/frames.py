"""Which frames of a batch of latents are real: what fills rows up must reach no loss, no statistic and no noise."""

import torch
from torch import Tensor


def real_frames(length: Tensor, x: Tensor) -> Tensor:
    """Tell the real frames of x [B, C, (F,) L] of `length` [B], bool [B, 1, (1,) L]."""
    real = torch.arange(x.shape[-1], device=x.device) < length.to(x.device)[:, None]
    return real.view(len(x), *(1,) * (x.ndim - 2), x.shape[-1])


def row_mean(values: Tensor, real: Tensor) -> Tensor:
    """Mean over channels and real frames, [B]: values [B, C, (F,) L], real [B, 1, (1,) L]. No frame at all gives 0."""
    summed = values.masked_fill(~real, 0.0).flatten(1).sum(1)
    return summed / (real.flatten(1).sum(1) * values[0, ..., 0].numel()).clamp(min=1)
