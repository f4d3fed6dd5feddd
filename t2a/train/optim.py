"""Learning-rate schedules as functions of the step, and the parameter groups of AdamW."""

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from t2a.config import Config


class Constant(Config):
    """The full rate, after a linear warm-up."""

    kind: Literal["constant"] = "constant"
    warmup: int = Field(0, ge=0)


class Cosine(Config):
    """Half a cosine from the full rate down to `floor` times it after the last step."""

    kind: Literal["cosine"] = "cosine"
    warmup: int = Field(0, ge=0)
    floor: float = Field(0.0, ge=0, le=1)


class InverseSqrt(Config):
    """The full rate at the end of the warm-up, then falling with the square root of the step (AudioGen)."""

    kind: Literal["inverse_sqrt"] = "inverse_sqrt"
    warmup: int = Field(3000, ge=1)


Schedule = Annotated[Constant | Cosine | InverseSqrt, Field(discriminator="kind")]


class OptimConfig(Config):
    """AdamW for one network. Biases, norms and embeddings are not decayed unless `decay_all`."""

    lr: float = Field(3e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    decay_all: bool = False
    schedule: Schedule = Constant()


def lr_at(config: OptimConfig, step: int, steps: int) -> float:
    """Return the learning rate of the `step`-th of `steps` steps, counted from 0."""
    schedule = config.schedule
    if step < schedule.warmup:
        return config.lr * (step + 1) / schedule.warmup
    if isinstance(schedule, Constant):
        return config.lr
    if isinstance(schedule, InverseSqrt):
        return config.lr * math.sqrt(schedule.warmup / (step + 1))
    done = (step - schedule.warmup) / max(1, steps - schedule.warmup)
    return config.lr * (schedule.floor + (1 - schedule.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def adamw(config: OptimConfig, module: nn.Module) -> torch.optim.AdamW:
    """Make the optimizer of the module's trainable parameters.

    Fused, it goes through memory once: on a CPU a step of a codec and its critic takes a tenth of the time.
    """
    return torch.optim.AdamW(
        groups(config, module),
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )


def groups(config: OptimConfig, module: nn.Module) -> list[dict[str, Any]]:
    """Split the trainable parameters into those with and those without weight decay; empty groups are left out."""
    tables = {id(p) for m in module.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag) for p in m.parameters()}
    decayed, free = [], []
    for parameter in module.parameters():
        if parameter.requires_grad:
            spared = not config.decay_all and (parameter.ndim < 2 or id(parameter) in tables)
            (free if spared else decayed).append(parameter)
    split = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": free, "weight_decay": config.weight_decay if config.decay_all else 0.0},
    ]
    return [group for group in split if group["params"]]
