"""The precision of a model's weights while it generates."""

import torch

from t2a.errors import ConfigError
from t2a.models.denoiser import Denoiser
from t2a.models.lm import LM
from t2a.nn.packed import Precision, available, pack

STEPS: dict[type[LM | Denoiser], tuple[str, ...]] = {LM: ("decoder", "heads"), Denoiser: ("network",)}
"""The parts of a model that every step of a generation goes through"""


def quicken(model: LM | Denoiser, device: torch.device, precision: Precision) -> None:
    """Bring a model's weights to a precision for generation alone. Raises `ConfigError` where there is no such one."""
    if device.type == "cpu":
        if isinstance(model, Denoiser) and precision == "bfloat16":
            model.to(torch.bfloat16)  # bound by computation: activations in float32 would be cast at every layer
        if precision != "float32" or available(precision):
            for name in STEPS[type(model)]:
                setattr(model, name, pack(getattr(model, name), precision))
    elif precision == "int8":
        raise ConfigError(f"Weights of int8 are for the CPU, not for {device.type}: use precision bfloat16.")
    elif precision == "bfloat16":
        model.to(torch.bfloat16)
