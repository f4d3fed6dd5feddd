"""DPM-Solver++, two-step: the solver of the differential equation and of the stochastic one (Lu et al., 2022)."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor

from t2a.diffusion.process import Denoised
from t2a.diffusion.samplers.draws import Draw
from t2a.diffusion.schedule import Level


def dpmpp_2m(denoised: Denoised, x: Tensor, levels: Sequence[Level], noise: Draw) -> Iterator[Tensor]:
    """Yield x after each step (algorithm 2); nothing is drawn. The first and the last step are of first order."""
    before, old = None, None
    for now, then in pairwise(levels):
        x0 = denoised(x, now)
        decay = math.exp(now.log_snr - then.log_snr)
        x = then.sigma / now.sigma * x + then.alpha * (1 - decay) * _between(x0, old, before, now, then)
        before, old = now, x0
        yield x


def dpmpp_2m_sde(denoised: Denoised, x: Tensor, levels: Sequence[Level], noise: Draw) -> Iterator[Tensor]:
    """Yield x after each step of the stochastic equation: half of what it forgets is the past, half is drawn anew."""
    before, old = None, None
    for now, then in pairwise(levels):
        x0 = denoised(x, now)
        decay = math.exp(now.log_snr - then.log_snr)
        middle = _between(x0, old, before, now, then)
        x = then.sigma / now.sigma * decay * x + then.alpha * (1 - decay**2) * middle
        if then.sigma:
            x = x + then.sigma * (1 - decay**2) ** 0.5 * noise()
        before, old = now, x0
        yield x


def _between(x0: Tensor, old: Tensor | None, before: Level | None, now: Level, then: Level) -> Tensor:
    """Foresee the clean latent in the middle of a step from those at its start and at the start of the one before."""
    if old is None or before is None or not then.sigma:
        return x0
    reach = (then.log_snr - now.log_snr) / (now.log_snr - before.log_snr)
    return x0 + reach / 2 * (x0 - old)
