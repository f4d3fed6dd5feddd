"""Originals beside what a network makes of them: what is measured and what is listened to."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

FEW = 4  # rows that are listened to

Pair = tuple[Tensor, Tensor]
"""an original and what was made of it, [1, C, length] each"""


def pairs(wave: Tensor, made: Tensor, length: Tensor) -> list[Pair]:
    """Cut waves [B, C, T] into those of each row, as long as its clip: what fills a row up is not judged."""
    lengths = length.clamp_min(1).tolist()
    return [(wave[i : i + 1, :, :n], made[i : i + 1, :, :n]) for i, n in enumerate(lengths)]


def few(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Choose the rows of a batch of audio that are listened to."""
    return {name: batch[name][:FEW] for name in ("audio", "length")}


def listened(found: Sequence[Pair], made: str, rate: int) -> dict[str, tuple[Tensor, int]]:
    """Name what is listened to: of each pair the original and what was `made`, with their rate."""
    waves = {}
    for i, pair in enumerate(found):
        waves |= {f"{i}/{name}": (wave[0], rate) for name, wave in zip(("original", made), pair, strict=True)}
    return waves
