"""How sure a mean is."""

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


def bootstrap(values: ArrayLike, level: float = 0.95, rounds: int = 2000, seed: int = 0) -> Interval:
    """Return the mean of values [N] and its percentile bootstrap interval (Efron, 1979).

    One value has no spread: its interval is infinite. Raises `ValueError` without any value.
    """
    values = np.asarray(values, dtype=np.float64).reshape(-1)
    if not len(values):
        raise ValueError("a mean of no values is asked for.")
    if len(values) == 1:
        return Interval(float(values[0]), -np.inf, np.inf, 1)
    draw = np.random.default_rng(seed)
    means = np.array([values[draw.integers(len(values), size=len(values))].mean() for _ in range(rounds)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high), len(values))
