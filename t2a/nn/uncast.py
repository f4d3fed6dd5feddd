"""State that must stay in float32 when the model around it is cast."""

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn


class Uncast(nn.Module):
    """A module whose tensors follow a model to its device, but not to its type.

    For moving averages: with a decay of 0.99 or more they stall in bfloat16, where a change below 1 / 256 is lost.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        return super()._apply(move, recurse)
