"""Sums over the processes of a training run; without `torch.distributed` every function is the identity."""

import torch
from torch import Tensor, distributed


def world() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Return this process's place among them."""
    return distributed.get_rank() if world() > 1 else 0


def total(value: Tensor) -> Tensor:
    """Return the sum of `value` over the processes (a new tensor, no gradient)."""
    if world() == 1:
        return value.detach()
    value = value.detach().clone()
    distributed.all_reduce(value)
    return value


def mean(value: Tensor) -> Tensor:
    """Return the mean of `value` over the processes (no gradient)."""
    return total(value) / world()


def pick(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` rows [count, D] drawn from the `rows` [N, D] of all processes, the same on each of them.

    Without repetition as long as there are enough rows. `generator` must be in the same state everywhere; one process
    that holds all the rows then draws what several would. Nothing but the result travels.
    """
    sizes = torch.zeros(world(), dtype=torch.int64, device=rows.device)
    sizes[rank()] = len(rows)
    sizes = total(sizes)
    everything = int(sizes.sum())
    first = int(sizes[: rank()].sum())
    order = torch.cat([torch.randperm(everything, generator=generator) for _ in range(-(-count // everything))])
    index = order[:count].to(rows.device) - first
    mine = (index >= 0) & (index < len(rows))
    chosen = rows[index.clamp(0, len(rows) - 1)] * mine[:, None]
    return total(chosen)
