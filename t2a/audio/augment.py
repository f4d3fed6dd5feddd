"""Lay one wave over another for training (AudioGen, section 3.3). Waves are [C, T] float32; numpy only."""

from __future__ import annotations

import math

import numpy as np

from t2a.audio.transform import peak, rms

PEAK = 0.99  # the loudest sample of a mixture; what would be louder is turned down as a whole


def mix(first: np.ndarray, second: np.ndarray, snr_db: float, offset: int) -> np.ndarray:
    """Add `second` from sample `offset` of `first` on, so that where both sound `first` is `snr_db` the louder.

    The loudness is set first: `second` gets the rms of `first` over their overlap, then `snr_db` less. The result
    [C, T] lasts until the later of the two ends, at the level of `first` unless its peak would exceed 0.99.
    Raises ValueError when one of them is silent in the overlap, or there is none.
    """
    ours, theirs = (rms(part) for part in overlap(first, second, offset))
    if not (ours and theirs):
        raise ValueError(f"nothing to set the loudness by: the rms over the overlap is {ours:g} and {theirs:g}")
    mixture = np.zeros((first.shape[0], max(first.shape[1], offset + second.shape[1])), np.float32)
    mixture[:, : first.shape[1]] = first
    mixture[:, offset : offset + second.shape[1]] += np.float32(ours / theirs * 10 ** (-snr_db / 20)) * second
    return mixture / np.float32(max(1.0, peak(mixture) / PEAK))


def overlap(first: np.ndarray, second: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the parts of both that sound together when `second` begins at sample `offset` of `first`."""
    ours = first[:, offset : offset + second.shape[1]]
    return ours, second[:, : ours.shape[1]]


def latest_offset(first: int, second: int, share: float) -> int:
    """Give the last sample of a wave of `first` samples where one of `second` may begin.

    They overlap by at least `share` of the shorter one.
    """
    return first - math.ceil(share * min(first, second))
