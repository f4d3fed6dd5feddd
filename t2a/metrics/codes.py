"""Statistics of codes: how much a guess that ignores all context would pay, and how much of the codebooks is used."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray


def count(codes: Iterable[ArrayLike], codebooks: int, bins: int) -> NDArray[np.int64]:
    """Count the codes of clips, each [K, L] integers, as [K, V]."""
    counts = np.zeros((codebooks, bins), np.int64)
    for clip in codes:
        for row, values in zip(counts, np.asarray(clip), strict=True):
            row += np.bincount(values, minlength=bins)
    return counts


def unigram_entropy(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Nats a code [K] of the counts [K, V]: what the best constant guess of these very codes pays.

    It has seen the codes that it is judged by, so it is a little harder to beat than a guess learned elsewhere.
    """
    shares = counts / counts.sum(1, keepdims=True)
    return -(shares * np.log(np.where(shares > 0, shares, 1))).sum(1)


def unigram_cross_entropy(learned: NDArray[np.int64], judged: NDArray[np.int64]) -> NDArray[np.float64]:
    """Nats a code [K] that the frequencies of `learned` [K, V] pay on `judged` [K, V]; unseen codes count as 1/2."""
    smoothed = learned + 0.5
    shares = smoothed / smoothed.sum(1, keepdims=True)
    return -(judged * np.log(shares)).sum(1) / judged.sum(1)


def perplexity(nats: ArrayLike) -> NDArray[np.float64]:
    """The number of equally likely codes with this entropy."""
    return np.exp(np.asarray(nats))


def usage(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each codebook [K] that occurs at all."""
    return (counts > 0).mean(1)
