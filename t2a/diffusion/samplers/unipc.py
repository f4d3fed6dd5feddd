"""UniPC: a predictor and a corrector of any order that share their evaluations (Zhao et al., 2023; B2(h), x_0)."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from t2a.diffusion.process import Denoised
from t2a.diffusion.samplers.draws import Draw
from t2a.diffusion.schedule import Level


class Seen(NamedTuple):
    """A level at which the network was asked, and the clean latent that it foresaw."""

    level: Level
    x0: Tensor


def unipc(denoised: Denoised, x: Tensor, levels: Sequence[Level], noise: Draw, *, order: int = 2) -> Iterator[Tensor]:
    """Yield x after each step; nothing is drawn, and every step asks the network once.

    Each step is corrected, before the next one, by what the network says where it led.
    """
    seen: list[Seen] = []  # newest first
    start = x
    for step, (now, then) in enumerate(pairwise(levels)):
        x0 = denoised(x, now)
        if seen:
            x = _move(start, seen, now, x0)
        reach = min(order, step + 1, len(levels) - 1 - step)
        seen = [Seen(now, x0), *seen][:reach]
        start, x = x, _move(x, seen, then, None)
        yield x


def _move(x: Tensor, seen: Sequence[Seen], then: Level, there: Tensor | None) -> Tensor:
    """Go from x at the newest level seen to another, along all that was seen and what was foreseen `there`, if it was.

    Equations 3 and 9 of the paper, in terms of half the log-SNR.
    """
    (now, x0), *older = seen
    h = then.log_snr - now.log_snr
    gone = -math.expm1(-h)
    places = [(old.level.log_snr - now.log_snr) / h for old in older]
    slopes = [(old.x0 - x0) / place for old, place in zip(older, places, strict=True)]
    if there is not None:
        places, slopes = [*places, 1.0], [*slopes, there - x0]
    bend = sum((weight * slope for weight, slope in zip(_weights(places, h), slopes, strict=True)), torch.zeros_like(x))
    return then.sigma / now.sigma * x + then.alpha * gone * (x0 + bend)


def _weights(places: Sequence[float], h: float) -> list[float]:
    """Weigh the slopes so that polynomials up to their number are integrated exactly; one slope alone weighs a half."""
    if len(places) < 2:
        return [0.5] * len(places)
    rest, moments = math.expm1(-h) / -h - 1, []
    for k in range(1, len(places) + 1):
        moments.append(rest * math.factorial(k) / math.expm1(-h))
        rest = rest / -h - 1 / math.factorial(k + 1)
    powers = torch.tensor([[place**k for place in places] for k in range(len(places))], dtype=torch.float64)
    return torch.linalg.solve(powers, torch.tensor(moments, dtype=torch.float64)).tolist()
