"""Two small tasks and their rows: a network with a critic, and a network alone."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from t2a.config import Config
from t2a.data.rows import CodesConfig
from t2a.nn.lora import LoraConfig, adapt
from t2a.tasks.task import frozen, raw
from t2a.train.optim import OptimConfig
from t2a.train.protocol import EngineConfig
from t2a.train.run import CheckpointConfig, Run

ROWS = 8  # of a global batch


class Autoencoder(nn.Module):
    """Sizes that two ranks do not divide evenly, a frozen parameter and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(7, 3), nn.Linear(3, 7)
        self.gain = nn.Parameter(torch.ones(1), requires_grad=False)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
        return self.up(torch.tanh(self.down(x))) * self.gain


class Toy:
    """A generator and, unless `alone`, its critic with hinge losses.

    In the generator's turn the critic is "live" (trainable), or frozen and called as a "raw" module, or frozen and
    called as `frozen` has it ("yielded"). The loss is NaN for the rows named in `poison`; `noise` is added to what the
    generator sees. `adapted`: of the generator only low-rank changes are trained.
    """

    def __init__(
        self,
        alone: bool = False,
        critic: str = "raw",
        poison: tuple[str, ...] = (),
        noise: float = 0.0,
        adapted: bool = False,
    ):
        self.alone, self.critic, self.poison, self.noise, self.adapted = alone, critic, poison, noise, adapted

    def networks(self) -> dict[str, nn.Module]:
        nets: dict[str, nn.Module] = {"codec": Autoencoder()}
        if self.adapted:
            adapt(nets["codec"], LoraConfig(rank=2, targets=("down", "up")))
        if not self.alone:
            nets["critic"] = nn.Sequential(nn.Linear(7, 11), nn.LeakyReLU(0.2), nn.Linear(11, 1))
        return nets

    def losses(self, nets: dict[str, Any], batch: dict, step: int) -> Iterator[tuple[str, Tensor, dict]]:
        x = inputs(batch)
        made = nets["codec"](x + self.noise * torch.randn_like(x))
        adversarial = torch.zeros(())
        if not self.alone:
            real, fake = nets["critic"](torch.cat([x, made.detach()])).chunk(2)
            loss = torch.relu(1 - real).mean() + torch.relu(1 + fake).mean()
            yield "critic", loss, {"loss/critic": loss.detach()}
            if self.critic == "live":
                adversarial = torch.relu(1 - raw(nets["critic"])(made)).mean()
            else:
                with frozen(nets["critic"]) as yielded:
                    critic = yielded if self.critic == "yielded" else raw(nets["critic"])
                    adversarial = torch.relu(1 - critic(made)).mean()
        distance = (made - x).square().mean()
        if set(self.poison) & set(batch["ids"]):
            distance = distance * float("nan")
        logs = {"loss/distance": distance.detach(), "loss/adversarial": adversarial.detach()}
        yield "codec", distance + 0.5 * adversarial, logs

    def evaluate(self, nets: dict[str, Any], batch: dict) -> dict[str, Tensor]:
        x = inputs(batch)
        noisy = x + self.noise * torch.randn_like(x)
        return {
            "distance": (nets["codec"](noisy) - x).square().mean(1),
            "training": torch.ones(len(x)) * training(nets),
        }

    def samples(self, nets: dict[str, Any], batch: dict) -> dict[str, tuple[Tensor, int]]:
        return {"first": (nets["codec"](inputs(batch))[:1], 16000)}

    def export(self, weights: dict[str, dict[str, Tensor]], folder: Path) -> None:
        save_file(weights["codec"], folder / "model.safetensors")


def training(nets: dict[str, Any]) -> float:
    return float(any(raw(net).training for net in nets.values()))


class ToyConfig(Config):
    kind: Literal["toy"] = "toy"
    alone: bool = False
    poison: tuple[str, ...] = ()
    noise: float = 0.0
    adapted: bool = False

    @property
    def networks(self) -> tuple[str, ...]:
        return ("codec",) if self.alone else ("codec", "critic")

    def build(self) -> Toy:
        return Toy(self.alone, poison=self.poison, noise=self.noise, adapted=self.adapted)


class ToyRun(Run):
    task: ToyConfig


def toy_run(out: Path | str, **changes: Any) -> ToyRun:
    """A run of 6 steps that saves every 2."""
    task = changes.get("task", ToyConfig())
    settings: dict[str, Any] = {
        "name": "toy",
        "task": task,
        "out": str(out),
        "steps": 6,
        "batch_size": ROWS,
        "data": CodesConfig(uri="nowhere", codebooks=1, crop_frames=7),
        "optim": {name: OptimConfig(lr=0.01, eps=1e-4, weight_decay=0.5) for name in task.networks},
        "engine": EngineConfig(kind="plain", ema=0.8),
        "checkpoint": CheckpointConfig(every=2, keep=2),
        "eval": None,
        "log_every": 2,
    }
    return ToyRun(**(settings | changes))


def inputs(batch: dict) -> Tensor:
    """[B, 7] in [-1, 1)."""
    return batch["codes"][:, 0].float() / 32768 - 1


def codes(step: int) -> np.ndarray:
    return np.random.default_rng(step).integers(0, 65536, (ROWS, 1, 7), np.uint16)


def batch(step: int) -> dict:
    """The global batch of a step."""
    return {"codes": torch.from_numpy(codes(step).astype(np.int64)), "ids": [f"{step}-{i}" for i in range(ROWS)]}


def blocks(rank: int, world: int, first: int = 0, last: int | None = None) -> Iterator[dict[str, np.ndarray]]:
    """A rank's part of the stream whose visits are the global batches, in the columns of `t2a.data.pipeline`."""
    share = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    for visit in itertools.count(first) if last is None else range(first, last):
        columns = {
            "visit": np.full(ROWS, visit),
            "place": np.arange(ROWS),
            "rows": np.full(ROWS, ROWS),
            "epoch": np.zeros(ROWS, np.int64),
            "plan": np.full(ROWS, 77),
            "id": np.array([f"{visit}-{i}" for i in range(ROWS)]),
            "reason": np.array([""] * ROWS),
            "caption": np.array(["a sound"] * ROWS),
            "said": np.array(['["a sound"]'] * ROWS),
            "length": np.full(ROWS, 7),
            "codes": codes(visit),
        }
        yield {name: column[share] for name, column in columns.items()}


def part(batch: dict, rank: int, world: int) -> dict:
    """A rank's share of a global batch."""
    size = len(batch["ids"]) // world
    return {key: value[rank * size : (rank + 1) * size] for key, value in batch.items()}


class Recorder:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.seen: dict[int, dict[str, float]] = {}
        self.heard: list[tuple[int, str, tuple[int, ...], int]] = []

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self.seen.setdefault(step, {}).update(values)

    def audio(self, step: int, name: str, wave: Tensor, rate: int) -> None:
        self.heard.append((step, name, tuple(wave.shape), rate))
