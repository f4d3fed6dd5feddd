"""What a codec refuses to listen to."""

import torch
from torch import Tensor


def check_shape(wave: Tensor, channels: int) -> None:
    """Raise `ValueError` for what is no batch of floating-point waves [B, `channels`, T] with at least one sample."""
    if wave.ndim != 3 or wave.shape[1] != channels:
        raise ValueError(
            f"the codec takes waves [B, {channels}, T], not {list(wave.shape)}; t2a.audio.transform.to_channels mixes."
        )
    if not wave.shape[-1]:
        raise ValueError("the codec takes waves of at least one sample, these are empty.")
    if not wave.is_floating_point():
        raise ValueError(f"the codec takes float samples in [-1, 1], not {wave.dtype}; divide integers by full scale.")


def check(wave: Tensor, channels: int) -> None:
    """Raise `ValueError` for a batch that `check_shape` refuses, and for NaN or infinite samples.

    One sample that is no number would spread over all that a codec remembers. Compiled code is not asked to look.
    """
    check_shape(wave, channels)
    if not torch.compiler.is_compiling() and not torch.isfinite(wave).all():
        raise ValueError("the codec takes finite samples, these hold NaN or infinity; export the sound again.")
