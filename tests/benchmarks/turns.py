"""Works that take turns in one run, since the speed of a machine drifts and others use it too."""

import statistics
import time
from collections.abc import Callable

import torch

Work = Callable[[], object]
ROUNDS = 3


def seconds(work: Work) -> float:
    """CPU-seconds on one thread, which others on the machine do not lengthen much; on several, by the clock."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    begin = clock()
    work()
    return clock() - begin


def in_turns(works: dict[str, Work], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of each; the first round warms up."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            took = seconds(work)
            if turn:
                spent[name].append(took)
    return spent


def ratios(spent: dict[str, list[float]], peer: str) -> dict[str, float]:
    """How many times as quick as a peer, the median over rounds."""
    return {
        name: statistics.median(p / own for own, p in zip(took, spent[peer], strict=True))
        for name, took in spent.items()
        if name != peer
    }
