"""Which frames of a batch are real: what fills a row up must not change what is real in it. Time is the last axis."""

import torch
from torch import Tensor
from torch.nn import functional


def mask_of(length: Tensor | None, frames: int) -> Tensor | None:
    """Tell which of `frames` frames are real, bool [B, L], given their number int64 [B]; None where all are."""
    if length is None or bool((length >= frames).all()):
        return None
    return torch.arange(frames, device=length.device) < length[:, None]


def real_frames(length: Tensor, x: Tensor) -> Tensor:
    """Tell the real frames of x [B, ..., L] of `length` int64 [B], bool with the axes of x, of size 1 between."""
    return spread(torch.arange(x.shape[-1], device=x.device) < length.to(x.device)[:, None], x)


def row_mean(values: Tensor, real: Tensor) -> Tensor:
    """Mean over channels and real frames, [B]: values [B, C, (F,) L], real [B, 1, (1,) L]. No frame at all gives 0."""
    summed = values.masked_fill(~real, 0.0).flatten(1).sum(1)
    return summed / (real.flatten(1).sum(1) * values[0, ..., 0].numel()).clamp(min=1)


def spread(mask: Tensor, x: Tensor) -> Tensor:
    """Give a mask [B, L] the axes of `x` [B, ..., L], each of size 1."""
    return mask.reshape(len(mask), *[1] * (x.ndim - 2), mask.shape[-1])


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero what is not real in [B, ..., L], so that the next convolution sees padding there."""
    return x if mask is None else x * spread(mask, x)


def halved(mask: Tensor | None) -> Tensor | None:
    """Return the mask after every two frames became one."""
    return None if mask is None else mask[:, ::2]


def doubled(mask: Tensor | None) -> Tensor | None:
    """Return the mask after every frame became two."""
    return None if mask is None else torch.repeat_interleave(mask, 2, dim=1)


def held(x: Tensor, length: Tensor | None, frames: int) -> Tensor:
    """Cut or lengthen [B, C, L] to `frames` frames; what lies beyond the `length` of a row repeats its last frame."""
    if length is None or bool((length >= x.shape[-1]).all()):
        lacking = frames - x.shape[-1]
        return functional.pad(x, (0, lacking), mode="replicate") if lacking else x
    place = torch.arange(frames, device=x.device).minimum(length.clamp_min(1)[:, None] - 1)
    return x.gather(-1, place[:, None].expand(-1, x.shape[1], -1))
