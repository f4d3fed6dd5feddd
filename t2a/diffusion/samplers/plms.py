"""Pseudo linear multistep sampling (Liu et al., 2022), as latent diffusion uses it: without Runge-Kutta steps."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from t2a.diffusion.process import Denoised
from t2a.diffusion.samplers.draws import Draw
from t2a.diffusion.schedule import Level

ADAMS_BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
"""weights of the newest, second newest, ... prediction of the noise, by how many there are"""


def plms(denoised: Denoised, x: Tensor, levels: Sequence[Level], noise: Draw) -> Iterator[Tensor]:
    """Yield x after each step; nothing is drawn. The first step asks the network twice."""
    found: list[Tensor] = []
    for now, then in pairwise(levels):
        x0 = denoised(x, now)
        if not now.alpha:  # in pure noise the noise says nothing of the latent: a step of DDIM
            x = then.alpha * x0 + then.sigma / now.sigma * x
            yield x
            continue
        found = [_eps(x, x0, now), *found[:3]]
        weights = ADAMS_BASHFORTH[len(found) - 1]
        eps = torch.stack([weight * old for weight, old in zip(weights, found, strict=True)]).sum(0)
        if len(found) == 1 and then.sigma:  # improved Euler: again from the same x, with the noise at both ends
            ahead = _move(x, eps, now, then)
            eps = (eps + _eps(ahead, denoised(ahead, then), then)) / 2
        x = _move(x, eps, now, then)
        yield x


def _eps(x: Tensor, x0: Tensor, level: Level) -> Tensor:
    return (x - level.alpha * x0) / level.sigma


def _move(x: Tensor, eps: Tensor, now: Level, then: Level) -> Tensor:
    """The step of DDIM with eta 0."""
    kept = then.alpha / now.alpha
    return kept * x + (then.sigma - kept * now.sigma) * eps
