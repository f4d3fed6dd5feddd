"""A notice board between the workers of a run and its driver."""

import asyncio
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from t2a.errors import T2AError


class Notice(NamedTuple):
    """The newest news of a run: how far it is, and why it ended if it will not go on."""

    step: int
    metrics: dict[str, float]
    failure: T2AError | None


class Board:
    """Holds one notice, and whether the run should end; the actor that `hang` starts."""

    def __init__(self, step: int):
        self.notice = Notice(step, {}, None)
        self.over = asyncio.Event()

    async def tell(self, step: int, metrics: dict[str, float]) -> None:
        self.notice = self.notice._replace(step=step, metrics=metrics)

    async def fail(self, error: T2AError) -> None:
        self.notice = self.notice._replace(failure=error)

    async def read(self) -> Notice:
        return self.notice

    async def end(self) -> None:
        """Ask the workers to save a checkpoint and leave."""
        self.over.set()

    async def asked(self) -> None:
        """Answer as soon as the run should end."""
        await self.over.wait()


def hang(name: str, step: int) -> Any:
    """Start a board beside the driver, where the loss of another machine does not take it away."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # Should its process be killed, another one answers: else the workers would take the silence for a request to end.
    lasting = {"max_restarts": -1, "max_task_retries": -1}
    return ray.remote(num_cpus=0)(Board).options(name=name, scheduling_strategy=here, **lasting).remote(step)
