"""Seeded noise, each row its own: what is drawn for a row depends on its seed and length alone, on every device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from t2a.nn.seeding import seeded


class Noise:
    """Draws noise [B, C, (F,) L] again and again: row by row, on the CPU; zeros past a row's length.

    shape: of one frame, (C,) or (C, F). frames: L, where rows are filled up further than the longest.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        lengths: Sequence[int],
        frames: int | None = None,
        device: torch.device | str = "cpu",
    ):
        self.generators = [seeded(seed) for seed in seeds]
        self.shape, self.lengths, self.device = tuple(shape), tuple(lengths), device
        self.frames = max(self.lengths) if frames is None else frames

    def __call__(self) -> Tensor:
        """Draw the next noise, float32."""
        drawn = torch.zeros(len(self.generators), *self.shape, self.frames)
        for row, generator, length in zip(drawn, self.generators, self.lengths, strict=True):
            row[..., :length] = torch.randn(*self.shape, length, generator=generator)
        return drawn.to(self.device)
