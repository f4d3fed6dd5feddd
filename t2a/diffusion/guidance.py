"""Classifier-free guidance: push a prediction away from what the network says when it is told nothing."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from t2a.diffusion.process import Network
from t2a.nn.frames import real_frames


class Guidance(NamedTuple):
    """null + gamma (told - null) (Ho and Salimans, 2022).

    rescale: how far the guided prediction is brought back to the spread of the told one (Lin et al., 2023, eq. 15-16).
    """

    gamma: float = 3.0
    rescale: float = 0.0

    @property
    def told(self) -> tuple[bool, ...]:
        """Which passes a step needs, True with the conditions and False without: one where one alone counts."""
        return _ALONE.get(self.gamma, (True, False))


_ALONE = {1.0: (True,), 0.0: (False,)}


def guided(network: Network, guidance: Guidance, length: Tensor) -> Network:
    """Make a network of B rows of one that computes all passes of a step in one batch.

    network takes len(guidance.told) * B rows: first B for the first of `told`, then B for the second. length [B].
    """
    passes = len(guidance.told)

    def predict(x: Tensor, t: Tensor) -> Tensor:
        found = network(x.repeat(passes, *(1,) * (x.ndim - 1)), t.repeat(passes)).float().chunk(passes)
        return combine(found, guidance, real_frames(length, x))

    return predict


def combine(found: Sequence[Tensor], guidance: Guidance, real: Tensor) -> Tensor:
    """Make one prediction of those of `guidance.told`, each [B, C, (F,) L]; real [B, 1, (1,) L]."""
    if len(found) == 1:
        return found[0]
    told, null = found
    mixed = null + guidance.gamma * (told - null)
    if not guidance.rescale:
        return mixed
    back = mixed * (_spread(told, real) / _spread(mixed, real).clamp(min=torch.finfo(mixed.dtype).tiny))
    return guidance.rescale * back + (1 - guidance.rescale) * mixed


def _spread(x: Tensor, real: Tensor) -> Tensor:
    """Standard deviation of each row over its real frames, [B, 1, (1,) 1]."""
    dims = tuple(range(1, x.ndim))
    count = (real.sum(dims, keepdim=True) * x[0, ..., 0].numel()).clamp(min=2)
    mean = x.masked_fill(~real, 0.0).sum(dims, keepdim=True) / count
    return (((x - mean).masked_fill(~real, 0.0) ** 2).sum(dims, keepdim=True) / (count - 1)).sqrt()
