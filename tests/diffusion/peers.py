"""Diffusers' schedulers, driven step by step on a predictor that never changes."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from t2a.audio import torchaudio_backend  # noqa: F401  diffusers must find it first

Predictor = Callable[[Tensor, Tensor], Tensor]
"""x [B, ...], t [B] -> prediction"""


def a_predictor(seed: int = 0, channels: int = 4) -> Predictor:
    """A random, smooth function of x and t of about the size of x."""
    weight = torch.randn(channels, channels, generator=torch.Generator().manual_seed(seed)) / channels**0.5

    def predict(x: Tensor, t: Tensor) -> Tensor:
        angle = t.view(-1, *(1,) * (x.ndim - 1)) / 300
        return torch.einsum("dc,bc...->bd...", weight, torch.tanh(x + angle.cos())) + 0.3 * x * angle.sin()

    return predict


def trajectory(scheduler, predict: Predictor, x: Tensor, generator: torch.Generator | None = None) -> Iterator[Tensor]:
    """Yield x after each of the scheduler's steps; noise comes from the generator."""
    drawn = {} if generator is None else {"generator": generator}
    for t in scheduler.timesteps:
        x = scheduler.step(predict(x, t.float().expand(len(x))), t, x, **drawn).prev_sample
        yield x


class Replay:
    """Noise as a scheduler draws it from a generator."""

    def __init__(self, x: Tensor, generator: torch.Generator):
        self.shape, self.generator = x.shape, generator

    def __call__(self) -> Tensor:
        return torch.randn(self.shape, generator=self.generator)
