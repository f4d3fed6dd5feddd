"""The processes that train together, seen from one of them."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import distributed

from t2a.errors import T2AError

T = TypeVar("T")


class Ranks:
    """Rank, size and the few collectives of a run; alone when `torch.distributed` is not initialised."""

    def __init__(self) -> None:
        self.together = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if self.together else 0
        self.size = distributed.get_world_size() if self.together else 1
        self.local_rank = int(os.environ.get("LOCAL_RANK", "0")) if self.together else 0
        cuda = torch.cuda.is_available()
        self.device = torch.device("cuda", self.local_rank) if cuda else torch.device("cpu")

    @property
    def first(self) -> bool:
        """Whether this is the process that writes what is written once."""
        return self.rank == 0

    def highest(self, values: list[int]) -> list[int]:
        """Return the elementwise maximum over the ranks."""
        if not self.together:
            return [int(value) for value in values]
        tensor = torch.tensor(values, dtype=torch.int64, device=self.device)
        distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX)
        return tensor.tolist()

    def gather(self, value: T) -> list[T]:
        """Return every rank's value, in the order of the ranks."""
        if not self.together:
            return [value]
        gathered: list[Any] = [None] * self.size
        distributed.all_gather_object(gathered, value)
        return gathered

    def settle(self, trouble: Exception | None) -> None:
        """Raise one rank's trouble on all of them, so that none waits for another that has left."""
        told = self.gather(trouble if isinstance(trouble, T2AError) else trouble and repr(trouble))
        if trouble is not None and not isinstance(trouble, T2AError):
            raise trouble
        for rank, what in enumerate(told):
            if what:
                raise what if isinstance(what, T2AError) else RuntimeError(f"Rank {rank} failed: {what}")

    def each(self, work: Callable[[], T], who: bool = True) -> T | None:
        """Do `work` on the ranks with `who` while the others wait; what fails on one is raised on all."""
        made, trouble = None, None
        if who:
            try:
                made = work()
            except Exception as error:
                trouble = error
        self.settle(trouble)
        return made

    def decide(self, work: Callable[[], T]) -> T:
        """Do `work` on the first rank and return what it gave on all of them."""
        return self.gather(self.each(work, self.first))[0]  # type: ignore[return-value]
