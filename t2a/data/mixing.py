"""Which rows are mixed, with whom and how: all of it drawn from (seed, visit, place). numpy only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydantic import Field, model_validator

from t2a.audio.augment import latest_offset, mix, overlap
from t2a.audio.transform import rms
from t2a.config import Config

QUIET = 1e-3  # -60 dB: what is quieter over the overlap is not mixed, its noise would be brought up
STREAM = 0x6D6978  # keeps these draws apart from others of the same seed and visit


class MixConfig(Config):
    """Mix a share of the rows with another row (AudioGen, section 3.3); see `t2a.audio.augment.mix`.

    The partner comes from the same reading window and begins at a random place; captions are joined
    (`t2a.data.captions.join`).
    """

    probability: float = Field(0.5, ge=0, le=1, description="share of the rows that get a partner")
    snr_db: tuple[float, float] = Field((-5.0, 5.0), description="range of the row's level above its partner's")
    overlap: float = Field(0.5, gt=0, le=1, description="least share of the shorter clip that sounds together")

    @model_validator(mode="after")
    def _rises(self) -> MixConfig:
        if self.snr_db[0] > self.snr_db[1]:
            raise ValueError(f"snr_db {list(self.snr_db)} is no range: give the lower bound first")
        return self


class Draws(NamedTuple):
    """What chance has in store for one row, each from [0, 1)."""

    whether: float
    partner: float
    crop: float
    caption: float
    snr: float
    offset: float


def draw(seed: int, visit: int, place: int) -> Draws:
    """Draw for a row, whoever reads it and whatever was read before."""
    return Draws(*np.random.default_rng([seed, visit, place, STREAM]).random(len(Draws._fields)).tolist())


def partner(draws: Draws, own: int, count: int) -> int:
    """Pick any of `count` rows but the row's `own` number."""
    other = int(draws.partner * (count - 1))
    return other + (other >= own)


def lay(config: MixConfig, draws: Draws, first: np.ndarray, second: np.ndarray, length: int) -> np.ndarray | None:
    """Mix two waves float32 [C, at most `length`] into one, or give None when one of them is silent in the overlap."""
    offset = int(draws.offset * (latest_offset(first.shape[1], second.shape[1], config.overlap) + 1))
    second = second[:, : length - offset]
    if min(rms(part) for part in overlap(first, second, offset)) < QUIET:
        return None
    low, high = config.snr_db
    return mix(first, second, low + draws.snr * (high - low), offset)
