"""The precision of a language model's weights while it generates."""

import torch

from t2a.errors import ConfigError
from t2a.models.lm import LM
from t2a.nn.packed import PACKING, Precision, available, pack


def quicken(model: LM, device: torch.device, precision: Precision) -> None:
    """Bring a model's weights to a precision for generation alone. Raises `ConfigError` where there is no such one."""
    if device.type == "cpu":
        if precision != "float32" or available(precision):
            pack(model.decoder, precision)
            model.heads = PACKING[precision](model.heads)
    elif precision == "int8":
        raise ConfigError(f"Weights of int8 are for the CPU, not for {device.type}: use precision bfloat16.")
    elif precision == "bfloat16":
        model.to(torch.bfloat16)
