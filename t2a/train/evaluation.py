"""Evaluate a task on held-out batches while it trains."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from t2a.tasks.task import Task
from t2a.train.protocol import Engine
from t2a.train.ranks import Ranks

Batch = dict[str, Any]


def evaluate(task: Task, engines: dict[str, Engine], batches: list[Batch], ranks: Ranks, seed: int) -> dict[str, float]:
    """Return `eval/<name>`, the weighted means over the rows of all ranks (collective).

    Every rank must have equally many batches: a network may be partitioned over the ranks.
    """
    sums: dict[str, float] = {}
    rows = 0.0
    with evaluating(engines, ranks, seed):
        for batch in batches:
            weight = batch["weight"].to(ranks.device)
            for name, values in task.evaluate(engines, batch).items():
                # A row that only fills up a batch may well give no number.
                values = torch.where(weight > 0, values.float() * weight, 0.0)
                sums[name] = sums.get(name, 0.0) + float(values.sum())
            rows += float(weight.sum())
    gathered = ranks.gather((sums, rows))
    total = sum(count for _, count in gathered)
    return {f"eval/{name}": sum(part[name] for part, _ in gathered) / total for name in sums}


@contextmanager
def evaluating(engines: dict[str, Engine], ranks: Ranks, seed: int) -> Iterator[None]:
    """Evaluation mode without gradients, with its own random numbers: training goes on as if nothing had happened."""
    devices = [ranks.device] if ranks.device.type == "cuda" else []
    for engine in engines.values():
        engine.train(False)
    try:
        with torch.random.fork_rng(devices), torch.no_grad():
            torch.manual_seed(seed)
            yield
    finally:
        for engine in engines.values():
            engine.train()
