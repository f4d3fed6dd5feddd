"""Masks of what a model that fills gaps is shown: gaps in time, boxes, or nothing of a clip."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor

from t2a.config import Config

Share = Annotated[float, Field(ge=0, le=1)]


class MaskConfig(Config):
    """What is hidden of a training row (after Suvorov et al., 2022, with gaps in time for its strokes).

    gaps, boxes, all: shares of the rows of which stretches of time, boxes in time and frequency, or everything is
    hidden; together 1. Rows of which all is hidden teach the model to make a clip from nothing.
    """

    gaps: Share = 0.7
    boxes: Share = 0.0
    all: Share = 0.3
    count: tuple[Annotated[int, Field(ge=1)], int] = (1, 3)
    """gaps or boxes of a row, least and most"""
    size: tuple[Share, Share] = (0.05, 0.5)
    """of one, as a share of the row's frames and of a frame's bands, least and most"""

    @model_validator(mode="after")
    def _consistent(self) -> "MaskConfig":
        if abs(self.gaps + self.boxes + self.all - 1) > 1e-6:
            raise ValueError(f"gaps {self.gaps}, boxes {self.boxes} and all {self.all} must add up to 1")
        for name, (least, most) in (("count", self.count), ("size", self.size)):
            if least > most:
                raise ValueError(f"{name} is {least} to {most}: give the lower bound first")
        return self


def shown(
    config: MaskConfig, shape: Sequence[int], length: Tensor, generators: Sequence[torch.Generator | None]
) -> Tensor:
    """Draw what is shown of rows of `length` [B] frames, bool [B, 1, (F,) L] on the CPU: `shape` is (C, (F,) L).

    generators: of each row; None takes torch's global one. Past a row's length nothing is shown.
    """
    rows = [_row(config, shape[1:-1], frames, draw) for frames, draw in zip(length.tolist(), generators, strict=True)]
    masks = torch.zeros(len(rows), 1, *shape[1:], dtype=torch.bool)
    for mask, row in zip(masks, rows, strict=True):
        mask[0, ..., : row.shape[-1]] = row
    return masks


def beside(latent: Tensor, keep: Tensor) -> Tensor:
    """Make what such a model reads beside noise of latents [B, C, (F,) L]: what is kept of them and the mask itself.

    keep: bool [B, 1, (F or 1,) L]. Returns [B, C + 1, (F,) L].
    """
    keep = keep.expand_as(latent[:, :1])
    return torch.cat([latent.masked_fill(~keep, 0.0), keep.to(latent.dtype)], dim=1)


def _row(config: MaskConfig, bands: Sequence[int], frames: int, draw: torch.Generator | None) -> Tensor:
    """Draw one row's mask, bool [(F,) L]."""
    which, many = torch.rand(2, generator=draw).tolist()
    mask = torch.ones(*bands, frames, dtype=torch.bool)
    if which < config.all:
        return torch.zeros_like(mask)
    boxes = which < config.all + config.boxes
    least, most = config.count
    for _ in range(least + int(many * (most - least + 1))):
        across = [_stretch(config, size, draw) if boxes else slice(None) for size in bands]
        mask[(*across, _stretch(config, frames, draw))] = False
    return mask


def _stretch(config: MaskConfig, total: int, draw: torch.Generator | None) -> slice:
    """Draw a part of an axis, one step at least."""
    size, where = torch.rand(2, generator=draw).tolist()
    least, most = config.size
    steps = min(total, max(1, round((least + size * (most - least)) * total)))
    start = int(where * (total - steps + 1))
    return slice(start, start + steps)
