"""Run a function on several gloo processes and collect what it returns on each rank."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing


def on_ranks(count: int, function: Callable[..., Any], folder: Path, *args: Any) -> list[Any]:
    """Call function(*args) in new processes that form a gloo group; an exception in one of them is raised here."""
    folder.mkdir(parents=True, exist_ok=True)
    meeting = folder / f"meeting-{uuid.uuid4().hex}"  # a file, not a port that somebody else may take meanwhile
    multiprocessing.spawn(_main, (function, folder, count, meeting, args), nprocs=count)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(count)]


def _main(
    rank: int, function: Callable[..., Any], folder: Path, count: int, meeting: Path, args: tuple[Any, ...]
) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count))
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count)
    torch.save(function(*args), folder / f"{rank}.pt")
    distributed.destroy_process_group()
