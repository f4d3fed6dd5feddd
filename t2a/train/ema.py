"""Exponential moving average of the weights, in float32, under any partitioning of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from t2a.train.protocol import Engine


class Ema:
    """Follows an engine's float32 masters where they lie: each rank averages its own part, nothing is communicated.

    The decay grows to its full value, min(decay, (1 + t) / (10 + t)), so that short runs forget their random start.
    """

    def __init__(self, engine: Engine, decay: float):
        self.engine, self.decay = engine, decay
        self.average = [master.detach().clone() for master in engine.masters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the weights after the `step`-th step, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, self.engine.masters(), 1 - decay)

    def export(self) -> dict[str, Tensor]:
        """Gather the averaged weights of the whole network (collective): float32 on CPU, buffers as they are."""
        with self._in_place():
            return self.engine.full()

    @torch.no_grad()
    def restore(self, weights: dict[str, Tensor]) -> None:
        """Take the average from full float32 tensors, as `export` gave them, whatever the number of ranks was."""
        with self._in_place():
            self.engine.assign(weights)
            for average, master in zip(self.average, self.engine.masters(), strict=True):
                average.copy_(master)

    @contextmanager
    @torch.no_grad()
    def _in_place(self) -> Iterator[None]:
        """Put the average where the engine gathers from, and the trained weights back afterwards."""
        masters = self.engine.masters()
        trained = [master.detach().clone() for master in masters]
        torch._foreach_copy_(masters, self.average)
        try:
            yield
        finally:
            torch._foreach_copy_(masters, trained)
