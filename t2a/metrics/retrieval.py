"""How often what is right stands among the first of a ranking."""

import numpy as np
from numpy.typing import NDArray


def recall(scores: NDArray[np.floating], relevant: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """Tell for each query whether one of the right candidates is among its `k` best, [N] of 0 and 1.

    scores, relevant: [N, M], N queries by M candidates. Ties count against the query, and so do scores that are NaN.
    """
    best = np.where(relevant, scores, -np.inf).max(1, keepdims=True)
    before = (~(scores < best) & ~relevant).sum(1)
    return (before < k).astype(np.float64)


def chance(relevant: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """Return the probability [N] that a random order puts a right candidate among the first `k`."""
    total, right = relevant.shape[1], relevant.sum(1)
    missed = np.ones(len(relevant))
    for drawn in range(min(k, total)):
        missed *= np.clip(total - right - drawn, 0, None) / (total - drawn)
    return 1 - missed


def percentile(scores: NDArray[np.floating], relevant: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of wrong candidates [N] that score below a query's best right one: 1 is best, 0.5 is chance."""
    best = np.where(relevant, scores, -np.inf).max(1, keepdims=True)
    wrong = ~relevant
    below = ((scores < best) & wrong).sum(1) + 0.5 * ((scores == best) & wrong).sum(1)
    return below / np.maximum(wrong.sum(1), 1)
