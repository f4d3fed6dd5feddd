"""Editing: sampling that sets out from a given latent, and that keeps parts of it."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from t2a.diffusion.process import Denoised, Network, Process
from t2a.diffusion.samplers import Draw, check
from t2a.diffusion.schedule import Level, Spacing
from t2a.errors import ConfigError


def resample(
    name: str,
    process: Process,
    network: Network,
    noise: Draw,
    latent: Tensor,
    *,
    steps: int,
    strength: float = 1.0,
    keep: Tensor | None = None,
    spacing: Spacing = "trailing",
    **options: Any,
) -> Iterator[Tensor]:
    """Bring a latent [B, C, (F,) L] a share `strength` of the way to noise and sample from there (SDEdit, Meng et al.).

    Yields x after each of the steps that are left, see `steps_of`. A strength of 1 leaves nothing of the latent
    but what is to `keep`, bool [B, 1, (1,) L]: there the sampler foresees the latent itself, so it ends as it was.
    Raises `ConfigError` at once.
    """
    sampler = check(name, process, steps, **options)
    if not 0 < strength <= 1:
        raise ConfigError(f"strength is {strength}; it must be above 0, and at most 1.")
    levels = process.schedule.levels(steps, spacing)[-1 - steps_of(steps, strength) :]
    x, denoised = noise(), process.denoised(network)
    if strength < 1:
        x = process.noised(latent, levels[0], x)
    return sampler.run(denoised if keep is None else _keeping(denoised, latent, keep), x, levels, noise, **options)


def steps_of(steps: int, strength: float) -> int:
    """Count the steps that are left of all, one at least, when sampling sets out from a share `strength` of the way."""
    return max(1, round(strength * steps))


def _keeping(denoised: Denoised, latent: Tensor, keep: Tensor) -> Denoised:
    def clean(x: Tensor, level: Level) -> Tensor:
        return torch.where(keep, latent, denoised(x, level))

    return clean
