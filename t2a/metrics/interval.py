"""How sure a mean is."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Interval(NamedTuple):
    """A mean and the range that holds it with the asked probability."""

    mean: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"


def bootstrap(
    values: ArrayLike, level: float = 0.95, rounds: int = 2000, seed: int = 0, groups: Sequence[Hashable] | None = None
) -> Interval:
    """Return the mean of values [N] and its percentile bootstrap interval (Efron, 1979).

    Values of one of the `groups` [N], such as those of one clip, are not independent: they are drawn together. One
    value, or group, has no spread: its interval is infinite. Raises `ValueError` without any value.
    """
    values = np.asarray(values, dtype=np.float64).reshape(-1)
    if not len(values):
        raise ValueError("a mean of no values is asked for.")
    groups = range(len(values)) if groups is None else groups
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    of = np.array([numbers[group] for group in groups])
    sums, counts = np.bincount(of, values), np.bincount(of)
    if len(sums) == 1:
        return Interval(float(values.mean()), -np.inf, np.inf, len(values))
    draw = np.random.default_rng(seed)
    drawn = (draw.integers(len(sums), size=len(sums)) for _ in range(rounds))
    means = np.array([sums[chosen].sum() / counts[chosen].sum() for chosen in drawn])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high), len(values))
