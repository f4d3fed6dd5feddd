"""Compute a network in bfloat16 while everything around it stays float32."""

import functools
from typing import Any, Literal

import torch
from torch import Tensor, nn

Precision = Literal["fp32", "autocast", "bf16"]


def cast_forward(module: nn.Module, precision: Precision, device: torch.device) -> None:
    """Make calls of `module` take and give float32 but compute in `precision`.

    It is the module's own forward that changes, so that calling it past its engine (a frozen critic) does the same.
    """
    if precision == "fp32":
        return
    forward = module.forward

    @functools.wraps(forward)
    def cast(*args: Any, **kwargs: Any) -> Any:
        if precision == "bf16":
            args, kwargs = _to(args, torch.bfloat16), _to(kwargs, torch.bfloat16)
            return _to(forward(*args, **kwargs), torch.float32)
        with torch.autocast(device.type, torch.bfloat16):
            result = forward(*args, **kwargs)
        return _to(result, torch.float32)

    module.forward = cast


def _to(value: Any, dtype: torch.dtype) -> Any:
    """Cast the floating-point tensors inside nested tuples, lists and mappings, but for float64: it says what must
    stay exact (of 1000 times bfloat16 knows a few hundred).
    """
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() and value.dtype != torch.float64 else value
    if isinstance(value, dict):
        return {key: _to(item, dtype) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_to(item, dtype) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(_to(item, dtype) for item in value)
    return value
