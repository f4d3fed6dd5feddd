"""What the loop asks of an engine, and the settings all engines share."""

from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field, model_validator
from torch import Tensor, nn

from t2a.config import Config


class EngineConfig(Config):
    """How networks are stepped: `kind: plain` needs no DeepSpeed and one worker; `zero` only concerns DeepSpeed.

    precision: `fp32`; `autocast` computes calls of a network in bfloat16 over float32 weights; `bf16` keeps the weights
    in bfloat16 over float32 masters. Losses and the EMA are float32 in all three.
    ema: decay of the weights that are exported, 0 exports the trained weights themselves.
    """

    kind: Literal["deepspeed", "plain"] = "deepspeed"
    zero: Literal[0, 1, 2, 3] = 2
    precision: Literal["fp32", "autocast", "bf16"] = "fp32"
    clip: float | None = Field(1.0, gt=0)
    accumulate: int = Field(1, ge=1)
    ema: float = Field(0.999, ge=0, lt=1)

    @model_validator(mode="after")
    def _has_masters(self) -> "EngineConfig":
        if self.precision == "bf16" and (self.kind == "plain" or self.zero == 0):
            raise ValueError(
                "precision bf16 needs the float32 masters of DeepSpeed's zero 1, 2 or 3; use autocast instead"
            )
        return self


class Engine(Protocol):
    """One network with its optimizer. Every method is called by all ranks together."""

    module: nn.Module
    grad_norm: float | None  # of the last step, before clipping

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the network's forward."""

    def train(self, mode: bool = True) -> None:
        """Put the network into training (or evaluation) mode."""

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradients of a scalar loss, a mean over this rank's rows."""

    def step(self, lr: float) -> bool:
        """Descend, unless more micro-batches are to be accumulated first; True when the weights have moved."""

    def masters(self) -> list[Tensor]:
        """This rank's own float32 weights, to read and to overwrite in place."""

    def full(self) -> dict[str, Tensor]:
        """The state dict of the network, gathered from the masters: float32 on CPU, buffers as they are."""

    def assign(self, weights: dict[str, Tensor]) -> None:
        """Overwrite the masters (not the weights computed with) by full float32 tensors."""

    def fill(self, weights: dict[str, Tensor]) -> None:
        """Overwrite buffers and frozen weights by those of the full tensors that bear their names."""

    def save(self, folder: Path) -> None:
        """Write weights and optimizer state, each rank its own files."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""


def untrained(module: nn.Module) -> dict[str, Tensor]:
    """Give a module's frozen parameters and buffers by name."""
    return {name: p for name, p in module.named_parameters() if not p.requires_grad} | dict(module.named_buffers())
