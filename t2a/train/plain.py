"""The engine for one process with nothing but torch: a machine without DeepSpeed, and the reference for those with."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from t2a.train.optim import OptimConfig, adamw
from t2a.train.precision import cast_forward
from t2a.train.protocol import EngineConfig, untrained


class PlainEngine:
    """A network and its AdamW on one device; see `t2a.train.protocol.Engine`."""

    def __init__(self, module: nn.Module, optim: OptimConfig, config: EngineConfig, device: torch.device):
        self.module = module.to(device)
        self.config = config
        self.optimizer = adamw(optim, module)
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.grad_norm: float | None = None
        self._waiting = 0  # micro-batches accumulated since the last step
        cast_forward(module, config.precision, device)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def train(self, mode: bool = True) -> None:
        self.module.train(mode)

    def backward(self, loss: Tensor) -> None:
        (loss / self.config.accumulate).backward()

    def step(self, lr: float) -> bool:
        self._waiting += 1
        if self._waiting < self.config.accumulate:
            return False
        self._waiting = 0
        limit = float("inf") if self.config.clip is None else self.config.clip
        self.grad_norm = float(nn.utils.clip_grad_norm_(self.parameters, limit))
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad()
        return True

    def masters(self) -> list[Tensor]:
        return [parameter.data for parameter in self.parameters]

    def full(self) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu().clone() for name, tensor in self.module.state_dict().items()}

    def assign(self, weights: dict[str, Tensor]) -> None:
        for name, parameter in self.module.named_parameters():
            if parameter.requires_grad:
                parameter.data.copy_(weights[name])

    def fill(self, weights: dict[str, Tensor]) -> None:
        for name, tensor in untrained(self.module).items():
            if name in weights:
                tensor.data.copy_(weights[name])

    def save(self, folder: Path) -> None:
        state = {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict()}
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(state, folder / "plain.pt")

    def load(self, folder: Path) -> None:
        state = torch.load(folder / "plain.pt", map_location="cpu", weights_only=True)
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
