"""How far a log-mel spectrogram [B, M, L] is from the one it stands for, over its first `length` [B] frames: [B]."""

import torch
from torch import Tensor

from t2a.nn.frames import mask_of, masked


@torch.no_grad()
def spectrogram_distance(estimate: Tensor, target: Tensor, length: Tensor, decibels: float) -> Tensor:
    """Mean absolute difference in dB; `decibels` has a unit of the logarithm (`t2a.audio.spectral.MelSpec`)."""
    return decibels * _difference(estimate, target, length)


@torch.no_grad()
def detail(estimate: Tensor, target: Tensor, length: Tensor) -> Tensor:
    """How much the estimate changes from frame to frame for what the target does: a blurred one stays below 1.

    It is 1 where neither changes.
    """
    changes = [_difference(mel[..., 1:], mel[..., :-1], length - 1) for mel in (estimate, target)]
    return (changes[0] + 1e-3) / (changes[1] + 1e-3)


def _difference(a: Tensor, b: Tensor, length: Tensor) -> Tensor:
    mask = mask_of(length, a.shape[-1])
    return masked((a - b).float().abs(), mask).flatten(1).sum(1) / (a.shape[1] * length.clamp_min(1))
