"""Run a function on several gloo processes and collect what it returns on each rank."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing


def on_ranks(count: int, function: Callable[..., Any], folder: Path, *args: Any) -> list[Any]:
    """Call function(*args) in new processes that form a gloo group; an exception in one of them is raised here."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    multiprocessing.spawn(_main, (function, folder, count, port, args), nprocs=count)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(count)]


def _main(rank: int, function: Callable[..., Any], folder: Path, count: int, port: int, args: tuple[Any, ...]) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    torch.save(function(*args), folder / f"{rank}.pt")
    distributed.destroy_process_group()
