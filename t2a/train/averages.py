"""Means of scalars over steps and ranks, kept on the device until they are asked for."""

from torch import Tensor

from t2a.train.ranks import Ranks


class Averages:
    """Sums what is added under a name; `collect` gives the means over everything all ranks have added."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor | float, int]] = {}

    def add(self, name: str, value: Tensor | float) -> None:
        """Add a scalar; a tensor stays on its device."""
        total, count = self._sums.get(name, (0.0, 0))
        self._sums[name] = (total + value, count + 1)

    def collect(self, ranks: Ranks) -> dict[str, float]:
        """Return the means and start anew (collective). Ranks may have added different names."""
        mine = {name: (float(total), count) for name, (total, count) in self._sums.items()}
        self._sums = {}
        gathered = ranks.gather(mine)
        names = dict.fromkeys(name for sums in gathered for name in sums)
        means = {}
        for name in names:
            sums = [part[name] for part in gathered if name in part]
            means[name] = sum(total for total, _ in sums) / sum(count for _, count in sums)
        return means
