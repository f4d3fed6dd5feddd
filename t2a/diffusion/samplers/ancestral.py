"""Ancestral sampling and its deterministic limit: DDPM (Ho et al., 2020) and DDIM (Song et al., 2021)."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor

from t2a.diffusion.process import Denoised
from t2a.diffusion.samplers.draws import Draw
from t2a.diffusion.schedule import Level


def ddpm(denoised: Denoised, x: Tensor, levels: Sequence[Level], noise: Draw) -> Iterator[Tensor]:
    """Draw each x_s from q(x_s | x_t, x_0) with the foreseen x_0."""
    return ddim(denoised, x, levels, noise, eta=1.0)


def ddim(denoised: Denoised, x: Tensor, levels: Sequence[Level], noise: Draw, *, eta: float = 0.0) -> Iterator[Tensor]:
    """Yield x after each step; eta 0 draws nothing, 1 is DDPM (eq. 12 and 16)."""
    for now, then in pairwise(levels):
        x0 = denoised(x, now)
        eps = (x - now.alpha * x0) / now.sigma
        fresh = eta * then.sigma / now.sigma * (1 - (now.alpha / then.alpha) ** 2) ** 0.5
        x = then.alpha * x0 + max(0.0, then.sigma**2 - fresh**2) ** 0.5 * eps
        if fresh:
            x = x + fresh * noise()
        yield x
