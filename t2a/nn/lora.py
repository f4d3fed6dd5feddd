"""Low-rank adaptation (Hu et al., 2021): a frozen network with small trained changes of some of its linear layers."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from t2a.config import Config
from t2a.errors import ConfigError

DOWN, UP, SCALE = "lora_down", "lora_up", "lora_scale"


class LoraConfig(Config):
    """Which linear layers are adapted, and how much they can change.

    targets: ends of dotted layer names; by default all projections of the attention layers.
    """

    rank: int = Field(8, gt=0)
    alpha: float = Field(16.0, gt=0)  # the change is multiplied by alpha / rank
    targets: tuple[str, ...] = Field(("inward", "outward", "query", "key_value"), min_length=1)
    dropout: float = Field(0.0, ge=0, lt=1)  # of what the change sees


class LoraLinear(nn.Linear):
    """y = W x + b + alpha / rank * up(down(dropout(x))), W and b frozen under their old names; begins as W x + b."""

    def __init__(self, base: nn.Linear, config: LoraConfig):
        super().__init__(base.in_features, base.out_features, base.bias is not None, device="meta")
        self.weight, self.bias, self.dropout = base.weight, base.bias, config.dropout
        self.lora_down = nn.Parameter(self.weight.new_empty(config.rank, self.in_features))
        self.lora_up = nn.Parameter(self.weight.new_zeros(self.out_features, config.rank))
        self.register_buffer(SCALE, torch.tensor(config.alpha / config.rank))
        nn.init.kaiming_uniform_(self.lora_down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        seen = F.dropout(x, self.dropout, self.training)
        return super().forward(x) + F.linear(F.linear(seen, self.lora_down), self.lora_up) * self.lora_scale


def adapt(module: nn.Module, config: LoraConfig) -> None:
    """Freeze a module and put trained changes beside its target layers, in place.

    Draws their start from torch's global generator. Raises `ConfigError` for a target that no linear layer has.
    """
    linear = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    for target in config.targets:
        if not any(_ends(name, target) for name in linear):
            known = ", ".join(sorted({name.rpartition(".")[2] for name in linear})) or "none"
            raise ConfigError(f"lora.targets: the model has no linear layer {target!r} (there are: {known}).")
    module.requires_grad_(False)
    for name, layer in linear.items():
        if any(_ends(name, target) for target in config.targets):
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, LoraLinear(layer, config))


def merged(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the changes in an adapted module's state dict to its weights: the state dict of a plain module.

    Any other state dict comes back as it is.
    """
    plain = {name: tensor for name, tensor in state.items() if name.rpartition(".")[2] not in (DOWN, UP, SCALE)}
    for name in state:
        layer, _, last = name.rpartition(".")
        if last == UP:
            at = f"{layer}." if layer else ""
            change = state[name].float() @ state[at + DOWN].float() * state[at + SCALE].float()
            plain[at + "weight"] = plain[at + "weight"] + change.to(plain[at + "weight"].dtype)
    return plain


def _ends(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")
