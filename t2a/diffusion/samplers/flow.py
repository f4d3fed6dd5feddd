"""Solvers for rectified flow: Euler, and Heun's of second order."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor

from t2a.diffusion.process import Denoised
from t2a.diffusion.samplers.draws import Draw
from t2a.diffusion.schedule import Level


def euler(denoised: Denoised, x: Tensor, levels: Sequence[Level], noise: Draw) -> Iterator[Tensor]:
    """Yield x after each step; nothing is drawn."""
    for now, then in pairwise(levels):
        x = x + (then.t - now.t) * _velocity(denoised, x, now)
        yield x


def heun(denoised: Denoised, x: Tensor, levels: Sequence[Level], noise: Draw) -> Iterator[Tensor]:
    """Yield x after each step; nothing is drawn. Every step but the last asks the network twice."""
    for now, then in pairwise(levels):
        here = _velocity(denoised, x, now)
        there = _velocity(denoised, x + (then.t - now.t) * here, then) if then.sigma else here
        x = x + (then.t - now.t) * (here + there) / 2
        yield x


def _velocity(denoised: Denoised, x: Tensor, level: Level) -> Tensor:
    """noise - x_0, of x = (1 - t) x_0 + t noise."""
    return (x - denoised(x, level)) / level.t
